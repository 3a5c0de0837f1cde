# SPDX-License-Identifier: Apache-2.0
"""Child processes that never outlive the lab, and waits that never last for ever.

Each child asks the kernel to be killed when its parent dies (setpriv --pdeathsig), so even a
`kill -9` of the lab leaves nothing behind. Children are started from the main thread, because
the parent's death is that of the thread that forked.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import time
from pathlib import Path
from typing import Callable

from paths import LabError, tool

PR_SET_PDEATHSIG = 1
STOP_SECONDS = 10


def die_with_parent() -> None:
    """Makes this very process end when what started it (ctest, ./demo) is gone."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def end_on_signals() -> None:
    """SIGTERM and SIGHUP unwind the stack like Ctrl-C, so everything started is ended."""

    def interrupt(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


def wait_until(ready: Callable[[], bool], seconds: float, what: str, step: float = 0.02) -> None:
    """Polls `ready` until it is true; `what` names in the error what never came."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise LabError(f"{what} within {seconds:g} s")
        time.sleep(step)


class Child:
    """One started program, its log file, and its end."""

    def __init__(self, name: str, command: list[str], log: Path, capture_stdout: bool = False,
                 env: dict[str, str] | None = None) -> None:
        self.name = name
        self.log = log
        self.command = command
        with open(log, "ab") as output:
            self._process = subprocess.Popen(
                [tool("setpriv", "util-linux"), "--pdeathsig", "KILL", "--", *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if capture_stdout else output,
                stderr=output,
                # Ctrl-C on the terminal reaches only the lab, which ends its children in order.
                start_new_session=True,
                env={**os.environ, **(env or {})},
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    def read_line(self, seconds: float) -> str:
        """The next line of a captured standard output."""
        stream = self._process.stdout
        assert stream is not None
        deadline = time.monotonic() + seconds
        line = b""
        while not line.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([stream], [], [], left)[0]:
                raise LabError(f"{self.name} printed no line within {seconds:g} s")
            got = os.read(stream.fileno(), 1)
            if not got:
                raise LabError(f"{self.name} ended at once (exit code {self.wait(5)}): "
                               f"{self.tail(3)}")
            line += got
        return line.decode(errors="replace").rstrip()

    def signal(self, number: signal.Signals) -> None:
        if self.alive():
            self._process.send_signal(number)

    def wait(self, seconds: float) -> int:
        """The exit code, once it has ended."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise LabError(f"{self.name} (pid {self.pid}) did not end within {seconds:g} s") from None

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Ends it: politely first, after `seconds` surely. Never raises."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                self.signal(number)
                self._process.wait(seconds)
                break
            except subprocess.TimeoutExpired:
                continue
        if self._process.stdout is not None:
            self._process.stdout.close()

    def tail(self, lines: int = 15) -> str:
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return "\n".join(text.replace("\r", "").splitlines()[-lines:])
