# SPDX-License-Identifier: Apache-2.0
"""QEMU's machine protocol (docs/interop/qmp-spec.txt), as far as the lab itself needs it."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

from paths import LabError


class Qmp:
    """One connection. Events that come while an answer is awaited are kept for wait_event."""

    def __init__(self, path: Path, seconds: float = 20) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        deadline = time.monotonic() + seconds
        while True:
            try:
                self._socket.connect(str(path))
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise LabError(f"QEMU's control socket {path} does not answer: {error}") from None
                time.sleep(0.02)
        self._received = b""
        self.events: list[dict[str, Any]] = []
        self._message(seconds)  # the greeting
        self.execute("qmp_capabilities")

    def close(self) -> None:
        self._socket.close()

    def execute(self, command: str, seconds: float = 30, **arguments: Any) -> Any:
        request: dict[str, Any] = {"execute": command}
        if arguments:
            request["arguments"] = arguments
        self._socket.settimeout(seconds)
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        deadline = time.monotonic() + seconds
        while True:
            message = self._message(deadline - time.monotonic())
            if "event" in message:
                self.events.append(message)
            elif "error" in message:
                raise LabError(f"QEMU refused {command}: {message['error']['desc']}")
            else:
                return message.get("return")

    def wait_event(self, name: str, seconds: float = 30, **data: Any) -> dict[str, Any]:
        """The next event `name` whose data holds `data`; forgets the ones before it."""
        deadline = time.monotonic() + seconds
        while True:
            event = self.events.pop(0) if self.events else self._message(deadline - time.monotonic())
            found = event.get("data", {})
            if event.get("event") == name and all(found.get(k) == v for k, v in data.items()):
                return event

    def _message(self, seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while b"\n" not in self._received:
            left = deadline - time.monotonic()
            if left <= 0:
                raise LabError(f"QEMU did not answer within {seconds:.0f} s")
            self._socket.settimeout(left)
            try:
                got = self._socket.recv(65536)
            except TimeoutError:
                continue
            if not got:
                raise LabError("QEMU closed its control socket")
            self._received += got
        line, self._received = self._received.split(b"\n", 1)
        return json.loads(line)
