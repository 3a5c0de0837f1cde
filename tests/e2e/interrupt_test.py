# SPDX-License-Identifier: Apache-2.0
"""An interrupted scenario leaves no process and no folder behind, whatever ends it.

Everything the lab starts inherits one environment variable, by which it is found again.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
MARK = "REMORA_INTERRUPT_TEST"
SCENARIO = REPOSITORY / "tests/e2e/idle.scn"


def marked(value: str) -> list[str]:
    """Command lines of living processes whose environment has the mark."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            if f"{MARK}={value}\0".encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


class InterruptedRun(unittest.TestCase):
    def interrupt(self, number: signal.Signals, exit_code: int, leaves_folder: bool) -> None:
        value = f"{os.getpid()}-{number.name}"
        folder = Path(tempfile.mkdtemp(prefix="rmi-", dir="/tmp"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        with subprocess.Popen(
            [sys.executable, REPOSITORY / "lab/run", SCENARIO], text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, env={**os.environ, MARK: value, "TMPDIR": str(folder)},
        ) as run:
            lines = []
            for line in run.stdout:
                lines.append(line)
                if "attach a 0" in line:
                    break
            self.assertTrue(lines and "attach a 0" in lines[-1], "".join(lines))
            alive = " ".join(marked(value))
            for name in ("qemu-system", "remorad"):
                self.assertIn(name, alive)
            run.send_signal(number)
            run.communicate(timeout=40)
            self.assertEqual(run.returncode, exit_code)
        deadline = time.monotonic() + 10
        while marked(value) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual(marked(value), [])
        if not leaves_folder:
            self.assertEqual(list(folder.iterdir()), [])

    def test_ctrl_c(self) -> None:
        self.interrupt(signal.SIGINT, 130, leaves_folder=False)

    def test_sigterm(self) -> None:
        self.interrupt(signal.SIGTERM, 130, leaves_folder=False)

    def test_kill_9(self) -> None:
        self.interrupt(signal.SIGKILL, -9, leaves_folder=True)


if __name__ == "__main__":
    unittest.main(verbosity=2)
