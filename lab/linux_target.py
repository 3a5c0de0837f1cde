# SPDX-License-Identifier: Apache-2.0
"""The guest's own kernel as an NVMe/TCP target (nvmet): a peer of our host that is not ours.

The IPU reaches it at ports of the machine's loopback that the VM's user network forwards. Its
volumes are files in the guest's memory. Its discovery log would name the guest's own address, so
the IPU is given the subsystem by hand, as a remote controller with a path for each port.

Each port has an ANA state of its own for the one ANA group that all namespaces are in, so two
ports are two paths of which one may be better than the other, or away.
"""

from __future__ import annotations

import uuid

from ipu import Ipu
from linux_host import NETWORK
from paths import LabError
from target import Volume
from vm import NVMET_PORTS, Vm

NQN = "nqn.2026-11.example.remora:linux"
CONFIG = "/sys/kernel/config/nvmet"
REMOTE = "linux"
STATES = ("optimized", "non-optimized", "inaccessible", "persistent-loss", "change")


class LinuxTarget:
    """One subsystem behind one port or two, numbered from 1."""

    def __init__(self, vm: Vm) -> None:
        self._vm = vm
        self._numbers: dict[str, int] = {}  # volume -> NSID
        self._ports: list[int] = []

    def export(self, name: str, size: str) -> Volume:
        """A new namespace; the first one makes the subsystem and opens port 1."""
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
            self.add_port(1)
        return volume

    # --- ports ------------------------------------------------------------------------------

    def add_port(self, port: int) -> str:
        """A further way to the subsystem, optimized and open."""
        if port in self._ports or not 1 <= port <= len(NVMET_PORTS):
            raise LabError(f"there are ports 1 to {len(NVMET_PORTS)}, and {self._ports} are made")
        at = f"{CONFIG}/ports/{port}"
        self._vm.check(f"mkdir {at} && cd {at} && echo tcp > addr_trtype && echo ipv4 > addr_adrfam && "
                       f"echo 0.0.0.0 > addr_traddr && echo {NVMET_PORTS[port - 1]} > addr_trsvcid")
        self._ports.append(port)
        self.open_port(port)
        return f"{self._address(port)}, ANA state {self.state(port)}"

    def _address(self, port: int) -> str:
        return f"127.0.0.1:{self._vm.nvmet_ports[port - 1]}"

    def _known(self, port: int) -> str:
        if port not in self._ports:
            raise LabError(f"there is no port {port}; `linux port {port}` makes it")
        return f"{CONFIG}/ports/{port}"

    def open_port(self, port: int = 1) -> None:
        self._vm.check(f"ln -s {CONFIG}/subsystems/{NQN} {self._known(port)}/subsystems/{NQN}")

    def close_port(self, port: int = 1) -> None:
        """Cuts every connection of the port, and takes no new one."""
        self._vm.check(f"rm {self._known(port)}/subsystems/{NQN}")

    def state(self, port: int) -> str:
        return self._vm.check(f"cat {self._known(port)}/ana_groups/1/ana_state").strip()

    def set_state(self, port: int, state: str) -> str:
        """The ANA state of all namespaces through this port; hosts are told by an event."""
        if state not in STATES:
            raise LabError(f"an ANA state is one of {', '.join(STATES)}")
        self._vm.check(f"echo {state} > {self._known(port)}/ana_groups/1/ana_state")
        seen = self.state(port)
        if seen != state:
            raise LabError(f"port {port} is {seen}, not {state}")
        return seen

    def refer(self, port: int) -> str:
        """Port 1's discovery log names the discovery service of another, as the IPU reaches it."""
        self._known(port)
        at = f"{self._known(1)}/referrals/port{port}"
        address, _, service = self._address(port).rpartition(":")
        self._vm.check(f"mkdir {at} && cd {at} && echo tcp > addr_trtype && echo ipv4 > addr_adrfam && "
                       f"echo {address} > addr_traddr && echo {service} > addr_trsvcid && "
                       f"echo {port} > addr_portid && echo 1 > enable")
        return f"{address}:{service}"

    # --- the IPU ----------------------------------------------------------------------------

    def connect(self, ipu: Ipu, multipath: str = "disable") -> str:
        """The IPU's remote controller with a path for each port; its volumes are called linuxn1,
        linuxn2, ... `multipath` is what it does with several paths."""
        ipu.remora("create", "remote-controller", REMOTE, "--multipath", multipath)
        return "; ".join(self.add_path(ipu, port) for port in self._ports)

    def add_path(self, ipu: Ipu, port: int) -> str:
        """A path of the IPU's remote controller through a port."""
        self._known(port)
        return ipu.remora("create", "path", f"{REMOTE}/p{port - 1}", "--address", self._address(port),
                          "--nqn", NQN).strip().splitlines()[-1]

    def plug(self, ipu: Ipu, name: str, function: str) -> None:
        """A volume of export() as the guest's disk on the host function."""
        if name not in self._numbers:
            raise LabError(f"the guest's kernel shows no volume {name}; `linux export` makes one")
        ipu.remora("create", "virtio-blk", f"linux-{name}", "--function", function, "--volume",
                   f"{REMOTE}n{self._numbers[name]}")
