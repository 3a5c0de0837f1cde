# SPDX-License-Identifier: Apache-2.0
"""Clients that want the same thing at once: one NQN, of which there can be one subsystem."""

from __future__ import annotations

from typing import Iterator

from rest import ALREADY_EXISTS, NOT_FOUND, NotSent, Refused, Rest, Unanswered

NQN = "nqn.2026-11.example.remora:contest"


class Contest:
    """One round of it. `enter` may be called by several threads, each with its own number."""

    def __init__(self) -> None:
        self.won: list[int] = []
        self.unknown: list[int] = []
        self.wrong: list[str] = []

    def enter(self, number: int, rest: Rest) -> None:
        try:
            rest.call("POST", f"nvmeSubsystems?nvme_subsystem_id=any{number}", {"spec": {"nqn": NQN}})
            self.won.append(number)
        except NotSent:
            pass
        except Unanswered:
            self.unknown.append(number)
        except Refused as refusal:
            if refusal.code != ALREADY_EXISTS:
                self.wrong.append(f"the contest's loser was told {refusal}")

    def judge(self, rest: Rest) -> Iterator[str]:
        """Then clears the field for the next round."""
        yield from self.wrong
        there = []
        for number in range(16):
            try:
                rest.call("GET", f"nvmeSubsystems/any{number}")
                there.append(number)
            except Refused as refusal:
                if refusal.code != NOT_FOUND:
                    yield f"asking for any{number}: {refusal}"
        if len(self.won) > 1:
            yield f"clients {self.won} all were told that they have {NQN}"
        if len(there) > 1:
            yield f"subsystems {there} all have {NQN}"
        if self.won and there != self.won:
            yield f"client {self.won[0]} was told that it has {NQN}, but {there} has it"
        if set(there) - set(self.won) - set(self.unknown):
            yield f"{there} has {NQN}, and nobody with that name can have got it"
        for number in there:
            rest.call("DELETE", f"nvmeSubsystems/any{number}")
