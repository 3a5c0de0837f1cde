# SPDX-License-Identifier: Apache-2.0
"""A remorad process and the command line that talks to it."""

from __future__ import annotations

import json
import random
import re
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paths import LabError, program, tool
from processes import STOP_SECONDS, Child

START_SECONDS = 60
CALL_SECONDS = 90
PORTS = range(20_000, 32_000)  # below those of outgoing connections, net.ipv4.ip_local_port_range
_claims: list[socket.socket] = []


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on, and that is this process's until it ends.

    The kernel gives none of these to outgoing connections, so a daemon that is down for a while finds
    its port again. Other scenarios at the same time see by a socket's name that it is taken.
    """
    for port in random.sample(PORTS, len(PORTS)):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0remora-lab-port-{port}")
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        return port
    raise LabError(f"all ports from {PORTS.start} to {PORTS.stop - 1} are in use")


@dataclass(frozen=True)
class Refusal:
    """What the command line printed and ended with when a call was refused."""

    exit_code: int
    sentence: str


class Daemon:
    """One remorad. State, sockets and log are in `folder` and survive its end.

    The gRPC port is picked at the first start and kept, so clients find it after a restart.
    """

    def __init__(self, name: str, folder: Path, grpc_port: int = 0,
                 arguments: list[str] | None = None, rest_port: int | None = None) -> None:
        self.name = name
        self.folder = folder
        self.log = folder / f"{name}.log"
        self._port = grpc_port
        self._rest = "none" if rest_port is None else f"127.0.0.1:{rest_port}"
        self._arguments = arguments or []
        self._child: Child | None = None
        self._killed = False  # its end was wanted
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def server(self) -> str:
        """Where its gRPC listens."""
        return f"127.0.0.1:{self._port}"

    @property
    def child(self) -> Child | None:
        return self._child

    def running(self) -> bool:
        return self._child is not None and self._child.alive()

    def start(self) -> None:
        """Returns once it says that it is ready."""
        if self.running():
            raise LabError(f"the {self.name} runs already")
        command = [str(program("remorad")), "--state", str(self.folder / "state"),
                   "--grpc", self.server, "--rest", self._rest, *self._arguments]
        self._child = Child(f"the {self.name}'s remorad", command, self.log, capture_stdout=True)
        self._killed = False
        self._await_ready()

    def upgrade(self) -> None:
        """It becomes the program that its file is now, in the same process; returns once that is
        ready."""
        self._check_alive()
        if self._child is None or not self.running():
            raise LabError(f"the {self.name} does not run")
        self._child.signal(signal.SIGUSR2)
        self._await_ready()

    def _await_ready(self) -> None:
        assert self._child is not None
        line = self._child.read_line(START_SECONDS)
        ready = re.fullmatch(r"remorad ready: grpc=127\.0\.0\.1:(\d+)(?: rest=\S+)?", line)
        if not ready:
            raise LabError(f"the {self.name}'s remorad said `{line}` instead of being ready")
        self._port = int(ready[1])

    def kill(self) -> None:
        """As `kill -9` does: no time for a last word."""
        self._check_alive()
        if self._child is not None and self.running():
            self._killed = True
            self._child.signal(signal.SIGKILL)
            self._child.wait(STOP_SECONDS)
            self._child.stop()

    def _check_alive(self) -> None:
        """A daemon that has ended without being told to has crashed."""
        if self._child is not None and not self._killed and not self.running():
            raise LabError(f"the {self.name}'s remorad has ended by itself "
                           f"(exit code {self._child.exit_code})")

    def stop(self) -> None:
        """SIGTERM, after which it must end by itself with exit code 0."""
        self._check_alive()
        if self._child is None or not self.running():
            return
        self._killed = True
        self._child.signal(signal.SIGTERM)
        try:
            code = self._child.wait(2 * STOP_SECONDS)
        finally:
            self._child.stop()
        if code != 0:
            raise LabError(f"the {self.name}'s remorad ended with exit code {code} on SIGTERM")

    def end(self) -> None:
        """Ends it whatever its state. Never raises."""
        if self._child is not None:
            self._child.stop()

    # --- calls ------------------------------------------------------------------------------

    def _call(self, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        command = [tool("setpriv", "util-linux"), "--pdeathsig", "KILL", "--",
                   str(program("remora")), "--server", self.server, *arguments]
        try:
            return subprocess.run(command, capture_output=True, text=True, check=False,
                                  timeout=CALL_SECONDS, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            raise LabError(f"`remora {' '.join(arguments)}` did not end within "
                           f"{CALL_SECONDS} s") from None

    def remora(self, *arguments: str) -> str:
        """`remora ARGUMENTS`, which must succeed; its output."""
        done = self._call(list(arguments))
        if done.returncode != 0:
            raise LabError(f"`remora {' '.join(arguments)}` on the {self.name} failed: "
                           f"{done.stderr.strip() or f'exit code {done.returncode}'}")
        return done.stdout

    def remora_json(self, *arguments: str) -> Any:
        """The same as a program reads it."""
        text = self.remora("-o", "json", *arguments)
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise LabError(f"`remora -o json {' '.join(arguments)}` printed no JSON: "
                           f"{error}") from None

    def refused(self, *arguments: str) -> Refusal:
        """`remora ARGUMENTS`, which must fail."""
        done = self._call(list(arguments))
        if done.returncode == 0:
            raise LabError(f"`remora {' '.join(arguments)}` on the {self.name} succeeded, "
                           "and should have been refused")
        return Refusal(done.returncode, done.stderr.strip())
