# SPDX-License-Identifier: Apache-2.0
"""The programs of bench/, each of which prints one JSON object."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from daemons import IPU_CORE, TARGET_CORE
from paths import LabError, REPOSITORY

BUILD = Path(os.environ.get("REMORA_BUILD", REPOSITORY / "build" / "release"))


def run_json(command: list[str], seconds: float) -> dict:
    """Runs one; its last line."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
    except FileNotFoundError:
        raise LabError(f"there is no {command[0]}; build it with `cmake --build build/release`") from None
    if done.returncode != 0:
        raise LabError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def ceiling(size: int, rw: str, depth: int, connections: int, seconds: float, buffers: int = 1) -> dict:
    got = run_json([str(BUILD / "bench/tcp_ceiling/tcp_ceiling"), "--qd", str(depth), "--rw", rw, "--bs", str(size),
                    "--connections", str(connections), "--buffers", str(buffers), "--time", str(seconds),
                    "--client-core", str(IPU_CORE), "--server-core", str(TARGET_CORE)], seconds)
    return {"iops": got["iops"], "note": f"{got['per_send']:.1f} PDUs a send, {got['per_recv']:.1f} a receive"}


def vhost(socket: Path, depth: int, core: int, seconds: float) -> dict:
    return _vhost(depth, seconds, "--socket", str(socket), "--core", str(core))


def chain(address: str, nqn: str, depth: int, seconds: float) -> dict:
    """A disk over a target's volume, in one process and thread with its driver."""
    return _vhost(depth, seconds, "--remote", address, "--nqn", nqn, "--device-core", str(IPU_CORE), "--one-thread")


def _vhost(depth: int, seconds: float, *more: str) -> dict:
    return run_json([str(BUILD / "bench/vhost_load/vhost_load"), "--qd", str(depth), "--bs", "4k", "--rw", "read",
                     "--time", str(seconds), "--json", *more], seconds)
