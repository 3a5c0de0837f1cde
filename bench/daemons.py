# SPDX-License-Identifier: Apache-2.0
"""What is measured: pairs of a target and an IPU, each daemon with one pinned reactor."""

from __future__ import annotations

import concurrent.futures
import os
import uuid
from pathlib import Path

from daemon import Daemon, free_port
from paths import LabError
from processes import wait_until

VOLUME_MIB = 256  # of each of a target's volumes
NQN = "nqn.2026-11.example.remora:bench"
IPU_CORE, TARGET_CORE = 0, 1
SPIN_US = "20000"  # longer than any wait under load, so the cores spin as dedicated ones would
SEARCH_SECONDS = 120
FILL_SECONDS = 2  # at random, several times over


class Pair:
    """A target and an IPU. `subsystem(NAME, ...)` is known to the IPU as remote controller NAME."""

    def __init__(self, folder: Path, spin_us: str | None = SPIN_US) -> None:
        spin = ["--poll-us", spin_us] if spin_us is not None else []
        self.target = Daemon("target", folder / "target", arguments=[*spin, "--cores", str(TARGET_CORE)])
        self.ipu = Daemon("ipu", folder / "ipu", arguments=[
            *spin, "--cores", str(IPU_CORE), "--socket-dir", str(folder / "s")])
        self.sockets = folder / "s"
        self.address = f"127.0.0.1:{free_port()}"
        self.target.start()
        self.ipu.start()

    def subsystem(self, name: str, volumes: dict[str, str], *remote_options: str) -> None:
        """A subsystem with one volume for each name -> kind (malloc, null), and a connection to it."""
        self.export(name, volumes)
        self.ipu.remora("create", "remote-controller", name, *remote_options)
        self.ipu.remora("create", "path", f"{name}/p0", "--address", self.address, "--nqn", nqn(name))
        wait_until(lambda: self._ready(f"{name}n{len(volumes)}"), SEARCH_SECONDS,
                   f"the IPU did not find the volumes of {name}")
        for nsid, kind in enumerate(volumes.values(), 1):
            if kind == "malloc":
                self.fill(f"{name}n{nsid}")

    def export(self, name: str, volumes: dict[str, str]) -> None:
        self.target.remora("create", "subsystem", name, "--nqn", nqn(name))
        self.target.remora("create", "controller", f"{name}/tcp", "--listen", self.address)
        for nsid, (volume, kind) in enumerate(volumes.items(), 1):
            self.target.remora("create", kind, f"{name}-{volume}", "--size", f"{VOLUME_MIB}M")
            self.target.remora("create", "namespace", f"{name}/{volume}", "--volume", f"{name}-{volume}",
                               "--nsid", str(nsid), "--uuid", str(uuid.uuid4()))

    def fill(self, volume: str) -> None:
        """Memory that was never written is the kernel's one page of zeros, which stays in the cache."""
        self.load([volume], "131072", "write", 16, FILL_SECONDS)

    def _ready(self, volume: str) -> bool:
        try:
            self.ipu.remora("stats", "volume", volume)
            return True
        except LabError:
            return False

    def load(self, volumes: list[str], size: str, rw: str, depth: int, seconds: float) -> dict:
        """`remora bench` on each volume at once; the rates are added, the latencies are the worst."""

        def one(volume: str) -> dict:
            return self.ipu.remora_json("--timeout", str(seconds + 60), "bench", "--volume", volume, "--rw", rw,
                                        "--bs", size, "--qd", str(depth), "--time", f"{seconds:g}")

        with concurrent.futures.ThreadPoolExecutor(len(volumes)) as pool:
            reports = list(pool.map(one, volumes))
        errors = sum(int(report.get("errors", 0)) for report in reports)
        if errors:
            raise LabError(f"{errors} I/O errors on {', '.join(volumes)}")
        return {"iops": sum(float(report["iops"]) for report in reports),
                "p50_us": max(int(report["latency"]["p50"]) for report in reports) / 1000,
                "p99_us": max(int(report["latency"]["p99"]) for report in reports) / 1000}

    def end(self) -> None:
        for daemon in (self.ipu, self.target):
            daemon.end()


def nqn(subsystem: str) -> str:
    return f"{NQN}-{subsystem}"


def pid_of(daemon: Daemon) -> int:
    assert daemon.child is not None
    return daemon.child.pid


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_kib(pid: int) -> int:
    """Anonymous memory that a process has touched."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1])
    raise LabError("this kernel does not say RssAnon")
