# SPDX-License-Identifier: Apache-2.0
"""The software IPU: a remorad that attaches remote volumes and plugs them into the host."""

from __future__ import annotations

from pathlib import Path

import vm
from daemon import Daemon
from paths import LabError


class Ipu(Daemon):
    """Plugs into the QEMU whose control socket is `qmp`, or only serves sockets without one."""

    def __init__(self, folder: Path, qmp: Path | None, grpc_port: int = 0, cores: str = "",
                 more: list[str] | None = None) -> None:
        host = ["--qmp", f"unix:{qmp}", "--functions", vm.FUNCTIONS] if qmp else []
        for own in vm.VIRTUAL_FUNCTIONS if qmp else ():
            host += ["--virtual-functions", own]
        reactors = ["--cores", cores] if cores else []
        super().__init__("ipu", folder, grpc_port, ["--socket-dir", str(folder / "s"), *host, *reactors,
                                             *(more or [])])

    def attach(self, discovery: str, volume_uuid: str, function: str, kind: str = "virtio-blk") -> str:
        """One call from a volume's UUID to a disk in the host."""
        return self.remora("attach", "--discovery", discovery, "--volume", volume_uuid,
                           "--function", function, "--as", kind)

    def detach(self, function: str) -> None:
        self.remora("detach", "--function", function)

    def check_empty(self) -> None:
        """Nothing of a refused or undone attach may stay behind."""
        for kind in ("attachment", "virtio-blk", "remote-controller", "subsystem"):
            left = names_of(self.remora_json("list", kind))
            if left:
                raise LabError(f"the IPU still has {kind} {', '.join(left)}")


def names_of(listed: object) -> list[str]:
    """Names in what `remora -o json list` prints: a list, or a message with one list in it."""
    if isinstance(listed, dict):
        lists = [value for value in listed.values() if isinstance(value, list)]
        listed = lists[0] if lists else []
    if not isinstance(listed, list):
        raise LabError(f"`remora -o json list` printed no list: {listed}")
    return [str(item.get("name", item)) if isinstance(item, dict) else str(item) for item in listed]
