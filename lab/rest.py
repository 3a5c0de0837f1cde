# SPDX-License-Identifier: Apache-2.0
"""A client of remorad's REST side that knows what it does not know."""

from __future__ import annotations

import http.client
import json
from typing import Any

ANSWER_SECONDS = 30


class NotSent(Exception):
    """Nobody listened: the call surely was not done."""


class Unanswered(Exception):
    """The connection ended before the answer: the call may have been done, or not."""


class Refused(Exception):
    """The daemon's own answer, with gRPC's code: the call was not done."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


NOT_FOUND, ALREADY_EXISTS, RESOURCE_EXHAUSTED, FAILED_PRECONDITION = 5, 6, 8, 9


class Rest:
    """One connection, made when it is needed. Used by one thread."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: http.client.HTTPConnection | None = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The answer's JSON. A call that is not answered within ANSWER_SECONDS is an error of its
        own (TimeoutError): every call has a deadline."""
        if self._connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_SECONDS)
            try:
                connection.connect()
            except OSError as error:
                connection.close()
                raise NotSent(str(error)) from None
            self._connection = connection
        try:
            self._connection.request(method, f"/v1/{path}", json.dumps(body) if body is not None else None)
            answer = self._connection.getresponse()
            text = answer.read()
        except TimeoutError:
            raise
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unanswered(f"{method} {path}: {type(error).__name__} {error}") from None
        parsed = json.loads(text)
        if answer.status != 200:
            raise Refused(parsed["code"], f"{method} {path}: {parsed['message']}")
        return parsed
