# SPDX-License-Identifier: Apache-2.0
"""Runs shell commands in the guest, over the virtio-serial port its agent listens on."""

from __future__ import annotations

import base64
import os
import re
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from paths import LabError

LOOK_SECONDS = 1
GRACE_SECONDS = 20  # the agent ends a command at its deadline; its answer may come a bit later


@dataclass(frozen=True)
class Answer:
    """What a command in the guest ended with; output holds its stdout and stderr."""

    exit_code: int
    output: str


class GuestAgent:
    """The host's end. See lab/initramfs/agent for what is said on the wire."""

    def __init__(self, path: Path, look: Callable[[], None] = lambda: None) -> None:
        """`look` is called now and then while an answer is waited for; it may raise."""
        self._path = path
        self._look = look
        self._socket: socket.socket | None = None
        self._received = b""
        self._count = 0

    def connect(self, seconds: float) -> None:
        """Waits until the guest has booted and its agent echoes a fresh marker."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.open()
                self._sync(deadline)
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise LabError(f"the guest's agent does not answer within {seconds:g} s") from None
                time.sleep(0.05)

    def open(self) -> None:
        """Connects to QEMU, whether or not there is a guest yet."""
        self.close()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(str(self._path))

    def sync(self, seconds: float) -> None:
        """After open(): waits until the agent echoes a fresh marker."""
        try:
            self._sync(time.monotonic() + seconds)
        except OSError:
            raise LabError(f"the guest's agent does not answer within {seconds:g} s") from None

    @property
    def connected(self) -> bool:
        return self._socket is not None

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._received = b""

    def run(self, command: str, seconds: float = 60) -> Answer:
        """Runs one shell command to its end; the guest kills it after `seconds`."""
        assert self._socket is not None, "connect() first"
        self._count += 1
        text = base64.b64encode(command.encode()).decode()
        self._socket.settimeout(10)
        self._socket.sendall(f"run {self._count} {max(1, int(seconds))} {text}\n".encode())
        deadline = time.monotonic() + seconds + GRACE_SECONDS
        wanted = f"done {self._count} ".encode()
        while True:
            line = self._line(deadline, command)
            if line.startswith(wanted):
                break
        code, length = (int(word) for word in line[len(wanted) :].split())
        while len(self._received) < length:
            self._receive(deadline, command)
        output, self._received = self._received[:length], self._received[length:]
        if code == 137:
            raise LabError(f"the guest's command `{command}` did not end within {seconds:g} s")
        return Answer(code, output.decode(errors="replace").replace("\r\n", "\n"))

    def _sync(self, deadline: float) -> None:
        assert self._socket is not None
        nonce = os.urandom(6).hex().encode()
        while time.monotonic() < deadline:
            self._socket.settimeout(5)
            # An empty line first ends whatever half line the guest may have.
            self._socket.sendall(b"\nsync " + nonce + b"\n")
            until = time.monotonic() + 0.25
            while time.monotonic() < until:
                try:
                    self._receive(until, "sync")
                except LabError:
                    break
                if re.search(rb"synced " + nonce + rb"\r?\n", self._received):
                    self._drain(nonce)
                    return
        raise TimeoutError

    def _drain(self, nonce: bytes) -> None:
        """Reads away the echoes of the markers that were repeated."""
        until = time.monotonic() + 0.1
        try:
            while True:
                self._receive(until, "sync")
        except LabError:
            self._received = b""

    def _line(self, deadline: float, command: str) -> bytes:
        while b"\n" not in self._received:
            self._receive(deadline, command)
        line, self._received = self._received.split(b"\n", 1)
        return line.rstrip(b"\r")

    def _receive(self, deadline: float, command: str) -> None:
        assert self._socket is not None
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise LabError(f"the guest did not answer `{command}` in time")
            self._socket.settimeout(min(left, LOOK_SECONDS))
            try:
                got = self._socket.recv(65536)
                break
            except TimeoutError:
                self._look()
        if not got:
            raise ConnectionResetError("the guest's agent port was closed")
        self._received += got
