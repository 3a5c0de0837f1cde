# SPDX-License-Identifier: Apache-2.0
"""One of several clients that change things while the daemon dies.

Each has names of its own, so that it knows what has to be there; what all of them want at once is
in contest.py.
"""

from __future__ import annotations

import random
from pathlib import Path

from model import ABSENT, KINDS, Body, Resource, settled
from rest import ALREADY_EXISTS, FAILED_PRECONDITION, NOT_FOUND, RESOURCE_EXHAUSTED, NotSent, Refused, Rest, Unanswered

PORT = 4420


class Client:
    """Its resources, and one random call after another on them. Used by one thread at a time."""

    def __init__(self, number: int, rest: Rest, folder: Path, chance: random.Random) -> None:
        self._number = number
        self._rest = rest
        self._folder = folder
        self._chance = chance
        self.answered = 0
        self.refused = 0
        self.cut = 0
        mine = f"c{number}"
        self.malloc = [self._new("malloc", f"{mine}-ram{i}") for i in range(2)]
        self.null = self._new("null", f"{mine}-null")
        self.aio = [self._new("aio", f"{mine}-file{i}") for i in range(2)]
        self.subsystem = self._new("subsystem", f"{mine}-sub")
        self.listener = self._new("listener", "tcp", self.subsystem.path)
        self.remote = self._new("remote", f"{mine}-remote")
        self.resources = [
            *self.malloc, self.null, *self.aio, self.subsystem, self.listener, self.remote,
            self._new("path", "p0", self.remote.path),
            *(self._new("namespace", f"ns{i}", self.subsystem.path) for i in range(3)),
            *(self._new("disk", f"{mine}-disk{i}") for i in range(2)),
            *(self._new("qos", f"{mine}-qos{i}") for i in range(2)),
        ]

    @property
    def address(self) -> str:
        return f"127.77.0.{self._number + 1}"

    @property
    def nqn(self) -> str:
        return f"nqn.2026-11.example.remora:kill-{self._number}"

    def _new(self, kind: str, identity: str, parent: str = "") -> Resource:
        return Resource(KINDS[kind], identity, parent)

    def run(self) -> None:
        """Calls until the daemon is gone."""
        try:
            while True:
                self._step(self._chance.choice(self.resources))
        except (NotSent, Unanswered):
            return
        finally:
            self._rest.close()

    def _step(self, resource: Resource) -> None:
        if not resource.exists:
            self._create(resource)
        elif resource.kind.name in CHANGES and self._chance.random() < 0.5:
            self._update(resource)
        else:
            self._delete(resource)

    def _create(self, resource: Resource) -> None:
        body = self._body_of(resource)
        self._call(resource, body, "POST", f"{resource.collection}?{resource.kind.id_field}={resource.id}", body)

    def _update(self, resource: Resource) -> None:
        """The whole resource with one thing changed, as a client without a field mask does."""
        body = {**resource.states[0], **CHANGES[resource.kind.name](resource.states[0], self._chance)}
        self._call(resource, body, "PATCH", resource.path, body)

    def _delete(self, resource: Resource) -> None:
        # What was given up and is asked again is as good done by the first as by the second call.
        self._call(resource, ABSENT, "DELETE", f"{resource.path}?allow_missing=true", None)

    def _call(self, resource: Resource, after: Body, method: str, path: str, body: Body | None) -> None:
        before = resource.states[0]
        resource.states = [before, after]
        try:
            answer = self._rest.call(method, path, body)
        except NotSent:
            resource.states = [before]
            raise
        except Unanswered:
            self.cut += 1
            raise
        except Refused as refusal:
            # In use, or what it names is not there: said at once, and nothing is changed.
            resource.states = [before]
            self.refused += 1
            if refusal.code not in EXPECTED_REFUSALS:
                raise AssertionError(f"refused with code {refusal.code}: {refusal}") from None
            return
        self.answered += 1
        resource.states = [settled(answer) if after else ABSENT]
        if after:
            wrong = Resource(resource.kind, resource.id, resource.parent, [after]).settle(answer)
            assert wrong is None, f"the answer itself: {wrong}"

    def _body_of(self, resource: Resource) -> Body:
        chance = self._chance
        blocks = chance.randint(8, 64)
        match resource.kind.name:
            case "malloc" | "null":
                return {"blockSize": chance.choice((512, 4096)), "blocksCount": blocks}
            case "aio":
                return {"filename": str(self._folder / f"{resource.id}.img"), "blockSize": 512,
                        "blocksCount": self._file_blocks(resource, blocks)}
            case "qos":
                return {"volumeNameRef": chance.choice((*self.malloc, *self.aio)).id,
                        "limits": {"max": {"rwIopsKiops": chance.randint(1, 1000)}}}
            case "subsystem":
                return {"spec": {"nqn": self.nqn, "serialNumber": f"S{chance.randint(0, 10**9)}"}}
            case "listener":
                return {"spec": {"trtype": "NVME_TRANSPORT_TYPE_TCP", "fabricsId": {
                    "traddr": self.address, "trsvcid": str(PORT), "adrfam": "NVME_ADDRESS_FAMILY_IPV4"}}}
            case "namespace":
                return {"spec": {"volumeNameRef": chance.choice((*self.malloc, self.null)).id}}
            case "disk":
                return {"pcieId": {"portId": 0, "virtualFunction": 0,
                                   "physicalFunction": self._number * 8 + chance.randint(0, 3)},
                        "volumeNameRef": chance.choice(self.aio).id}
            case "remote":
                return {"multipath": "NVME_MULTIPATH_MULTIPATH"}
            case "path":
                return {"trtype": "NVME_TRANSPORT_TYPE_TCP", "traddr": self.address,
                        "fabrics": {"trsvcid": PORT, "subnqn": self.nqn, "adrfam": "NVME_ADDRESS_FAMILY_IPV4"}}
        raise AssertionError(resource.kind.name)

    def _file_blocks(self, resource: Resource, blocks: int) -> int:
        """A file stays when its volume goes, and is taken as it is."""
        path = self._folder / f"{resource.id}.img"
        return path.stat().st_size // 512 if path.exists() and path.stat().st_size > 0 else blocks


def _grown(body: Body, chance: random.Random) -> Body:
    return {"blocksCount": int(body["blocksCount"]) + chance.randint(1, 8)}


def _limited(_body: Body, chance: random.Random) -> Body:
    return {"limits": {"max": {"rwIopsKiops": chance.randint(1, 1000)}}}


CHANGES = {"malloc": _grown, "aio": _grown, "qos": _limited}
# FAILED_PRECONDITION: in use; NOT_FOUND: what it names is not there; RESOURCE_EXHAUSTED: no function or
# place left; ALREADY_EXISTS: the function or the limits of that volume belong to another.
EXPECTED_REFUSALS = (NOT_FOUND, ALREADY_EXISTS, RESOURCE_EXHAUSTED, FAILED_PRECONDITION)
