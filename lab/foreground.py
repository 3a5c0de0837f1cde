# SPDX-License-Identifier: Apache-2.0
"""The frame of the commands for people: start, say what listens where, stay until Ctrl-C."""

from __future__ import annotations

import fcntl
import sys
import time
from pathlib import Path
from typing import Callable, TextIO

from paths import LabError, shared_run_dir
from processes import Child, end_on_signals

_held: list[TextIO] = []


def say(line: str = "") -> None:
    print(line, flush=True)


def stay(child: Child | None) -> None:
    """Waits for Ctrl-C, or for the process's own end, which is a failure."""
    assert child is not None
    while child.alive():
        time.sleep(0.2)
    raise LabError(f"{child.name} ended by itself (exit code {child.exit_code}); the end of its "
                   f"log:\n{child.tail()}")


def foreground(name: str, start: Callable[[], Child | None], stop: Callable[[], None]) -> None:
    """Runs one command to its end and exits."""
    end_on_signals()
    try:
        stay(start())
    except LabError as error:
        sys.exit(f"lab/{name}: {error}")
    except KeyboardInterrupt:
        say(f"\nlab/{name}: stopping")
    finally:
        stop()
    sys.exit(0)


def folder_of(name: str) -> Path:
    """The command's folder, held until this process ends: one target, one IPU, one VM."""
    try:
        shared = shared_run_dir()
    except LabError as error:
        sys.exit(f"lab/{name}: {error}")
    lock = open(shared / f"{name}.lock", "w", encoding="ascii")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"lab/{name}: one runs already (in {shared}); stop it, or set REMORA_LAB to "
                 "another folder")
    _held.append(lock)
    folder = shared / name
    folder.mkdir(exist_ok=True)
    return folder
