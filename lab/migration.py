# SPDX-License-Identifier: Apache-2.0
"""Moves a guest with its vhost-user disks from one QEMU to another on this machine, as the layer
that manages virtual machines does: the second QEMU is started with what was plugged into the first
and is at the same remorad while the guest still runs in the first."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from paths import LabError
from qmp import Qmp

SECONDS = 120  # seen: 3 s on an idle machine
# An emulated guest under load writes faster than its memory is copied in 300 ms, the default.
PARAMETERS = {"max-bandwidth": 1 << 30, "downtime-limit": 1000}
RECONNECT_MILLISECONDS = (9, 2)  # what the option is called from that QEMU on


def plugged_disks(qmp: Qmp) -> list[str]:
    """What makes a second QEMU have the vhost-user disks of this one, each at its place."""
    version = qmp.execute("query-version")["qemu"]
    again = "reconnect=1" if (version["major"], version["minor"]) < RECONNECT_MILLISECONDS else \
        "reconnect-ms=1000"
    arguments: list[str] = []
    for item in qmp.execute("qom-list", path="/machine/peripheral"):
        if item["type"] == "child<vhost-user-blk-pci>":
            arguments += _disk(qmp, item["name"], again)
        elif item["type"] == "child<vfio-user-pci>":
            raise LabError(f"QEMU does not migrate {item['name']}, a vfio-user device")
    return arguments


def _disk(qmp: Qmp, name: str, again: str) -> list[str]:
    def ask(prop: str) -> Any:
        return qmp.execute("qom-get", path=f"/machine/peripheral/{name}", property=prop)

    chardev = ask("chardev")
    address = qmp.execute("qom-get", path=f"/chardevs/{chardev}", property="addr")
    bus = ask("parent_bus").rsplit("/", 1)[-1]
    return ["-chardev", f"socket,id={chardev},path={address['path']},{again}",
            "-device", f"vhost-user-blk-pci,id={name},bus={bus},addr={ask('addr') >> 3:#x},"
                       f"chardev={chardev},num-queues={ask('num-queues')}"]


def move(source: Qmp, destination: Qmp, path: Path) -> str:
    """From one to the other, which listens at `path`; the guest runs there when this returns."""
    source.execute("migrate-set-parameters", **PARAMETERS)
    source.execute("migrate", uri=f"unix:{path}")
    deadline = time.monotonic() + SECONDS
    while True:
        state = source.execute("query-migrate")
        status = state.get("status")
        if status == "completed":
            break
        if status in ("failed", "cancelled"):
            raise LabError(f"QEMU could not migrate: {state.get('error-desc', status)}")
        if time.monotonic() > deadline:
            source.execute("migrate_cancel")
            raise LabError(f"the migration did not end within {SECONDS} s; it was {status}")
        time.sleep(0.05)
    while not destination.execute("query-status")["running"]:
        if time.monotonic() > deadline:
            raise LabError(f"the second QEMU does not run within {SECONDS} s")
        time.sleep(0.02)
    return (f"{state['ram']['transferred'] >> 20} MiB in {state['total-time'] / 1000:.1f} s, "
            f"stood still for {state['downtime']} ms")
