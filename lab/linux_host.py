# SPDX-License-Identifier: Apache-2.0
"""The guest's own kernel as an NVMe/TCP host of the target: a peer that is not ours.

LinuxHost talks to the kernel as nvme-cli does, through /dev/nvme-fabrics and sysfs; nvme_cli.py
has the real nvme-cli. The VM's user network shows the machine's loopback to the guest as 10.0.2.2.
"""

from __future__ import annotations

import re
import uuid

from paths import LabError
from processes import wait_until
from target import NQN, Target, Volume
from vm import Vm

GATEWAY = "10.0.2.2"
NAMESPACE_SECONDS = 30
# A path that is away is tried again each second, and given up after a minute.
TIMES = "keep_alive_tmo=5,reconnect_delay=1,ctrl_loss_tmo=60"
OPTIONS = re.compile(r"(hdr_digest|data_digest|nr_io_queues=\d+|queue_size=\d+|disable_sqflow)")
NETWORK = "modprobe virtio_net && ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up"
UP = f"{NETWORK} && modprobe nvme_tcp && test -c /dev/nvme-fabrics"


def guest_namespaces(vm: Vm) -> dict[str, str]:
    """The guest's NVMe block devices by the UUID that they are shown with."""
    text = vm.check("for at in /sys/block/nvme*n*; do "
                    # nvme0c1n1 is a path of nvme0n1.
                    "case ${at##*/} in *c*) continue;; esac; [ -e $at/uuid ] && echo \"$(cat $at/uuid) ${at##*/}\"; done; true")
    return dict(line.split() for line in text.splitlines() if len(line.split()) == 2)


class GuestHost:
    """What is the same for every way to make the guest's kernel connect."""

    def __init__(self, vm: Vm, target: Target) -> None:
        self._vm = vm
        self._port = target.discovery.rsplit(":", 1)[1]

    def namespaces(self) -> dict[str, str]:
        """Block devices by the UUID that the target shows."""
        return guest_namespaces(self._vm)

    def device(self, volume: Volume) -> str:
        found = self.namespaces().get(volume.uuid)
        if found is None:
            raise LabError(f"the guest's kernel sees no namespace of volume {volume.name}")
        return found

    def expect(self, count: int) -> str:
        """Waits until it sees so many: the target tells it of each change."""
        seen: dict[str, str] = {}

        def ready() -> bool:
            seen.clear()
            seen.update(self.namespaces())
            return len(seen) == count

        wait_until(ready, NAMESPACE_SECONDS, f"the guest's kernel sees not {count} namespaces", step=0.2)
        return f"the guest's kernel sees {', '.join(sorted(seen.values())) or 'none'}"


class LinuxHost(GuestHost):
    """At most one association with the target's subsystem."""

    def __init__(self, vm: Vm, target: Target) -> None:
        super().__init__(vm, target)
        self._id = str(uuid.uuid4())
        self._controller: str | None = None

    @property
    def connected(self) -> bool:
        return self._controller is not None

    def connect(self, options: list[str]) -> str:
        """Connects; the kernel's words for what it has made."""
        if self._controller is not None:
            raise LabError("the guest's kernel is connected already")
        strange = [option for option in options if not OPTIONS.fullmatch(option)]
        if strange:
            raise LabError(f"linux connect takes {OPTIONS.pattern}, not {', '.join(strange)}")
        self._vm.check(UP)
        text = ",".join([f"transport=tcp,traddr={GATEWAY},trsvcid={self._port},nqn={NQN}",
                         f"hostnqn=nqn.2014-08.org.nvmexpress:uuid:{self._id},hostid={self._id}",
                         TIMES, *options])
        said = self._vm.check("exec 3<>/dev/nvme-fabrics || exit 1; "
                              f"printf %s '{text}' >&3 || {{ dmesg | tail -5; exit 1; }}; "
                              "read -r answer <&3; echo \"$answer\"").strip()
        found = re.search(r"instance=(\d+)", said)
        if found is None:
            raise LabError(f"the guest's kernel did not connect: {said}")
        self._controller = f"nvme{found[1]}"
        return f"{self._controller}, {said}"

    def disconnect(self) -> None:
        if self._controller is None:
            raise LabError("the guest's kernel is not connected")
        self._vm.check(f"echo 1 > /sys/class/nvme/{self._controller}/delete_controller")
        self._controller = None
