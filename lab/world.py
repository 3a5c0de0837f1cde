# SPDX-License-Identifier: Apache-2.0
"""What a scenario plays with: at most one target, one IPU and one VM, in a folder of their own."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path
from typing import Callable

import fio
from encryption import Encryption
from host_functions import HostFunctions
from ipu import Ipu
from linux_host import LinuxHost, guest_namespaces
from linux_target import LinuxTarget
from newer_qemu import newer_qemu
from nvme_cli import NvmeCli
from paths import LabError, LabSkip, new_run_dir
from processes import Child, wait_until
from target import Target, Volume
from vm import Vm, ends_of

DISK_SECONDS = 30
RING_PACKED = 34  # the feature's bit; VIRTIO 1.2 section 6


class World:
    """Owns every process and file of one run. close() ends and removes them all."""

    def __init__(self, say: Callable[[str], None] = lambda line: None) -> None:
        self.folder = new_run_dir()
        self.target = Target(self.folder / "target")
        self.vm: Vm | None = None
        self.ipu: Ipu | None = None
        self._linux: LinuxHost | None = None
        self._linux_target: LinuxTarget | None = None
        self._nvme_cli: NvmeCli | None = None
        self._functions: HostFunctions | None = None
        self.volumes: dict[str, Volume] = {}
        self.encryptions: dict[str, Encryption] = {}  # by the volume below
        self.places: dict[str, str] = {}  # volume name -> host function
        self.nvme_places: set[str] = set()  # those that were last attached as NVMe
        self._jobs: dict[str, str] = {}  # running job -> its command
        self._say = say

    # --- processes --------------------------------------------------------------------------

    def start_vm(self, parameter: str = "", newer: bool = False) -> str:
        if self.vm is not None:
            raise LabError("the vm runs already")
        folder = self.folder / "vm"
        folder.mkdir(exist_ok=True)
        self.vm = Vm(folder, say=self._say, parameter=parameter,
                     qemu=newer_qemu(self._say) if newer else None)
        self.vm.start()
        if self._functions is not None:
            self._functions.vm = self.vm
        return self.vm.check("uname -sr").strip() + f" under {self.vm.accelerator}"

    def kill_vm(self) -> None:
        """Its sockets and its log stay where they were."""
        vm = self.need_vm()
        assert vm.child is not None
        vm.child.signal(signal.SIGKILL)
        vm.child.wait(10)
        vm.stop()
        self.vm = None

    def start_ipu(self, reactors: int = 0, msix: bool = False) -> str:
        """With so many reactors, each on a core of its own, or with one anywhere; NVMe functions with
        MSI-X, or with one MSI."""
        if self.ipu is None:
            mine = sorted(os.sched_getaffinity(0))
            if reactors > len(mine):
                raise LabSkip(f"{reactors} reactors need as many cores, and there are {len(mine)}")
            cores = ",".join(str(core) for core in mine[:reactors])
            self.ipu = Ipu(self.folder / "ipu", self.vm.qmp_path if self.vm else None, cores=cores,
                           more=["--nvme-msix"] if msix else None)
        self.ipu.start()
        return f"gRPC {self.ipu.server}"

    def start_target(self) -> str:
        self.target.start()
        return f"gRPC {self.target.server}, discovery {self.target.discovery}"

    def need_vm(self) -> Vm:
        if self.vm is None:
            raise LabError("there is no vm; `start vm` first")
        return self.vm

    def need_ipu(self) -> Ipu:
        if self.ipu is None:
            raise LabError("there is no ipu; `start ipu` first")
        return self.ipu

    def linux(self) -> LinuxHost:
        """The guest's kernel as a host of the target."""
        if self._linux is None:
            self._linux = LinuxHost(self.need_vm(), self.target)
        return self._linux

    def nvme_cli(self) -> NvmeCli:
        """The same by way of nvme-cli."""
        if self._nvme_cli is None:
            self._nvme_cli = NvmeCli(self.need_vm(), self.target)
        return self._nvme_cli

    def functions(self) -> HostFunctions:
        """NVMe controllers of the IPU on the guest's PCI bus."""
        if self._functions is None:
            self._functions = HostFunctions(self.need_vm(), self.need_ipu())
        return self._functions

    def linux_target(self) -> LinuxTarget:
        """The guest's kernel as a target."""
        if self._linux_target is None:
            self._linux_target = LinuxTarget(self.need_vm())
        return self._linux_target

    def daemon(self, name: str) -> Target | Ipu:
        if name not in ("target", "ipu"):
            raise LabError(f"there is a target and an ipu, no `{name}`")
        return self.target if name == "target" else self.need_ipu()

    def volume(self, name: str) -> Volume:
        if name not in self.volumes:
            raise LabError(f"there is no volume {name} in this scenario")
        return self.volumes[name]

    def stop_daemons(self) -> None:
        """Each must still run, and end well when it is asked to. Their logs stay."""
        for daemon in (self.ipu, self.target):
            if daemon is not None:
                daemon.stop()

    def close(self) -> None:
        """Ends everything and removes the folder. Never raises."""
        for daemon in (self.ipu, self.target):
            if daemon is not None:
                daemon.end()
        if self.vm is not None:
            self.vm.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def left(self) -> list[str]:
        """Processes of this run that still live; none after close()."""
        children = [self.target.child, self.ipu.child if self.ipu else None,
                    self.vm.child if self.vm else None]
        return [child.name for child in children if child is not None and child.alive()]

    def logs(self) -> str:
        """The ends of all logs that say anything, for a failed run."""
        parts = []
        children: list[Child | None] = [self.target.child, self.ipu.child if self.ipu else None,
                                        self.vm.child if self.vm else None]
        for child in children:
            if child is not None:
                state = "running" if child.alive() else f"ended with exit code {child.exit_code}"
                parts.append(f"--- {child.name} ({state}), end of its log:\n{child.tail(25)}")
        if self.vm is not None and self.vm.console.exists():
            parts.append("--- the guest's console:\n" + self.vm.console_tail())
            parts.append("--- the guest's kernel log:\n" + self.vm.kernel_log())
        return "\n".join(parts)

    # --- disks ------------------------------------------------------------------------------

    def device(self, name: str) -> str:
        """The guest's name, e.g. vda, of the disk that is volume `name`."""
        if self._functions is not None and self._functions.shows(name):
            return self._functions.device(self.volume(name))
        hosts: list[LinuxHost | NvmeCli | None] = [self._linux, self._nvme_cli]
        for host in hosts:
            if name not in self.places and host is not None and host.connected:
                return host.device(self.volume(name))
        device = self._find(name)
        if device is None:
            raise LabError(f"the guest has no disk that is the volume {name}, "
                           f"serial {self.volume(name).serial}")
        return device

    def _find(self, name: str) -> str | None:
        """The guest's name of an attached volume."""
        if name in self.nvme_places:
            return guest_namespaces(self.need_vm()).get(self.volume(name).uuid)
        return self.need_vm().disks().get(self.volume(name).serial)

    def guest_has(self, name: str) -> bool:
        """Whether an attached volume is there. It is forgotten how it was attached."""
        there = self._find(name) is not None
        self.nvme_places.discard(name)
        return there

    def await_disk(self, name: str) -> str:
        """Waits until the guest has the volume's disk."""
        deadline = time.monotonic() + DISK_SECONDS
        while True:
            try:
                return f"/dev/{self.device(name)} in the guest"
            except LabError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def expect_disks(self, count: int) -> str:
        seen: dict[str, str] = {}

        def ready() -> bool:
            seen.clear()
            seen.update(self.need_vm().disks())
            return len(seen) == count

        try:
            wait_until(ready, DISK_SECONDS, "not the disks wanted")
        except LabError:
            raise LabError(f"the guest has {len(seen)} disks, not {count}, after {DISK_SECONDS} s: "
                           f"{', '.join(sorted(seen.values())) or 'none'}") from None
        known = {volume.serial for volume in self.volumes.values()}
        strange = sorted(set(seen) - known)
        if strange:
            raise LabError(f"the guest's disks have serials no volume has: {', '.join(strange)}")
        if len(seen) > 8:
            return f"the guest has {len(seen)} disks"
        return f"the guest has {', '.join(sorted(seen.values())) or 'no disk'}"

    def expect_rings(self, kind: str) -> str:
        """Each attached disk's driver has agreed on rings of that kind."""
        self.expect_disks(len(self.places))
        for serial, device in self.need_vm().disks().items():
            features = self.need_vm().check(f"cat /sys/block/{device}/device/features").strip()
            if features[RING_PACKED] != ("1" if kind == "packed" else "0"):
                raise LabError(f"the disk {serial} has no {kind} rings; its features: {features}")
        return f"{len(self.places)} disks with {kind} rings"

    def expect_size(self, name: str, size: int) -> str:
        """Waits until the guest's kernel gives the volume's device so many bytes."""
        device = self.device(name)

        def seen() -> int:
            return int(self.need_vm().check(f"cat /sys/block/{device}/size")) * 512

        try:
            wait_until(lambda: seen() == size, DISK_SECONDS, "not that size", step=0.2)
        except LabError:
            raise LabError(f"{device} has {seen()} bytes, not {size}, after {DISK_SECONDS} s") from None
        return device

    # --- jobs in the guest ------------------------------------------------------------------

    def begin_job(self, job: str, command: str) -> None:
        if job in self._jobs:
            raise LabError(f"the job {job} runs already")
        quoted = command.replace("'", "'\\''")
        self.need_vm().check(f"rm -f /run/{job}.rc; (sh -c '{quoted}' >/run/{job}.out 2>&1; "
                             f"echo $? >/run/{job}.rc) >/dev/null 2>&1 &")
        self._jobs[job] = command

    def job_running(self, job: str) -> bool:
        if job not in self._jobs:
            raise LabError(f"no job {job} was begun")
        return self.need_vm().run(f"test -f /run/{job}.rc").exit_code != 0

    def finish_job(self, job: str, seconds: float) -> str:
        """Waits for the job's end, which must be good; its output."""
        vm = self.need_vm()
        wait_until(lambda: not self.job_running(job), seconds,
                   f"the job {job} (`{self._jobs.get(job, '')}`) did not end", step=0.1)
        code = vm.check(f"cat /run/{job}.rc").strip()
        output = vm.check(f"cat /run/{job}.out")
        command = self._jobs.pop(job)
        if code != "0":
            raise LabError(f"the job {job} ended with exit code {code}:\n{ends_of(output)}")
        return fio.summary(output) if command.startswith("fio ") else output.strip()
