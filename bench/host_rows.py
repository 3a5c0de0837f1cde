# SPDX-License-Identifier: Apache-2.0
"""What the host sees: disks by vhost-user and by vfio-user, beside QEMU's storage daemon."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

from daemon import Daemon
from daemons import IPU_CORE, SPIN_US, TARGET_CORE, cpu_seconds, pid_of
from paths import LabError
from processes import Child, wait_until
from programs import BUILD, run_json

DISKS = 64
NQN = "nqn.2026-11.example.remora:host"


def load_program(kind: str) -> str:
    """The driver of virtio-blk disks (`blk`) or of NVMe functions (`nvme`)."""
    name = "vhost_load" if kind == "blk" else "vfio_load"
    return str(BUILD / f"bench/{name}/{name}")


class Host:
    """A daemon of one pinned reactor with a null volume as a virtio-blk disk and as an NVMe function,
    and QEMU's storage daemon on the same core with a null-co disk; the driver is on the other core."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True)
        self._spinning = self._daemon("spinning", ["--poll-us", SPIN_US, "--nvme-msix"])
        self._spinning.remora("create", "null", "null", "--size", "256M")
        self._spinning.remora("create", "virtio-blk", "blk", "--function", "0", "--volume", "null", "--queues", "1")
        self._spinning.remora("create", "null", "nvme", "--size", "256M")
        self._spinning.remora("create", "subsystem", "sub", "--nqn", NQN)
        self._spinning.remora("create", "namespace", "sub/ns", "--volume", "nvme", "--nsid", "1")
        self._spinning.remora("create", "controller", "sub/fn", "--function", "1")
        self._idle: dict[str, Daemon] = {}
        self._peer: Child | None = None

    def _daemon(self, name: str, arguments: list[str]) -> Daemon:
        daemon = Daemon(name, self._folder / name, arguments=[
            *arguments, "--cores", str(IPU_CORE), "--socket-dir", str(self._folder / name / "s")])
        daemon.start()
        return daemon

    def end(self) -> None:
        for daemon in (self._spinning, *self._idle.values()):
            daemon.end()
        if self._peer is not None:
            self._peer.stop()

    # --- rates ------------------------------------------------------------------------------

    def _load(self, kind: str, socket: Path, depth: int, seconds: float, *more: str) -> dict:
        return run_json([load_program(kind), "--socket", str(socket), "--qd", str(depth),
                         "--bs", "4k", "--rw", "read", "--time", str(seconds), "--core", str(TARGET_CORE),
                         "--json", *more], seconds)

    def blk(self, depth: int, seconds: float, ring: str = "split") -> dict:
        return self._load("blk", self._folder / "spinning" / "s" / "blk", depth, seconds, "--ring", ring)

    def nvme(self, depth: int, seconds: float) -> dict:
        folder = self._folder / "spinning" / "s"
        sockets = [path for path in folder.iterdir() if path.is_socket() and path.name != "blk"]
        if len(sockets) != 1:
            raise LabError(f"which of {sockets} is the NVMe function's socket?")
        return self._load("nvme", sockets[0], depth, seconds)

    def peer(self, depth: int, seconds: float) -> dict:
        socket = self._folder / "peer.sock"
        if self._peer is None:
            program = shutil.which("qemu-storage-daemon")
            if program is None:
                raise LabError("there is no qemu-storage-daemon to compare with; tools/setup installs it")
            self._peer = Child("qemu-storage-daemon", [
                "taskset", "-c", str(IPU_CORE), program,
                "--blockdev", "null-co,node-name=n,size=268435456,read-zeroes=on",
                "--export", f"vhost-user-blk,id=e,node-name=n,addr.type=unix,addr.path={socket},writable=on"],
                self._folder / "peer.log")
            wait_until(socket.exists, 10, "the storage daemon does not listen")
        return self._load("blk", socket, depth, seconds)

    # --- many idle disks --------------------------------------------------------------------

    def _disks(self, kind: str) -> tuple[Daemon, list[str]]:
        """A daemon that sleeps when it can, with as many disks of a kind, and their sockets."""
        if kind not in self._idle:
            daemon = self._idle[kind] = self._daemon(f"idle-{kind}", ["--nvme-msix"])
            for number in range(DISKS):
                daemon.remora("create", "null", f"v{number}", "--size", "256M")
                if kind == "blk":
                    daemon.remora("create", "virtio-blk", f"d{number}", "--function", str(number),
                                  "--volume", f"v{number}", "--queues", "1")
                else:
                    daemon.remora("create", "subsystem", f"s{number}", "--nqn", f"{NQN}-{number}")
                    daemon.remora("create", "namespace", f"s{number}/n", "--volume", f"v{number}", "--nsid", "1")
                    daemon.remora("create", "controller", f"s{number}/fn", "--function", str(number))
        sockets = sorted(str(path) for path in (self._folder / f"idle-{kind}" / "s").iterdir() if path.is_socket())
        if len(sockets) != DISKS:
            raise LabError(f"{len(sockets)} sockets, not {DISKS}")
        return self._idle[kind], sockets

    def idle_cpu(self, kind: str, seconds: float) -> dict:
        """What a daemon takes whose disks all have a driver that asks for nothing."""
        daemon, sockets = self._disks(kind)
        window = max(seconds, 5)  # the clock behind it ticks a hundred times a second
        with subprocess.Popen([load_program(kind), "--socket", sockets[0], "--beside", *sockets[1:],
                               "--wait", "--time", str(window + 5), "--core", str(TARGET_CORE)],
                              stdout=subprocess.PIPE, text=True) as driver:
            if driver.stdout is None or not driver.stdout.readline():
                raise LabError("the idle disks have no driver")
            time.sleep(1)
            before, began = cpu_seconds(pid_of(daemon)), time.monotonic()
            time.sleep(window)
            used = cpu_seconds(pid_of(daemon)) - before
            took = time.monotonic() - began
            driver.terminate()
        return {"value": 100 * used / took}

    def busy(self, kind: str, seconds: float, beside: bool) -> dict:
        """One disk under load, with or without drivers at the other ones."""
        _, sockets = self._disks(kind)
        return self._load(kind, Path(sockets[0]), 32, seconds, *(["--beside", *sockets[1:]] if beside else []))
