# SPDX-License-Identifier: Apache-2.0
"""NVMe functions of the host: a subsystem of the IPU each, with volumes as its namespaces."""

from __future__ import annotations

from ipu import Ipu, names_of
from linux_host import guest_namespaces
from paths import LabError
from processes import wait_until
from target import Volume
from vm import Vm

SEEN_SECONDS = 60


class HostFunctions:
    """What the IPU shows the guest as NVMe controllers on its PCI bus."""

    def __init__(self, vm: Vm, ipu: Ipu) -> None:
        self.vm = vm
        self._ipu = ipu
        self._shown: dict[str, str] = {}  # volume -> subsystem
        self._cntlids: dict[str, int] = {}  # controller, as scenarios call it -> its number

    @staticmethod
    def nqn(subsystem: str) -> str:
        return f"nqn.2026-11.example.remora:{subsystem}"

    def shows(self, volume: str) -> bool:
        return volume in self._shown

    def controllers(self) -> dict[tuple[str, int], str]:
        """The guest's live NVMe controllers on PCI, each by its subsystem's NQN and its number there."""
        text = self.vm.check("for c in /sys/class/nvme/nvme*; do [ -e $c/transport ] && "
                              "[ \"$(cat $c/transport)\" = pcie ] && [ \"$(cat $c/state)\" = live ] && "
                              "echo \"$(cat $c/subsysnqn $c/cntlid) ${c##*/}\"; done; true")
        words = text.split()
        return {(words[at], int(words[at + 1])): words[at + 2] for at in range(0, len(words) - 2, 3)}

    def plug(self, controller: str, function: str) -> str:
        """Makes the subsystem if there is none of that name, and its controller at the function."""
        subsystem, name = self._parts(controller)
        if f"nvmeSubsystems/{subsystem}" not in names_of(self._ipu.remora_json("list", "subsystem")):
            self._ipu.remora("create", "subsystem", subsystem, "--nqn", self.nqn(subsystem))
        made = self._ipu.remora_json("create", "controller", f"{subsystem}/{name}", "--function", function)
        self._cntlids[controller] = int(made["spec"]["nvmeControllerId"])
        return self.await_controller(controller)

    @staticmethod
    def _parts(controller: str) -> tuple[str, str]:
        """Of SUBSYSTEM/NAME, or SUBSYSTEM, whose one controller is called pci."""
        subsystem, _, name = controller.partition("/")
        return subsystem, name or "pci"

    def _key(self, controller: str) -> tuple[str, int]:
        return self.nqn(self._parts(controller)[0]), self._cntlids[controller]

    def await_controller(self, controller: str) -> str:
        """Both must say so: a guest may take a controller for live that has lost its IPU."""
        ours = f"nvmeSubsystems/{self._parts(controller)[0]}/nvmeControllers/{self._parts(controller)[1]}"

        def ready() -> bool:
            disks = self._ipu.remora_json("status").get("hostDisks", [])
            return (any(disk.get("nvmeController", "") == ours and disk.get("hostConnected")
                        for disk in disks) and self._key(controller) in self.controllers())

        wait_until(ready, SEEN_SECONDS, f"the guest has no live controller {controller}", step=0.2)
        return f"{self.controllers()[self._key(controller)]} in the guest"

    def unplug(self, controller: str) -> None:
        """When the call returns the guest has no such controller."""
        subsystem, name = self._parts(controller)
        self._ipu.remora("delete", "controller", f"{subsystem}/{name}")
        if self._key(controller) in self.controllers():
            raise LabError(f"the guest still has the controller {controller}")

    def show(self, volume: Volume, subsystem: str) -> str:
        self._ipu.remora("create", "namespace", f"{subsystem}/{volume.name}", "--volume", volume.uuid)
        self._shown[volume.name] = subsystem
        wait_until(lambda: volume.uuid in guest_namespaces(self.vm), SEEN_SECONDS,
                   f"the guest does not see volume {volume.name}", step=0.2)
        return self.device(volume)

    def hide(self, volume: Volume) -> None:
        subsystem = self._shown.pop(volume.name)
        self._ipu.remora("delete", "namespace", f"{subsystem}/{volume.name}")
        wait_until(lambda: volume.uuid not in guest_namespaces(self.vm), SEEN_SECONDS,
                   f"the guest still sees volume {volume.name}", step=0.2)

    def device(self, volume: Volume) -> str:
        found = guest_namespaces(self.vm).get(volume.uuid)
        if found is None:
            raise LabError(f"the guest sees no namespace of volume {volume.name}")
        return found

    def expect(self, what: str, count: int) -> str:
        """Waits until the guest has so many `functions` or `namespaces`."""
        seen: list[str] = []

        def ready() -> bool:
            found = self.controllers() if what == "functions" else guest_namespaces(self.vm)
            seen[:] = sorted(found.values())
            return len(seen) == count

        try:
            wait_until(ready, SEEN_SECONDS, "not so many", step=0.2)
        except LabError:
            raise LabError(f"the guest has {len(seen)} NVMe {what}, not {count}: "
                           f"{', '.join(seen) or 'none'}") from None
        names = f"{len(seen)} {what}" if len(seen) > 8 else ", ".join(seen)
        return f"the guest has {names or 'none'}"
