# SPDX-License-Identifier: Apache-2.0
"""What a restarted daemon must show: everything that was answered, there and working."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Iterator

from client import PORT, Client
from model import ABSENT, KINDS, Body, Resource
from rest import NOT_FOUND, Refused, Rest

CONNECT_SECONDS = 5


def judge(rest: Rest, clients: list[Client], sockets: Path) -> list[str]:
    """Every violation, as a sentence each; settles the clients' resources."""
    wrong = list(_existence(rest, clients))
    if not wrong:
        for client in clients:
            wrong += _work(rest, client, sockets)
    return wrong


def _listed(rest: Rest, collection: str, field: str) -> Iterator[Body]:
    token = ""
    while True:
        page = rest.call("GET", f"{collection}?page_size=7&page_token={token}")
        yield from page[field]
        token = page["nextPageToken"]
        if not token:
            return


def _existence(rest: Rest, clients: list[Client]) -> Iterator[str]:
    """List and Get agree, and show just what they may."""
    expected: dict[str, list[Resource]] = {}
    for client in clients:
        for resource in client.resources:
            expected.setdefault(resource.collection, []).append(resource)
    for collection, resources in expected.items():
        kind = resources[0].kind
        try:
            found = {body["name"].rsplit("/", 1)[1]: body for body in _listed(rest, kind.list_path or collection, kind.list_field)}
        except Refused as refusal:
            if refusal.code != NOT_FOUND:
                yield f"listing {collection}: {refusal}"
            found = {}  # its parent is not there
        for resource in resources:
            body = found.pop(resource.id, ABSENT)
            if wrong := resource.settle(body):
                yield wrong
            elif body and rest.call("GET", resource.path) != body:
                yield f"{resource.path}: Get and List differ"
        # Names of the contest belong to nobody.
        yield from (f"{collection}/{name} is there, and nobody made it" for name in found if not name.startswith("any"))


def _work(rest: Rest, client: Client, sockets: Path) -> Iterator[str]:
    for resource in client.resources:
        if not resource.exists:
            continue
        try:
            rest.call("GET", f"{resource.path}:stats")
        except Refused as refusal:
            yield f"{resource.path} does not work: {refusal}"
        if resource.kind is KINDS["disk"] and not _connects(_socket_of(sockets, resource)):
            yield f"{resource.path}: nobody listens on its vhost-user socket"
        if resource.kind is KINDS["aio"]:
            body = resource.states[0]
            size = Path(body["filename"]).stat().st_size
            if size < int(body["blocksCount"]) * int(body["blockSize"]):
                yield f"{resource.path}: its file has {size} bytes, which is not all of it"
    # The socket of a listener that was never stored may outlive its process by a little.
    until = time.monotonic() + CONNECT_SECONDS
    while client.listener.exists != _connects((client.address, PORT)) and time.monotonic() < until:
        time.sleep(0.02)
    if client.listener.exists != _connects((client.address, PORT)):
        yield f"{client.listener.path} is {'deaf' if client.listener.exists else 'gone, but something listens'}"


def _socket_of(sockets: Path, resource: Resource) -> str:
    return str(sockets / resource.id)


def _connects(address: str | tuple[str, int]) -> bool:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as probe:
        probe.settimeout(CONNECT_SECONDS)
        try:
            probe.connect(address)
        except OSError:
            return False
        return True
