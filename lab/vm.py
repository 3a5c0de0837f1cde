# SPDX-License-Identifier: Apache-2.0
"""The host: a QEMU virtual machine with Debian's own 6.12 kernel and places for 64 disks.

The guest has no Remora in it: it sees PCI devices come and go. Its memory is a shared memfd, as
a vhost-user back end needs. Places for functions 0..63 are the slots of conventional PCI bridges
of the `pc` machine (slot 0 of a bridge cannot be plugged into): that layout was found to work
with QEMU 7.2 and ACPI hot-plug, see FUNCTIONS. Some have virtual functions beside them.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Callable

from daemon import free_port
from guest_agent import Answer, GuestAgent
from guest_image import GuestImage, guest_image
from migration import move, plugged_disks
from newer_qemu import Qemu
from paths import LabError, cache_dir, tool
from processes import Child, wait_until
from qmp import Qmp

FUNCTIONS = "br1:1-31,br2:1-31,br3:1-2"
VIRTUAL_FUNCTIONS = ("0=br3:8-15", "10=br3:16-19")  # of functions 0 and 10
BRIDGES = ("br1", "br2", "br3")
NVMET_PORTS = (4420, 4421)  # where the guest's kernel listens when it is a target (linux_target.py)
PACKED_RINGS = "packed=on"  # every vhost-user disk that is plugged in
MEMORY = "512M"
PROCESSORS = 2
KVM_BOOT_SECONDS = 8  # about 1 s where KVM works; where it does not, the guest hangs
AGENT_SECONDS = 30  # of a guest that runs
QUIT_SECONDS = 2  # QEMU has nothing to save; one that hangs is killed
# How a Linux kernel begins to say that it crashed.
CRASH = re.compile(r"BUG:|Oops|general protection|double fault|invalid opcode|Kernel panic|stack guard page")
BOOT_SECONDS = 120  # seen: 5 s on an idle machine, 55 s on a loaded one


def _tcg_threads(qemu: Qemu) -> str:
    """Whether QEMU may emulate each processor by a thread of its own.

    Before 8.1 a thread could translate code while another changed it and keep what it had read: a
    kernel that patches itself (static keys do, all the time) then dies of an `int3` that is gone.
    """
    said = subprocess.run([*qemu.command, "--version"], capture_output=True, text=True, check=True,
                          env={**os.environ, **qemu.env}).stdout
    found = re.search(r"version (\d+)\.(\d+)", said)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    return "multi" if version >= (8, 1) else "single"


def ends_of(text: str, lines: int = 12) -> str:
    """What was printed, of much of it both ends: fio's report is hundreds of lines."""
    all_lines = text.rstrip().splitlines()
    left_out = len(all_lines) - 2 * lines
    if left_out <= 0:
        return "\n".join(all_lines)
    return "\n".join([*all_lines[:lines], f"[... {left_out} lines ...]", *all_lines[-lines:]])


class GuestCrashed(LabError):
    """The kernel in the guest died."""


def _boots_under_kvm(image: GuestImage) -> bool:
    """Whether a guest really boots under KVM: an open /dev/kvm proves nothing when nested."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    with tempfile.TemporaryDirectory(prefix="remora-kvm-") as name:
        vm = Vm(Path(name), image=image, accelerator="kvm")
        try:
            vm.start(boot_seconds=KVM_BOOT_SECONDS)
            return True
        except (LabError, OSError):
            return False
        finally:
            vm.stop()


def _usable_kvm(image: GuestImage) -> bool:
    """The same, tried once a boot of this machine and user."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    verdict = cache_dir() / f"kvm-{os.getuid()}-{boot}"
    if not verdict.exists():
        verdict.write_text("yes" if _boots_under_kvm(image) else "no", encoding="ascii")
    return verdict.read_text(encoding="ascii") == "yes"


def choose_accelerator(image: GuestImage) -> str:
    """REMORA_ACCEL: `tcg` (the default), `kvm`, or `auto`: KVM where a guest boots under it."""
    wanted = os.environ.get("REMORA_ACCEL", "tcg")
    if wanted not in ("tcg", "kvm", "auto"):
        raise LabError(f"REMORA_ACCEL is {wanted}; it takes tcg, kvm or auto")
    if wanted != "tcg" and _usable_kvm(image):
        return "kvm"
    if wanted == "kvm":
        raise LabError("REMORA_ACCEL=kvm, but no guest boots under KVM on this machine; unset it")
    return "tcg"


class Vm:
    """One virtual machine; its sockets and logs are in `folder`."""

    def __init__(self, folder: Path, image: GuestImage | None = None,
                 accelerator: str | None = None, say: Callable[[str], None] = lambda line: None,
                 parameter: str = "", qemu: Qemu | None = None) -> None:
        """`parameter` is one more for the guest's kernel, or PACKED_RINGS; `qemu` is not the
        system's."""
        self.folder = folder
        self.qmp_path = folder / "qmp"  # for remorad; leads to the QEMU that has the guest
        self.agent = GuestAgent(folder / "agent", self._check_kernel)  # leads there, too
        self._number = 0  # of the QEMU; the next one has the guest after a migration
        self.console = self._own("console")
        self.nvmet_ports = [free_port() for _ in NVMET_PORTS]  # of this machine, each to the guest's
        self._packed = parameter == PACKED_RINGS
        self._parameter = "" if self._packed else parameter
        self._qemu = qemu or Qemu([tool("qemu-system-x86_64", "qemu-system-x86")], {})
        self._image = image or guest_image(say)
        self._accelerator = accelerator or choose_accelerator(self._image)
        self._child: Child | None = None
        self._qmp: Qmp | None = None
        self._console_seen = 0  # what was said before a crash that was wanted

    @property
    def accelerator(self) -> str:
        return self._accelerator

    @property
    def child(self) -> Child | None:
        return self._child

    def _own(self, name: str) -> Path:
        """A file or socket of the present QEMU."""
        return self.folder / f"{name}.{self._number}"

    def command(self) -> list[str]:
        """QEMU's command line."""
        accelerator = f"tcg,thread={_tcg_threads(self._qemu)}" if self._accelerator == "tcg" else "kvm"
        # QEMU 7.2 with a 6.12 guest crashes at random with -cpu max, never seen with qemu64.
        processor = "qemu64" if self._accelerator == "tcg" else "host"
        forwards = ",".join(f"hostfwd=tcp:127.0.0.1:{ours}-:{guests}"
                            for ours, guests in zip(self.nvmet_ports, NVMET_PORTS))
        command = [
            *self._qemu.command, "-nodefaults", "-no-user-config", "-display", "none",
            "-machine", "pc,memory-backend=mem0", "-accel", accelerator, "-cpu", processor,
            "-smp", str(PROCESSORS), "-m", MEMORY,
            "-object", f"memory-backend-memfd,id=mem0,size={MEMORY},share=on",
            "-kernel", str(self._image.kernel), "-initrd", str(self._image.initramfs),
            # no_timer_check: on a loaded machine an emulated guest may take its timer for broken.
            "-append", "no_timer_check console=ttyS0 quiet loglevel=4 panic=0 tsc=unstable nokaslr "
            + self._parameter,
            "-serial", f"file:{self.console}",
            "-qmp", f"unix:{self._own('qmp')},server=on,wait=off",
            "-qmp", f"unix:{self._own('qmp-lab')},server=on,wait=off",
            "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=agent,path={self._own('agent')},server=on,wait=off",
            "-device", "virtserialport,chardev=agent,name=remora.agent",
            # For the guest's kernel as host or target (linux_host.py, linux_target.py); its interface
            # is down until it is wanted.
            "-netdev", f"user,id=lab,{forwards}", "-device", "virtio-net-pci,netdev=lab,romfile=",
        ]
        for number, bridge in enumerate(BRIDGES, start=1):
            command += ["-device", f"pci-bridge,id={bridge},chassis_nr={number}"]
        if self._packed:
            command += ["-global", "vhost-user-blk.packed=on"]
        return command

    def start(self, boot_seconds: float = BOOT_SECONDS) -> None:
        """Boots, and returns once the guest answers."""
        self._child = self._begin([])
        try:
            self._qmp = Qmp(self._own("qmp-lab"))
            self._lead_here()
            self.agent.connect(boot_seconds)
        except (LabError, OSError) as error:
            if not self._child.alive():
                raise LabError(f"QEMU ended at once (exit code {self._child.exit_code}): "
                               f"{self._child.tail(3)}") from error
            raise

    def _begin(self, more: list[str]) -> Child:
        for name in ("qmp", "qmp-lab", "agent", "console"):
            self._own(name).unlink(missing_ok=True)
        return Child("QEMU", self.command() + more, self.folder / "qemu.log", env=self._qemu.env)

    def _lead_here(self) -> None:
        """The paths that others know lead to the present QEMU from now on."""
        for name in ("qmp", "agent"):
            new = self.folder / f"{name}.new"
            new.unlink(missing_ok=True)
            new.symlink_to(self._own(name).name)
            new.replace(self.folder / name)

    def migrate(self) -> str:
        """The guest goes on in another QEMU, with its disks; the one it was in ends. If it cannot, it
        stays where it was."""
        source, source_qmp, source_ports = self._child, self.qmp, self.nvmet_ports
        assert source is not None
        disks = plugged_disks(source_qmp)
        self._number += 1
        self.nvmet_ports = [free_port() for _ in NVMET_PORTS]
        incoming = self._own("migration")
        destination = self._begin([*disks, "-incoming", f"unix:{incoming}"])
        try:
            qmp = Qmp(self._own("qmp-lab"))
            # There before the guest is, which else sees its agent's port hang up.
            agent = GuestAgent(self._own("agent"), self._check_kernel)
            agent.open()
            told = move(source_qmp, qmp, incoming)
        except (LabError, OSError) as error:
            destination.stop(QUIT_SECONDS)
            self._number -= 1
            self.nvmet_ports = source_ports
            raise LabError(f"{error}; the second QEMU said: {destination.tail(3)}") from error
        self._lead_here()
        self._child, self._qmp = destination, qmp
        self.console, self._console_seen = self._own("console"), 0
        source_qmp.close()
        source.stop(QUIT_SECONDS)
        self.agent.close()
        self.agent = agent
        self.agent.sync(AGENT_SECONDS)
        return told

    @property
    def qmp(self) -> Qmp:
        assert self._qmp is not None, "start() first"
        return self._qmp

    def run(self, command: str, seconds: float = 60) -> Answer:
        """A shell command in the guest, whatever it ends with."""
        return self.agent.run(command, seconds)

    def check(self, command: str, seconds: float = 60) -> str:
        """A shell command in the guest that must succeed; its output."""
        answer = self.run(command, seconds)
        if answer.exit_code != 0:
            raise LabError(f"in the guest `{command}` ended with exit code {answer.exit_code}:\n"
                           f"{ends_of(answer.output)}")
        return answer.output

    def disks(self) -> dict[str, str]:
        """The guest's virtio disks: serial -> device name, e.g. vda."""
        # Without a process for each disk, which an emulated guest takes long to make.
        listed = self.check("for d in /sys/block/vd*; do [ -e $d ] || continue; s=; "
                            "read -r s <$d/serial; echo ${d##*/} $s; done; true")
        pairs = [line.split() for line in listed.splitlines()]
        return {words[1] if len(words) > 1 else f"no serial: {words[0]}": words[0]
                for words in pairs if words}

    def reboot(self) -> None:
        """Restarts the guest's kernel; the machine and its plugged devices stay."""
        self.qmp.events.clear()
        self.agent.run("(sleep 0.2; reboot -f) >/dev/null 2>&1 &")
        self.agent.close()
        self.qmp.wait_event("RESET")
        self.agent.connect(BOOT_SECONDS)

    def panic(self) -> None:
        """The guest's kernel dies; the machine is reset and the plugged devices stay."""
        self.agent.run("(sleep 0.2; echo c >/proc/sysrq-trigger) >/dev/null 2>&1 &")
        wait_until(lambda: any("end Kernel panic" in line for line in self._console_lines()[0]),
                   BOOT_SECONDS, "the guest's kernel did not crash", step=0.2)
        self.agent.close()
        self._console_seen = self.console.stat().st_size
        self.qmp.execute("system_reset")
        self.agent.connect(BOOT_SECONDS)

    def _console_lines(self) -> tuple[list[str], int | None]:
        """What the guest's kernel said, and the first line of its crash."""
        if not self.console.exists():
            return [], None
        text = self.console.read_bytes()[self._console_seen:]
        said = text.decode("utf-8", errors="replace").splitlines()
        return said, next((at for at, line in enumerate(said) if CRASH.search(line)), None)

    def _check_kernel(self) -> None:
        said, crash = self._console_lines()
        if crash is not None:
            raise GuestCrashed(f"the guest's kernel crashed: {said[crash].strip()}")

    def console_tail(self, lines: int = 40) -> str:
        """The end of what the guest's kernel said; from its first word of a crash, if it crashed."""
        said, crash = self._console_lines()
        return "\n".join(said[-lines:] if crash is None else said[crash : crash + 3 * lines])

    def kernel_log(self, lines: int = 30) -> str:
        """The end of what the guest's kernel noted, its warnings too. Never raises."""
        if self.child is None or not self.child.alive() or not self.agent.connected:
            return "the guest does not run"
        try:
            return self.run(f"dmesg | tail -n {lines}", 10).output
        except (LabError, OSError) as error:
            return f"not to be had: {error}"

    def stop(self) -> None:
        """Ends QEMU. Never raises."""
        self.agent.close()
        if self._qmp is not None:
            self._qmp.close()
            self._qmp = None
        if self._child is not None:
            self._child.stop(QUIT_SECONDS)

