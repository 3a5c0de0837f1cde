# SPDX-License-Identifier: Apache-2.0
"""The lab's ports: scenarios that run at the same time never get the same one."""

import socket
import subprocess
import sys
import unittest
from pathlib import Path
from unittest import mock

LAB = Path(__file__).resolve().parents[2] / "lab"
sys.path.insert(0, str(LAB))

import daemon  # noqa: E402

CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
import daemon
daemon.PORTS = range(20_000, 20_040)
print(*[daemon.free_port() for _ in range(10)], flush=True)
sys.stdin.read()
"""


class FreePort(unittest.TestCase):
    def test_processes_at_the_same_time_get_different_ones(self) -> None:
        children = [subprocess.Popen([sys.executable, "-c", CHILD, str(LAB)], text=True, stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE) for _ in range(3)]
        ports = [int(port) for child in children for port in child.stdout.readline().split()]
        for child in children:
            child.communicate(timeout=20)
        self.assertEqual(len(ports), 30)
        self.assertEqual(len(set(ports)), 30)

    def test_one_that_somebody_listens_on_is_left_out(self) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            port = listener.getsockname()[1]
            with mock.patch.object(daemon, "PORTS", range(port, port + 1)), \
                    self.assertRaisesRegex(daemon.LabError, "in use"):
                daemon.free_port()

    def test_outgoing_connections_get_none(self) -> None:
        low = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0]
        if int(low) < 32_768:
            self.skipTest(f"this machine's outgoing connections begin at port {low}, not at Linux's 32768")
        self.assertLess(daemon.free_port(), int(low))


if __name__ == "__main__":
    unittest.main(verbosity=2)
