# SPDX-License-Identifier: Apache-2.0
"""What must be there: of each resource all the states that the answers so far allow.

A call that was answered leaves one state. A call that a kill cut off leaves two, the one before it
and the one that it asked for, until the restarted daemon shows which of them it is; from then on it
is that one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Iterator

Body = dict[str, Any]
ABSENT: Body = {}


@dataclass(frozen=True)
class Kind:
    """How a kind of resource is called over REST."""

    name: str
    collection: str  # the path to create and list in; {parent} stands for the parent's name
    id_field: str
    list_field: str
    list_path: str = ""  # where the collection is listed, if not where it is made (OPI has it so)


KINDS = {kind.name: kind for kind in (
    Kind("malloc", "mallocVolumes", "malloc_volume_id", "mallocVolumes"),
    Kind("null", "nullVolumes", "null_volume_id", "nullVolumes"),
    Kind("aio", "aioVolumes", "aio_volume_id", "aioVolumes"),
    Kind("qos", "qosVolumes", "qos_volume_id", "qosVolumes", list_path="volumes"),
    Kind("subsystem", "nvmeSubsystems", "nvme_subsystem_id", "nvmeSubsystems"),
    Kind("listener", "{parent}/nvmeControllers", "nvme_controller_id", "nvmeControllers"),
    Kind("namespace", "{parent}/nvmeNamespaces", "nvme_namespace_id", "nvmeNamespaces"),
    Kind("disk", "virtioBlks", "virtio_blk_id", "virtioBlks"),
    Kind("remote", "nvmeRemoteControllers", "nvme_remote_controller_id", "nvmeRemoteControllers"),
    Kind("path", "{parent}/nvmePaths", "nvme_path_id", "nvmePaths"),
)}


@dataclass
class Resource:
    """One name of one kind, and what it may be now."""

    kind: Kind
    id: str
    parent: str = ""
    states: list[Body] = field(default_factory=lambda: [ABSENT])

    @property
    def collection(self) -> str:
        return self.kind.collection.format(parent=self.parent)

    @property
    def path(self) -> str:
        return f"{self.collection}/{self.id}"

    @property
    def exists(self) -> bool:
        """Known only between calls, when there is one state."""
        assert len(self.states) == 1, self.path
        return bool(self.states[0])

    def settle(self, found: Body) -> str | None:
        """Takes what the daemon shows for the truth; says what is wrong when it may not be."""
        fits = [state for state in self.states if differences(state, found) == []]
        if fits:
            self.states = [settled(found)]
            return None
        if not found:
            return f"{self.path} is gone, and was {self.states}"
        if self.states == [ABSENT]:
            return f"{self.path} is there, and should not be: {found}"
        reasons = [why for state in self.states if state for why in differences(state, found)]
        return f"{self.path} is not what was answered: {'; '.join(reasons)}"


def settled(body: Body) -> Body:
    """What of an answer has to be the same for ever: all but what is measured, and the name, of
    which OPI has two forms."""
    return {key: value for key, value in body.items() if key not in ("status", "name")}


def differences(wanted: Body, found: Body) -> list[str]:
    """Where `found` is not as `wanted` says; fields that it does not mention may be anything."""
    if bool(wanted) != bool(found):
        return ["one of them is absent"]
    return list(_differences("", wanted, found))


def _differences(path: str, wanted: Any, found: Any) -> Iterator[str]:
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key, value in wanted.items():
            if key not in found:
                yield f"{path}{key} is missing"
            else:
                yield from _differences(f"{path}{key}.", value, found[key])
    elif str(wanted) != str(found):  # a 64-bit number is a string in JSON
        yield f"{path[:-1]} is {found!r} and not {wanted!r}"
