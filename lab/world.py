# SPDX-License-Identifier: Apache-2.0
"""What a scenario plays with: at most one target, one IPU and one VM, in a folder of their own."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Callable

import fio
from encryption import Encryption
from ipu import Ipu
from linux_host import LinuxHost
from linux_target import LinuxTarget
from nvme_cli import NvmeCli
from paths import LabError, new_run_dir
from processes import Child, wait_until
from target import Target, Volume
from vm import Vm

DISK_SECONDS = 30


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
        self.volumes: dict[str, Volume] = {}
        self.encryptions: dict[str, Encryption] = {}  # by the volume below
        self.places: dict[str, int] = {}  # volume name -> host function
        self._jobs: dict[str, str] = {}  # running job -> its command
        self._say = say

    # --- processes --------------------------------------------------------------------------

    def start_vm(self, parameter: str = "") -> str:
        if self.vm is not None:
            raise LabError("the vm runs already")
        folder = self.folder / "vm"
        folder.mkdir()
        self.vm = Vm(folder, say=self._say, parameter=parameter)
        self.vm.start()
        return self.vm.check("uname -sr").strip() + f" under {self.vm.accelerator}"

    def start_ipu(self) -> str:
        if self.ipu is None:
            self.ipu = Ipu(self.folder / "ipu", self.vm.qmp_path if self.vm else None)
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
        return "\n".join(parts)

    # --- disks ------------------------------------------------------------------------------

    def device(self, name: str) -> str:
        """The guest's name, e.g. vda, of the disk that is volume `name`."""
        hosts: list[LinuxHost | NvmeCli | None] = [self._linux, self._nvme_cli]
        for host in hosts:
            if name not in self.places and host is not None and host.connected:
                return host.device(self.volume(name))
        serial = self.volume(name).serial
        device = self.need_vm().disks().get(serial)
        if device is None:
            raise LabError(f"the guest has no disk with serial {serial} (volume {name})")
        return device

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
            raise LabError(f"the job {job} ended with exit code {code}:\n{output[-1500:]}")
        return fio.summary(output) if command.startswith("fio ") else output.strip()
