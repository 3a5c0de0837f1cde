# SPDX-License-Identifier: Apache-2.0
"""The guest's own kernel as an NVMe/TCP target (nvmet): a peer of our host that is not ours.

The IPU reaches it at a port of the machine's loopback that the VM's user network forwards. Its
volumes are files in the guest's memory. Its discovery log would name the guest's own address, so
the IPU is given the subsystem by hand, as a remote controller with a path.
"""

from __future__ import annotations

import uuid

from ipu import Ipu
from linux_host import NETWORK
from paths import LabError
from target import Volume
from vm import NVMET_PORT, Vm

NQN = "nqn.2026-11.example.remora:linux"
CONFIG = "/sys/kernel/config/nvmet"
REMOTE = "linux"


class LinuxTarget:
    """One subsystem behind one port."""

    def __init__(self, vm: Vm) -> None:
        self._vm = vm
        self._numbers: dict[str, int] = {}  # volume -> NSID

    def export(self, name: str, size: str) -> Volume:
        """A new namespace; the first one makes the subsystem and opens the port."""
        number = len(self._numbers) + 1
        if number == 1:
            self._vm.check(f"{NETWORK} && modprobe nvmet_tcp && "
                           "{ mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config; }"
                           f" && mkdir {CONFIG}/subsystems/{NQN} && cd {CONFIG}/subsystems/{NQN} && "
                           "echo 1 > attr_allow_any_host")
        volume = Volume(name, "nvmet", size, str(uuid.uuid4()))
        self._vm.check(f"truncate -s {size} /run/{name}.img && "
                       f"mkdir {CONFIG}/subsystems/{NQN}/namespaces/{number} && "
                       f"cd {CONFIG}/subsystems/{NQN}/namespaces/{number} && "
                       f"echo /run/{name}.img > device_path && echo {volume.uuid} > device_uuid && "
                       "echo 1 > buffered_io && echo 1 > enable")
        self._numbers[name] = number
        if number == 1:
            self._vm.check(f"mkdir {CONFIG}/ports/1 && cd {CONFIG}/ports/1 && echo tcp > addr_trtype && "
                           f"echo ipv4 > addr_adrfam && echo 0.0.0.0 > addr_traddr && "
                           f"echo {NVMET_PORT} > addr_trsvcid")
            self.open_port()
        return volume

    def open_port(self) -> None:
        self._vm.check(f"ln -s {CONFIG}/subsystems/{NQN} {CONFIG}/ports/1/subsystems/{NQN}")

    def close_port(self) -> None:
        """Cuts every connection, and takes no new one."""
        self._vm.check(f"rm {CONFIG}/ports/1/subsystems/{NQN}")

    def connect(self, ipu: Ipu) -> str:
        """The IPU's remote controller; its volumes are called linuxn1, linuxn2, ..."""
        ipu.remora("create", "remote-controller", REMOTE)
        return ipu.remora("create", "path", f"{REMOTE}/p0", "--address",
                          f"127.0.0.1:{self._vm.nvmet_port}", "--nqn", NQN).strip().splitlines()[-1]

    def plug(self, ipu: Ipu, name: str, function: int) -> None:
        """A volume of export() as the guest's disk on the host function."""
        if name not in self._numbers:
            raise LabError(f"the guest's kernel shows no volume {name}; `linux export` makes one")
        ipu.remora("create", "virtio-blk", f"linux-{name}", "--function", str(function), "--volume",
                   f"{REMOTE}n{self._numbers[name]}")
