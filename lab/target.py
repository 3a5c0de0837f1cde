# SPDX-License-Identifier: Apache-2.0
"""The storage target: a remorad that shows volumes as namespaces over NVMe/TCP."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path

from daemon import Daemon, free_port
from paths import LabError

NQN = "nqn.2026-11.example.remora:lab"
SUBSYSTEM = "lab"
KINDS = ("malloc", "null", "aio")


@dataclass(frozen=True)
class Volume:
    """A volume of the target, known to the other side by its UUID."""

    name: str
    kind: str
    size: str
    uuid: str

    @property
    def serial(self) -> str:
        """What the guest's kernel shows as the disk's serial."""
        return self.uuid.replace("-", "")[:20]


class Target(Daemon):
    """One subsystem with one listener, made at the first start; volumes as asked for."""

    def __init__(self, folder: Path, grpc_port: int = 0, nvme_port: int = 0) -> None:
        super().__init__("target", folder, grpc_port)
        self._nvme_port = nvme_port or free_port()
        self._has_subsystem = False

    @property
    def discovery(self) -> str:
        """The address to give to `remora attach --discovery`."""
        return f"127.0.0.1:{self._nvme_port}"

    def export(self) -> None:
        """Makes the subsystem and its listener; durable, so once is enough."""
        self.remora("create", "subsystem", SUBSYSTEM, "--nqn", NQN)
        self.remora("create", "controller", f"{SUBSYSTEM}/tcp", "--listen", self.discovery)
        self._has_subsystem = True

    def create_volume(self, name: str, kind: str, size: str) -> Volume:
        """A new volume and a namespace that shows it."""
        if kind not in KINDS:
            raise LabError(f"a volume is one of {', '.join(KINDS)}, not `{kind}`")
        volume = Volume(name, kind, size, str(uuid.uuid4()))
        where = ["--file", str(self.folder / f"{name}.img")] if kind == "aio" else []
        self.remora("create", kind, name, *where, "--size", size)
        self._show(volume)
        return volume

    def show_volume(self, name: str) -> Volume:
        """A namespace that shows a volume which is there already."""
        volume = Volume(name, "", "", str(uuid.uuid4()))
        self._show(volume)
        return volume

    def _show(self, volume: Volume) -> None:
        if not self._has_subsystem:
            self.export()
        self.remora("create", "namespace", f"{SUBSYSTEM}/{volume.name}", "--volume", volume.name,
                    "--uuid", volume.uuid)
