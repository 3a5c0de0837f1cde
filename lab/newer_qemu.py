# SPDX-License-Identifier: Apache-2.0
"""A QEMU with vfio-user (10.1 or later): Debian 12's own is older.

It comes from Debian's newer suites, by the mirror that the system's package lists name, into the
cache: with all that it needs, unpacked, never installed, and run by its own loader.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from paths import LabError, LabSkip, cache_dir

SUITES = ("trixie", "trixie-backports")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PACKAGE = "qemu-system-x86"
FETCH_SECONDS = 600
Say = Callable[[str], None]


@dataclass(frozen=True)
class Qemu:
    """How to run a QEMU: the beginning of its command line, and what it needs in the environment."""

    command: list[str]
    env: dict[str, str]


def newer_qemu(say: Say) -> Qemu:
    """LabSkip where it cannot be had."""
    folder = cache_dir() / "newer-qemu"
    with open(cache_dir() / "newer-qemu.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            try:
                _fetch(folder, say)
            except (LabError, OSError, subprocess.SubprocessError) as error:
                raise LabSkip(f"a QEMU with vfio-user could not be had: {error}") from error
    libraries = folder / "usr/lib/x86_64-linux-gnu"
    program = folder / "usr/bin/qemu-system-x86_64"
    share = folder / "usr/share"
    return Qemu([str(libraries / "ld-linux-x86-64.so.2"), "--library-path", str(libraries),
                 "--argv0", "qemu-system-x86_64", str(program), "-L", str(share / "qemu"),
                 "-L", str(share / "seabios")],
                {"QEMU_MODULE_DIR": str(libraries / "qemu")})


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=FETCH_SECONDS,
                          env={**os.environ, "LC_ALL": "C"})
    if done.returncode != 0:
        reason = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no reason given"]
        raise LabError(f"`{command[0]} {' '.join(command[-3:])}` failed: {reason[0]}")
    return done.stdout


def _mirror() -> str:
    """Where the system has its Debian packages from."""
    listed = _run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"])
    found = next((line for line in listed.split() if re.search(r"/debian/?$", line)), None)
    if found is None:
        raise LabError("the system's package lists name no Debian mirror")
    return found


def _fetch(folder: Path, say: Say) -> None:
    """All or nothing: the folder appears when it is whole."""
    if not KEYRING.exists():
        raise LabError(f"there is no {KEYRING} (package debian-archive-keyring)")
    mirror = _mirror()
    with tempfile.TemporaryDirectory(prefix="building-", dir=cache_dir()) as name:
        work = Path(name)
        for made in ("state/lists/partial", "cache/archives/partial", "root"):
            (work / made).mkdir(parents=True)
        (work / "sources.list").write_text(
            "".join(f"deb [signed-by={KEYRING}] {mirror} {suite} main\n" for suite in SUITES),
            encoding="ascii")
        (work / "status").touch()  # nothing is installed, so every dependency is fetched
        options = ["-o", f"Dir::Etc::sourcelist={work}/sources.list", "-o", "Dir::Etc::sourceparts=-",
                   "-o", f"Dir::State={work}/state", "-o", f"Dir::State::status={work}/status",
                   "-o", f"Dir::Cache={work}/cache", "-o", "Debug::NoLocking=1"]
        say("fetching a newer QEMU and what it needs, some 45 MB")
        _run(["apt-get", *options, "-qq", "update"])
        _run(["apt-get", *options, "-qq", "-y", "--no-install-recommends", "--download-only",
              "-t", SUITES[-1], "install", PACKAGE])
        for deb in sorted((work / "cache/archives").glob("*.deb")):
            _run(["dpkg", "-x", str(deb), str(work / "root")])
        for unneeded in ("usr/share/doc", "usr/share/man", "usr/share/locale"):
            shutil.rmtree(work / "root" / unneeded, ignore_errors=True)
        (work / "root").rename(folder)
