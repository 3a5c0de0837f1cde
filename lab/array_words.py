# SPDX-License-Identifier: Apache-2.0
"""The words about volumes of the target that are made of others; a part of Words."""

from __future__ import annotations

import os
from typing import Any

from paths import LabError
from processes import wait_until
from target import Volume
from usage import need
from world import World

REBUILD_SECONDS = 90
KINDS = {"raid": "health", "integrity": "mismatches"}


class ArrayWords:
    """Files to make arrays and checksums of, and what came of them."""

    world: World

    def word_file(self, rest: str) -> str | None:
        """file NAME SIZE: a volume of the target in a file, shown to nobody: to make others of."""
        parts = rest.split()
        need(len(parts) == 2, "file NAME SIZE")
        path = self._path(parts[0])
        self.world.target.remora("create", "aio", parts[0], "--file", path, "--size", parts[1])
        return path

    def word_show(self, rest: str) -> str | None:
        """show NAME: a volume that the target has already is shown over NVMe/TCP, to be attached."""
        need(len(rest.split()) == 1, "show NAME")
        volume = self.world.target.show_volume(rest)
        self.world.volumes[volume.name] = volume
        return volume.uuid

    def word_await(self, rest: str) -> str | None:
        """await ARRAY optimal|degraded: waits until the array of the target is so and nothing goes on
        in its background."""
        parts = rest.split()
        need(len(parts) == 2 and parts[1] in ("optimal", "degraded"), "await ARRAY optimal|degraded")
        seen: dict[str, Any] = {}

        def so() -> bool:
            seen.clear()
            seen.update(self._get("raid", parts[0]))
            return seen["health"] == f"HEALTH_{parts[1].upper()}" and not seen.get("work")

        try:
            wait_until(so, REBUILD_SECONDS, "not so", step=0.2)
        except LabError:
            raise LabError(f"{parts[0]} is not {parts[1]} after {REBUILD_SECONDS} s: {seen}") from None
        return ", ".join(member["volume"] for member in seen["memberStates"])

    def word_scrub(self, rest: str) -> str | None:
        """scrub raid|integrity NAME COUNT: scrubs it to the end; it must have found so many
        mismatches since it was started."""
        parts = rest.split()
        need(len(parts) == 3 and parts[0] in KINDS and parts[2].isdigit(),
             "scrub raid|integrity NAME COUNT")
        self.world.target.remora("--timeout", "120", "scrub", parts[0], parts[1], "--wait")
        field = "scrubMismatches" if parts[0] == "raid" else "mismatches"
        found = int(self._get(parts[0], parts[1])[field])
        if found != int(parts[2]):
            raise LabError(f"scrubs of {parts[1]} have found {found} mismatches, not {parts[2]}")
        return f"{found} mismatches"

    def word_corrupt(self, rest: str) -> str | None:
        """corrupt NAME OFFSET: flips a bit of the file of a volume, behind the target's back; the
        target is not running."""
        parts = rest.split()
        need(len(parts) == 2 and parts[1].isdigit(), "corrupt NAME OFFSET")
        offset = int(parts[1])
        with open(self._path(parts[0]), "r+b", buffering=0) as file:
            byte = os.pread(file.fileno(), 1, offset)
            os.pwrite(file.fileno(), bytes([byte[0] ^ 1]), offset)
            os.fsync(file.fileno())
        return f"byte {offset}"

    def _path(self, name: str) -> str:
        return str(self.world.target.folder / f"{name}.img")

    def _get(self, kind: str, name: str) -> dict[str, Any]:
        answer = self.world.target.remora_json("get", kind, name)
        assert isinstance(answer, dict)
        return answer
