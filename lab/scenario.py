# SPDX-License-Identifier: Apache-2.0
"""Scenario files: read, checked whole before anything starts, and played.

A line is a word and what it takes; `#` at its start makes it a comment, and the first comment
is the scenario's title. `repeat NAME FROM TO` ... `end` plays the lines between for each number.
In a line {NAME} is a repeat's number, {discovery} the target's address, {run} the run's folder,
{VOLUME.uuid} and {VOLUME.disk} a volume's UUID and its device in the guest.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

from paths import LabError
from words import Words, all_words
from world import World

FOLDER = Path(__file__).resolve().parent / "scenarios"
STEP_LIMIT = 2000


@dataclass
class Step:
    """One line; a repeat holds its body."""

    number: int
    word: str
    rest: str
    body: list["Step"] = field(default_factory=list)


@dataclass
class Scenario:
    """A parsed file."""

    name: str
    title: str
    path: Path
    steps: list[Step]


class StepFailed(LabError):
    """Which line failed, and why."""


def find(name: str) -> Path:
    """A scenario by its name, or by a path."""
    for path in (FOLDER / f"{name}.scn", FOLDER / name, Path(name)):
        if path.is_file():
            return path
    raise LabError(f"there is no scenario {name}; `lab/run --list` names them all")


def read(path: Path) -> Scenario:
    """Parses and checks; an unknown word is an error with its line number."""
    words = all_words()
    title = ""
    top: list[Step] = []
    open_blocks = [top]
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.strip()
        if text.startswith("#"):
            comment = text.lstrip("# ")
            title = title or ("" if comment.startswith("SPDX-") else comment)
            continue
        if not text:
            continue
        word, _, rest = text.partition(" ")
        rest = rest.strip()
        where = f"{path.name}:{number}"
        if word == "end":
            if len(open_blocks) == 1:
                raise LabError(f"{where}: `end` without a `repeat`")
            open_blocks.pop()
            continue
        if word == "repeat":
            if not re.fullmatch(r"[a-z]+ \d+ \d+", rest):
                raise LabError(f"{where}: this word is written `repeat NAME FROM TO`")
        elif word not in words:
            raise LabError(f"{where}: there is no word `{word}`; the words are "
                           f"{', '.join([*words, 'repeat', 'end'])}")
        step = Step(number, word, rest)
        open_blocks[-1].append(step)
        if word == "repeat":
            open_blocks.append(step.body)
    if len(open_blocks) > 1:
        raise LabError(f"{path.name}: a `repeat` has no `end`")
    return Scenario(path.stem, title, path, top)


class Player:
    """Plays one scenario in one world, and prints each step as it ends."""

    def __init__(self, scenario: Scenario, world: World, say: Callable[[str], None]) -> None:
        self._scenario = scenario
        self._world = world
        self._words = Words(world)
        self._say = say
        self._variables: dict[str, str] = {}
        self._started = time.monotonic()
        self._played = 0

    def play(self) -> None:
        self._play(self._scenario.steps)

    def _play(self, steps: list[Step]) -> None:
        for step in steps:
            if step.word == "repeat":
                self._repeat(step)
                continue
            self._played += 1
            if self._played > STEP_LIMIT:
                raise StepFailed(f"{self._scenario.path.name} has more than {STEP_LIMIT} steps")
            self._one(step)

    def _repeat(self, step: Step) -> None:
        name, first, last = step.rest.split()
        began = time.monotonic()
        quiet, self._say = self._say, lambda line: None
        try:
            for number in range(int(first), int(last) + 1):
                self._variables[name] = str(number)
                self._play(step.body)
        finally:
            self._say = quiet
            self._variables.pop(name, None)
        texts = "; ".join(f"{inner.word} {inner.rest}" for inner in step.body)
        self._report(f"{texts}", f"for {name} = {first}..{last} in {time.monotonic() - began:.1f} s")

    def _one(self, step: Step) -> None:
        text = f"{step.word} {step.rest}".strip()
        where = f"{self._scenario.path.name}:{step.number}"
        try:
            result = getattr(self._words, f"word_{step.word}")(self._fill(step.rest))
        except LabError as error:
            raise StepFailed(f"{where}: `{text}`: {error}") from None
        except OSError as error:
            raise StepFailed(f"{where}: `{text}`: lost touch with it: {error}") from None
        self._report(text, result or "")

    def _report(self, text: str, result: str) -> None:
        elapsed = time.monotonic() - self._started
        first, *more = result.splitlines() or [""]
        self._say(f"{elapsed:6.1f} s  {text:<44} {first}".rstrip())
        for line in more:
            self._say(f"{'':54}{line}".rstrip())

    def _fill(self, rest: str) -> str:
        def value(found: re.Match[str]) -> str:
            name = found[1]
            if name in self._variables:
                return self._variables[name]
            if name == "discovery":
                return self._world.target.discovery
            if name == "run":
                return str(self._world.folder)
            volume, dot, what = name.rpartition(".")
            if dot and what == "uuid":
                return self._world.volume(volume).uuid
            if dot and what == "disk":
                return "/dev/" + self._world.device(volume)
            raise LabError(f"{{{name}}} means nothing here")

        # Inner names first, so that {disk{i}.uuid} works in a repeat.
        for name, number in self._variables.items():
            rest = rest.replace(f"{{{name}}}", number)
        return re.sub(r"\{([a-z0-9_.-]+)\}", value, rest)
