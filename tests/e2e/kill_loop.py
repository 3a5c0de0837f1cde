#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Kills a real remorad, again and again, at a random instant of random calls, and looks what is left.

    tests/e2e/kill_loop.py                       100 kills
    tests/e2e/kill_loop.py --kills 1000 --seed 7 a thousand; the seed draws the calls and the instants

Three clients create, change and delete resources of every kind through REST, which is gRPC behind it. After
each `kill -9` the daemon is started again on the same state (one time in eight it is killed during that,
too), and then: what was answered is there, as it was answered, and works (statistics, listeners that accept,
sockets of disks, files of their size); what was cut off is wholly there or wholly not; nothing else is
there. The seed does not fix when exactly the kill comes: a failure shows what was wrong and keeps the state.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
sys.path[:0] = [str(REPOSITORY / "lab"), str(Path(__file__).resolve().parent / "kills")]

from client import Client  # noqa: E402
from contest import Contest  # noqa: E402
from judge import judge  # noqa: E402
from paths import LabError, program  # noqa: E402
from processes import Child, die_with_parent, end_on_signals  # noqa: E402
from rest import Rest  # noqa: E402

CLIENTS = 3
START_SECONDS = 60
LONGEST_LIFE = 0.2  # seconds from the first call to the kill


class Loop:
    """The daemon, its clients, and round after round."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._chance = random.Random(seed)
        self._child: Child | None = None
        self._port = 0
        self._clients: list[Client] = []
        self.kills = 0

    def start(self) -> None:
        command = [str(program("remorad")), "--state", str(self._folder / "state"), "--grpc", "127.0.0.1:0",
                   "--rest", f"127.0.0.1:{self._port}", "--socket-dir", str(self._folder / "s"), "--memory", "8M"]
        self._child = Child("remorad", command, self._folder / "remorad.log", capture_stdout=True)

    def ready(self) -> None:
        assert self._child is not None
        line = self._child.read_line(START_SECONDS)
        found = re.fullmatch(r"remorad ready: grpc=127\.0\.0\.1:\d+ rest=127\.0\.0\.1:(\d+)", line)
        if not found:
            raise LabError(f"remorad said `{line}` instead of being ready")
        self._port = int(found[1])

    def kill(self) -> None:
        assert self._child is not None
        if not self._child.alive():
            raise LabError(f"remorad ended by itself with exit code {self._child.exit_code}: {self._child.tail(3)}")
        self._child.signal(signal.SIGKILL)
        self._child.wait(10)
        self._child.stop()
        self.kills += 1

    def end(self) -> None:
        if self._child is not None:
            self._child.stop()

    def begin(self) -> None:
        """The first start, of which the clients learn the port."""
        self.start()
        self.ready()
        self._clients = [Client(number, Rest(self._port), self._folder, random.Random(self._chance.random()))
                         for number in range(CLIENTS)]

    def round(self) -> list[str]:
        """Calls, a kill, a start, a judgement: what is wrong."""
        contest = Contest()
        wrong: list[str] = []

        def play(number: int, client: Client) -> None:
            rest = Rest(self._port)
            try:
                contest.enter(number, rest)
                client.run()
            except (AssertionError, TimeoutError) as error:
                wrong.append(str(error) or type(error).__name__)
            finally:
                rest.close()

        players = [threading.Thread(target=play, args=each) for each in enumerate(self._clients)]
        for player in players:
            player.start()
        # Mostly soon, when there is most to interrupt; sometimes later, for what takes longer.
        time.sleep(min(self._chance.expovariate(1 / 0.03), LONGEST_LIFE))
        self.kill()
        for player in players:
            player.join()
        while self._chance.random() < 1 / 8:
            self.start()
            time.sleep(self._chance.uniform(0, 0.15))
            self.kill()
        self.start()
        self.ready()
        rest = Rest(self._port)
        try:
            wrong += contest.judge(rest)
            wrong += judge(rest, self._clients, self._folder / "s")
        finally:
            rest.close()
        return wrong

    def sums(self) -> str:
        def total(name: str) -> int:
            return sum(getattr(client, name) for client in self._clients)

        return f"{total('answered')} calls answered, {total('refused')} refused, {total('cut')} cut off"


def run(options: argparse.Namespace) -> int:
    folder = Path(tempfile.mkdtemp(prefix="remora-kills-"))
    loop = Loop(folder, options.seed)
    wrong: list[str] = []
    began = time.monotonic()
    print(f"seed {options.seed}", flush=True)
    try:
        loop.begin()
        shown = 0
        while loop.kills < options.kills and not wrong:
            wrong = loop.round()
            if loop.kills >= shown + 50:
                shown = loop.kills
                print(f"{shown} kills, {time.monotonic() - began:.0f} s: {loop.sums()}", flush=True)
    except LabError as error:
        wrong = [str(error)]
    finally:
        loop.end()
    if wrong:
        print(f"after {loop.kills} kills of seed {options.seed} ({loop.sums()}):", *wrong, sep="\n  ")
        print(f"the state and the log are in {folder}")
        return 1
    shutil.rmtree(folder)
    print(f"{loop.kills} kills in {time.monotonic() - began:.0f} s, {loop.sums()}: 0 violations")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="how many at least (100)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32),
                        help="draws the calls; a fresh one without")
    die_with_parent()
    end_on_signals()
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
