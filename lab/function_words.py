# SPDX-License-Identifier: Apache-2.0
"""The words about NVMe functions of the host; a part of Words."""

from __future__ import annotations

from usage import is_function, need
from world import World


class FunctionWords:
    """They need `start newer-vm`: vfio-user is younger than Debian 12's QEMU."""

    world: World

    def word_function(self, rest: str) -> str | None:
        """function plug CONTROLLER N | unplug CONTROLLER | await CONTROLLER | show VOLUME SUBSYSTEM |
        hide VOLUME | expect N functions|namespaces: a subsystem of the IPU as an NVMe controller at
        host function N (3, or 3.2 of a virtual one); the guest must have it, or have it no more. A CONTROLLER is SUBSYSTEM, or
        SUBSYSTEM/NAME if it has several. await: the guest must have it live again. show, hide: the volume (the IPU reaches it by its UUID) as a namespace, seen or
        gone in the guest by an event. expect: waits until the guest has so many."""
        usage = ("function plug CONTROLLER N | unplug CONTROLLER | await CONTROLLER | "
                 "show VOLUME SUBSYSTEM | hide VOLUME | expect N functions|namespaces")
        parts = rest.split()
        functions = self.world.functions()
        match parts:
            case ["plug", controller, function] if is_function(function):
                return functions.plug(controller, function)
            case ["unplug", controller]:
                return functions.unplug(controller)
            case ["await", controller]:
                return functions.await_controller(controller)
            case ["show", volume, subsystem]:
                return functions.show(self.world.volume(volume), subsystem)
            case ["hide", volume] if functions.shows(volume):
                return functions.hide(self.world.volume(volume))
            case ["expect", count, "functions" | "namespaces" as what] if count.isdigit():
                return functions.expect(what, int(count))
        need(False, usage)
        return None
