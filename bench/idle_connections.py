# SPDX-License-Identifier: Apache-2.0
"""NVMe/TCP connections that do nothing: just enough of a host to open controllers and queues.

NVMe/TCP Transport Specification 1.0 (PDUs) and NVM Express Base Specification 2.0 (Connect,
Property Set). No keep-alive is asked for, so nothing is sent once a queue is open.
"""

from __future__ import annotations

import socket
import struct
import uuid

from paths import LabError

ICREQ, ICRESP, CAPSULE, RESPONSE = 0, 1, 4, 5
SECONDS = 30
QUEUE_ENTRIES = 128


class Controller:
    """One admin connection, and I/O queues on request."""

    def __init__(self, address: tuple[str, int], nqn: str) -> None:
        self._address, self._nqn, self._host = address, nqn, uuid.uuid4()
        self._sockets: list[socket.socket] = []
        self._cntlid = self._connect(0, 32, 0xFFFF)
        # Property Set, CC: enable, 64-byte and 16-byte entries.
        self._command(self._sockets[0], struct.pack("<BBHB35xB3xIQ8x", 0x7F, 0x40, 1, 0, 0, 0x14, 0x460001))

    def add_queue(self) -> None:
        self._connect(len(self._sockets), QUEUE_ENTRIES, self._cntlid)

    def close(self) -> None:
        for connection in self._sockets:
            connection.close()

    def _connect(self, qid: int, entries: int, cntlid: int) -> int:
        connection = socket.create_connection(self._address, SECONDS)
        self._sockets.append(connection)
        connection.sendall(struct.pack("<BBBBIHBBI112x", ICREQ, 0, 128, 0, 128, 0, 0, 0, 0))
        if self._pdu(connection)[0] != ICRESP:
            raise LabError("the target did not answer ICReq with ICResp")
        hostnqn = f"nqn.2014-08.org.nvmexpress:uuid:{self._host}".encode()
        data = struct.pack("<16sH238x256s256s256x", self._host.bytes, cntlid, self._nqn.encode(), hostnqn)
        command = struct.pack("<BBHB19xQI3xBHHHBxI12x", 0x7F, 0x40, 0, 1, 0, len(data), 0x01,
                              0, qid, entries - 1, 0, 0)
        return self._command(connection, command, data) & 0xFFFF

    def _command(self, connection: socket.socket, command: bytes, data: bytes = b"") -> int:
        """Sends a command with its data in the capsule; the completion's first dword."""
        assert len(command) == 64
        length = 72 + len(data)
        connection.sendall(struct.pack("<BBBBI", CAPSULE, 0, 72, 72 if data else 0, length) + command + data)
        kind, body = self._pdu(connection)
        status = struct.unpack_from("<H", body, 14)[0] >> 1
        if kind != RESPONSE or status != 0:
            raise LabError(f"the target refused a command of an idle connection: status {status:#x}")
        return struct.unpack_from("<I", body)[0]

    @staticmethod
    def _pdu(connection: socket.socket) -> tuple[int, bytes]:
        def exactly(count: int) -> bytes:
            got = b""
            while len(got) < count:
                part = connection.recv(count - len(got))
                if not part:
                    raise LabError("the target closed an idle connection")
                got += part
            return got

        head = exactly(8)
        return head[0], exactly(struct.unpack_from("<I", head, 4)[0] - 8)


class IdleConnections:
    """Closes what it has opened."""

    def __init__(self, address: str, nqn: str) -> None:
        host, port = address.rsplit(":", 1)
        self._address, self._nqn = (host, int(port)), nqn
        self._controllers: list[Controller] = []

    def __enter__(self) -> IdleConnections:
        return self

    def __exit__(self, *_: object) -> None:
        for controller in self._controllers:
            controller.close()

    def add_controllers(self, count: int) -> None:
        self._controllers += [Controller(self._address, self._nqn) for _ in range(count)]

    def add_queues(self, count: int) -> None:
        """One I/O queue for each of so many controllers."""
        for controller in self._controllers[:count]:
            controller.add_queue()
