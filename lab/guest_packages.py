# SPDX-License-Identifier: Apache-2.0
"""Debian packages that the guest gets and the machine does not: downloaded, never installed.

The system's package lists are asked first. Where they are absent or old, lists of the lab's own
are fetched, so an ordinary user can do all of it.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Callable

from paths import LabError, cache_dir

KERNEL_META_PACKAGE = "linux-image-6.12-cloud-amd64"
# Programs and those of their libraries that the machine need not have; the others come from it.
TOOL_PACKAGES = ("nvme-cli", "libnvme1", "libjson-c5", "cryptsetup-bin", "libcryptsetup12", "libpopt0",
                 "libdevmapper1.02.1", "libargon2-1")
Say = Callable[[str], None]


def run(command: list[str], **options) -> str:
    """A program that must succeed; its output."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        reason = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no reason given"]
        raise LabError(f"`{' '.join(map(str, command))}` failed: {reason[0]}")
    return done.stdout


def candidate(name: str, apt_options: list[str] | None = None) -> str | None:
    """`NAME=VERSION` of what apt would install."""
    policy = run(["apt-cache", *(apt_options or []), "policy", name],
                 env={**os.environ, "LC_ALL": "C"})
    version = re.search(r"Candidate: (\S+)", policy)
    return f"{name}={version[1]}" if version and version[1] != "(none)" else None


def kernel(apt_options: list[str] | None = None) -> str | None:
    """`NAME=VERSION` of the kernel of the day: its name carries the ABI."""
    depends = subprocess.run(["apt-cache", *(apt_options or []), "depends", KERNEL_META_PACKAGE],
                             capture_output=True, text=True, check=False).stdout
    found = re.search(r"Depends: (linux-image-\S+)", depends)
    return candidate(found[1], apt_options) if found else None


def private_lists(say: Say) -> list[str]:
    """apt's options for package lists of our own, fresh from the mirror."""
    say("asking the package mirror what is new")
    state = cache_dir() / "apt"
    for folder in ("lists/partial", "archives/partial"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    options = ["-o", f"Dir::State::lists={state}/lists", "-o", f"Dir::Cache={state}"]
    run(["apt-get", *options, "-qq", "update"])
    return options


def download_kernel(package: str, into: Path, say: Say) -> Path:
    say(f"downloading {package}")
    try:
        run(["apt-get", "-qq", "download", package], cwd=into)
    except LabError:
        # The version of the system's lists is no longer on the mirror.
        options = private_lists(say)
        run(["apt-get", *options, "-qq", "download", kernel(options) or package], cwd=into)
    return next(into.glob("*.deb"))


def unpack_tools(into: Path, say: Say) -> bool:
    """Unpacks nvme-cli and cryptsetup under `into`. False, and `into` is absent, when they cannot be
    had."""
    debs = into.with_name("debs")
    debs.mkdir()
    say("downloading nvme-cli and cryptsetup")
    for lists in (lambda: [], lambda: private_lists(say)):
        try:
            run(["apt-get", *lists(), "-qq", "download", *TOOL_PACKAGES], cwd=debs)
            break
        except LabError as error:
            reason = error
    else:
        say(f"the guest gets no nvme-cli and no cryptsetup, and what needs them is skipped: {reason}")
        return False
    for deb in debs.glob("*.deb"):
        run(["dpkg", "-x", str(deb), str(into)])
    return True
