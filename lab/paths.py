# SPDX-License-Identifier: Apache-2.0
"""Where the lab finds and keeps things: the programs, the cache, and a run's own folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


class LabError(Exception):
    """Something a person should read: one clear sentence."""


class LabSkip(Exception):
    """Why a scenario cannot be played on this machine, though nothing is wrong."""


def cache_dir() -> Path:
    """What is expensive to make and may be thrown away: REMORA_CACHE, or .cache in the tree."""
    path = Path(os.environ.get("REMORA_CACHE") or REPOSITORY / ".cache")
    path.mkdir(parents=True, exist_ok=True)
    return path.resolve()


def program(name: str) -> Path:
    """A built program: from REMORA_BIN when set, else the release build, else the dev build."""
    chosen = os.environ.get("REMORA_BIN")
    folders = [Path(chosen)] if chosen else [
        REPOSITORY / "build" / preset / "src" / "apps" for preset in ("release", "dev")
    ]
    for folder in folders:
        path = folder / name
        if os.access(path, os.X_OK):
            return path.resolve()
    looked_in = " or ".join(str(folder) for folder in folders)
    raise LabError(
        f"there is no program {name} in {looked_in}; build it with "
        "`cmake --preset release && cmake --build --preset release`, or set REMORA_BIN"
    )


def tool(name: str, package: str) -> str:
    """A program of the system, which tools/setup installs."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        raise LabError(f"{name} is not installed (package {package}); run tools/setup as root")
    return path


def new_run_dir() -> Path:
    """A fresh folder of one run. Its path is short: a unix socket's name holds 107 bytes."""
    base = os.environ.get("TMPDIR") or "/tmp"
    if not os.access(base, os.W_OK) or len(base) > 50:
        base = "/tmp"
    return Path(tempfile.mkdtemp(prefix="remora-", dir=base))


def shared_run_dir() -> Path:
    """The folder where lab/target, lab/ipu and lab/vm, started by hand, meet."""
    chosen = os.environ.get("REMORA_LAB")
    base = os.environ.get("XDG_RUNTIME_DIR") or "/tmp"
    if not os.access(base, os.W_OK) or len(base) > 50:
        base = "/tmp"
    path = Path(chosen) if chosen else Path(base) / f"remora-lab-{os.getuid()}"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.stat().st_uid != os.getuid():
        raise LabError(f"{path} belongs to another user; choose another folder with REMORA_LAB")
    return path.resolve()
