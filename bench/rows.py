# SPDX-License-Identifier: Apache-2.0
"""The rows of bench/run: what each measures, what it is compared with, and its bar."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from control_rows import DISKS, PAGE, SUBSYSTEMS, VOLUMES, Managed
from daemons import SPIN_US, TARGET_CORE, VOLUME_MIB, Pair, cpu_seconds, memory_kib, nqn, pid_of
from paths import LabError
from host_rows import DISKS as IDLE_DISKS, Host
from idle_connections import IdleConnections
from programs import ceiling, chain, vhost

DEPTHS = (1, 32, 128)
LARGE, LARGE_DEPTH = 128 * 1024, 16
IDLE_COUNT = 100
NAMESPACES, CONNECTIONS = 1024, 256
CALLS = 100  # of clients of the control plane, a second
RATE_FLOOR = 10_000  # adaptive polling is judged from so many I/Os a second on


@dataclass(frozen=True)
class Bar:
    """What a row must reach: at least, or at most, this; of its base where it has one."""

    limit: float
    at_least: bool = True

    def met(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.limit:g}"


@dataclass(frozen=True)
class Row:
    """`take` gives one measurement's {"value": ..., "p50_us", "p99_us", "note"}; `unit` is of the value.

    With a base the row is judged by value/base of the same round, or by what it is above it when it
    `adds`; else by the value itself.
    """

    name: str
    unit: str
    take: Callable[[], dict]
    base: str | None = None
    bar: Bar | None = None
    adds: bool = False
    whole: bool = False  # a round is one turn: it takes too long to begin for short ones

    def judged(self, got: dict) -> float:
        if self.base is None:
            return got["value"]
        return got["value"] - got["of"] if self.adds else got["value"] / got["of"]


def rate(got: dict) -> dict:
    return {**got, "value": got["iops"] / 1000}


def round_trip(got: dict) -> dict:
    """Of one request at a time, whose mean time is what the rate says."""
    return {**got, "value": 1e6 / got["iops"]}


class Rows:
    """All rows. What a row needs is started when it is first measured, and ended by close()."""

    def __init__(self) -> None:
        self.seconds = 1.0  # of the next measurement
        self._folder = tempfile.TemporaryDirectory(prefix="remora-bench-")
        self._pairs: dict[str, Pair] = {}
        self._made: set[tuple[str, str]] = set()
        self._idle: IdleConnections | None = None
        self._managed: Managed | None = None
        self._host: Host | None = None
        self._fresh = 0  # daemons that served one measurement only

    def close(self) -> None:
        if self._idle is not None:
            self._idle.__exit__()
        for pair in self._pairs.values():
            pair.end()
        if self._managed is not None:
            self._managed.end()
        if self._host is not None:
            self._host.end()
        self._folder.cleanup()

    # --- what is measured -------------------------------------------------------------------

    def _pair(self, name: str, spin_us: str | None = SPIN_US) -> Pair:
        if name not in self._pairs:
            self._pairs[name] = Pair(Path(self._folder.name) / name, spin_us)
        return self._pairs[name]

    def _remote(self, subsystem: str, *options: str, kind: str = "null", pair: str = "spin",
                spin_us: str | None = SPIN_US) -> Pair:
        """The pair, in which the subsystem of one volume is there."""
        made = self._pair(pair, spin_us)
        if (pair, subsystem) not in self._made:
            made.subsystem(subsystem, {"v": kind}, *options)
            self._made.add((pair, subsystem))
        return made

    def _load(self, subsystem: str, size: int, rw: str, depth: int, *options: str, kind: str = "null") -> dict:
        pair = self._remote(subsystem, *options, kind=kind)
        return pair.load([f"{subsystem}n1"], str(size), rw, depth, self.seconds)

    def _sockets(self, size: int, rw: str, depth: int, connections: int = 1, buffers: int = 1) -> dict:
        return ceiling(size, rw, depth, connections, self.seconds, buffers)

    # --- the rows ---------------------------------------------------------------------------

    def all(self) -> list[Row]:
        return [*self._small(), *self._large(), *self._digests(), *self._many(), *self._idle_rows(),
                *self._costs(), *self._vhost(), *self._disks(), *self._control()]

    def _small(self) -> list[Row]:
        rows = []
        for rw in ("read", "write"):
            for depth in DEPTHS:
                single = depth == 1
                form, unit = (round_trip, "us") if single else (rate, "k/s")
                bar = Bar(1.10, at_least=False) if single else Bar(0.85 if rw == "read" else 0.90)
                base = f"sockets 4k {rw} qd{depth}"
                rows.append(Row(base, unit, lambda d=depth, r=rw, f=form: f(self._sockets(4096, r, d))))
                rows.append(Row(f"NVMe/TCP 4k {rw} qd{depth}", unit,
                                lambda d=depth, r=rw, f=form: f(self._load("null", 4096, r, d)), base, bar))
                rows.append(Row(f"NVMe/TCP to RAM 4k {rw} qd{depth}", unit, lambda d=depth, r=rw, f=form:
                                f(self._load("ram", 4096, r, d, kind="malloc")), base))
        # What a read costs whose payload no cache holds, and a write that is sent from its own
        # request's memory, whoever sends it.
        for depth in DEPTHS[1:]:
            rows.append(Row(f"sockets 4k read qd{depth}, from {VOLUME_MIB} MiB", "k/s", lambda d=depth: rate(
                self._sockets(4096, "read", d, buffers=(VOLUME_MIB << 20) // 4096)), f"sockets 4k read qd{depth}"))
        for depth in DEPTHS[1:]:
            rows.append(Row(f"sockets 4k write qd{depth}, a buffer a request", "k/s", lambda d=depth: rate(
                self._sockets(4096, "write", d, buffers=d)), f"sockets 4k write qd{depth}"))
        return rows

    def _large(self) -> list[Row]:
        rows = []
        for rw in ("read", "write"):
            base = f"sockets 128k {rw} qd{LARGE_DEPTH}"
            rows.append(Row(base, "k/s", lambda r=rw: rate(self._sockets(LARGE, r, LARGE_DEPTH))))
            rows.append(Row(f"NVMe/TCP 128k {rw} qd{LARGE_DEPTH}", "k/s", lambda r=rw:
                            rate(self._load("null", LARGE, r, LARGE_DEPTH)), base, Bar(1.0)))
        return rows

    def _digests(self) -> list[Row]:
        rows = []
        for size, text, depth in ((4096, "4k", 32), (LARGE, "128k", LARGE_DEPTH)):
            for rw in ("read", "write"):
                rows.append(Row(
                    f"digests {text} {rw} qd{depth}", "k/s", lambda s=size, r=rw, d=depth: rate(self._load(
                        "digests", s, r, d, "--header-digest", "--data-digest")),
                    f"NVMe/TCP {text} {rw} qd{depth}", Bar(0.85)))
        return rows

    def _many(self) -> list[Row]:
        rows = []
        for count, depth in ((4, 32), (32, 4)):
            base = f"sockets 4k read, {count} connections qd{depth}"
            rows.append(Row(base, "k/s", lambda c=count, d=depth: rate(self._sockets(4096, "read", d, c))))
            rows.append(Row(f"NVMe/TCP 4k read, {count} connections qd{depth}", "k/s", lambda c=count, d=depth:
                            rate(self._connections(c, d)), base, Bar(0.90), whole=True))
        rows.append(Row(f"{NAMESPACES} namespaces, {CONNECTIONS} connections: 4k read qd32", "k/s",
                        lambda: rate(self._crowded()), "NVMe/TCP 4k read qd32", Bar(0.95)))
        return rows

    def _connections(self, count: int, depth: int) -> dict:
        """Remote controllers of one connection each, all under load on one reactor a side."""
        names = [f"c{number}" for number in range(count)]
        for name in names:
            self._remote(name, "--queues", "1", pair="many")
        return self._pair("many").load([f"{name}n1" for name in names], "4096", "read", depth, self.seconds)

    def _crowded(self) -> dict:
        """One namespace and connection under load beside so many that have nothing to do."""
        pair = self._remote("null", pair="crowd")
        if self._idle is None:
            pair.export("full", {f"v{number}": "null" for number in range(NAMESPACES - 1)})
            self._idle = IdleConnections(pair.address, nqn("full"))
            self._idle.add_controllers(CONNECTIONS // 2)
            self._idle.add_queues(CONNECTIONS // 2)
        return pair.load(["nulln1"], "4096", "read", 32, self.seconds)

    def _idle_rows(self) -> list[Row]:
        return [
            Row("memory of an idle connection", "KiB", lambda: {"value": self._memory()[0]}),
            Row("memory of an I/O queue, idle", "KiB", lambda: {"value": self._memory()[1]}),
            Row(f"CPU of a target with {IDLE_COUNT} idle connections", "% core", self._idle_cpu,
                None, Bar(1.0, at_least=False)),
        ]

    def _memory(self) -> tuple[float, float]:
        """What a fresh target's process grows by, for a controller's admin connection and for an
        I/O queue: memory that was used before would be used again and not be seen."""
        self._fresh += 1
        pair = Pair(Path(self._folder.name) / f"fresh{self._fresh}", None)
        try:
            pair.export("null", {"v": "null"})
            process = pid_of(pair.target)
            with IdleConnections(pair.address, nqn("null")) as idle:
                idle.add_controllers(IDLE_COUNT // 2)  # what is made once for all is there afterwards
                before = memory_kib(process)
                idle.add_controllers(IDLE_COUNT)
                admin = memory_kib(process)
                idle.add_queues(IDLE_COUNT)
                return (admin - before) / IDLE_COUNT, (memory_kib(process) - admin) / IDLE_COUNT
        finally:
            pair.end()

    def _idle_cpu(self) -> dict:
        pair = self._remote("null", pair="adaptive", spin_us=None)
        with IdleConnections(pair.address, nqn("null")) as idle:
            idle.add_controllers(IDLE_COUNT // 2)
            idle.add_queues(IDLE_COUNT // 2)
            time.sleep(1)
            window = max(self.seconds, 5)  # the clock behind it ticks a hundred times a second
            before, began = cpu_seconds(pid_of(pair.target)), time.monotonic()
            time.sleep(window)
            used = cpu_seconds(pid_of(pair.target)) - before
            return {"value": 100 * used / (time.monotonic() - began)}

    def _costs(self) -> list[Row]:
        rows = [
            Row("pure polling 4k read qd1", "us", lambda: round_trip(self._load("null", 4096, "read", 1))),
            Row("adaptive polling 4k read qd1", "us", self._adaptive, "pure polling 4k read qd1",
                Bar(1.2, at_least=False)),
        ]
        for side in ("target", "IPU"):
            for depth in DEPTHS:
                rows.append(Row(f"{side}'s busy time of a 4k read qd{depth}", "us", lambda d=depth, s=side:
                                self._cost(s, d)))
        return rows

    def _adaptive(self) -> dict:
        pair = self._remote("null", pair="adaptive", spin_us=None)
        got = pair.load(["nulln1"], "4096", "read", 1, self.seconds)
        low = got["iops"] < RATE_FLOOR
        return {**round_trip(got), "note": f"below {RATE_FLOOR} I/Os a second" if low else ""}

    def _cost(self, side: str, depth: int) -> dict:
        """Processor time, system calls and PDUs a call of one side, which spins only as configured."""
        pair = self._remote("null", pair="adaptive", spin_us=None)
        process = pid_of(pair.target if side == "target" else pair.ipu)
        with SystemCalls(process) as calls:
            before = cpu_seconds(process)
            got = pair.load(["nulln1"], "4096", "read", depth, self.seconds)
            used = cpu_seconds(process) - before
        total = got["iops"] * self.seconds
        return {"value": 1e6 * used / total, "note": calls.note(total)}

    def _control(self) -> list[Row]:
        alone = f"local null 4k read qd32 beside {VOLUMES} volumes, {SUBSYSTEMS} subsystems, {DISKS} disks"
        return [
            Row(f"list page of {PAGE} of {VOLUMES} volumes, the longest", "ms",
                lambda: self._much().page_latency(self.seconds), None, Bar(50, at_least=False)),
            Row("create a volume under full load, p99", "ms",
                lambda: self._much().create_latency(self.seconds), None, Bar(20, at_least=False)),
            Row(alone, "k/s", lambda: self._much().alone(self.seconds)),
            Row(f"the same and {CALLS} calls a second", "k/s",
                lambda: self._much().beside(self.seconds, CALLS), alone, Bar(0.98), whole=True),
        ]

    def _much(self) -> Managed:
        if self._managed is None:
            self._managed = Managed(Path(self._folder.name) / "managed")
        return self._managed

    def _vhost(self) -> list[Row]:
        return [Row(f"vhost-user -> RAM 4k read qd{depth}", "k/s", lambda d=depth: rate(self._guest(d)))
                for depth in DEPTHS]

    def _disks(self) -> list[Row]:
        rows = []
        for depth in (1, 16, 32, 64):
            peer, blk = f"QEMU's storage daemon, null 4k read qd{depth}", f"vhost-user, null 4k read qd{depth}"
            rows.append(Row(peer, "k/s", lambda d=depth: rate(self._seen().peer(d, self.seconds))))
            rows.append(Row(blk, "k/s", lambda d=depth: rate(self._seen().blk(d, self.seconds)), peer,
                            Bar(4.0 if depth == 1 else 2.5)))
            rows.append(Row(f"vhost-user packed, null 4k read qd{depth}", "k/s", lambda d=depth:
                            rate(self._seen().blk(d, self.seconds, "packed")), peer))
            # A row is compared with one that is compared with none.
            alone = f"vhost-user alone, null 4k read qd{depth}"
            rows.append(Row(alone, "k/s", lambda d=depth: rate(self._seen().blk(d, self.seconds))))
            rows.append(Row(f"vfio-user NVMe, null 4k read qd{depth}", "k/s", lambda d=depth:
                            rate(self._seen().nvme(d, self.seconds)), alone, Bar(0.8)))
        for depth in (32, 128):
            rows.append(Row(f"vhost-user -> NVMe/TCP -> RAM 4k read qd{depth}", "k/s", lambda d=depth:
                            rate(self._chain(d)), f"sockets 4k read qd{depth}", Bar(0.80)))
            rows.append(Row(f"vhost-user -> NVMe/TCP -> RAM 4k read qd{depth}, both from {VOLUME_MIB} MiB", "k/s",
                            lambda d=depth: rate(self._chain(d)), f"sockets 4k read qd{depth}, from {VOLUME_MIB} MiB"))
        rows.append(Row("vhost-user -> NVMe/TCP -> RAM 4k read qd1", "us", lambda: round_trip(self._chain(1)),
                        "sockets 4k read qd1", Bar(2.0, at_least=False), adds=True))
        for kind, disks in (("blk", "disks"), ("nvme", "NVMe functions")):
            one = f"one busy of {IDLE_DISKS} {disks}, 4k read qd32"
            rows += [
                Row(f"CPU of {IDLE_DISKS} idle {disks}", "% core", lambda k=kind: self._seen().idle_cpu(k, self.seconds),
                    None, Bar(1.0, at_least=False)),
                Row(one, "k/s", lambda k=kind: rate(self._seen().busy(k, self.seconds, False))),
                Row(f"the same {disks}, {IDLE_DISKS - 1} of them with idle drivers", "k/s",
                    lambda k=kind: rate(self._seen().busy(k, self.seconds, True)), one, Bar(0.97))]
        return rows

    def _seen(self) -> Host:
        if self._host is None:
            self._host = Host(Path(self._folder.name) / "host")
        return self._host

    def _chain(self, depth: int) -> dict:
        """A disk over the target's volume, whose reactor takes the driver's steps too."""
        pair = self._remote("ram", kind="malloc")
        return chain(pair.address, nqn("ram"), depth, self.seconds)

    def _guest(self, depth: int) -> dict:
        pair = self._pair("spin")
        if ("spin", "guest") not in self._made:
            pair.ipu.remora("create", "malloc", "local", "--size", "256M")
            pair.fill("local")
            pair.ipu.remora("create", "virtio-blk", "guest", "--function", "1", "--volume", "local")
            self._made.add(("spin", "guest"))
        return vhost(pair.sockets / "guest", depth, TARGET_CORE, self.seconds)


class SystemCalls:
    """Counts a process's system calls by `perf stat`, where that can be had."""

    EVENTS = {"all": "raw_syscalls:sys_enter", "sends": "syscalls:sys_enter_sendmsg",
              "receives": "syscalls:sys_enter_recvmsg"}

    def __init__(self, process: int) -> None:
        self._perf = shutil.which("perf")
        self._process = process
        self._child: subprocess.Popen[str] | None = None
        self._counts: dict[str, int] = {}

    def __enter__(self) -> SystemCalls:
        if self._perf is not None:
            self._child = subprocess.Popen(
                [self._perf, "stat", "-x", ",", "-e", ",".join(self.EVENTS.values()), "-p", str(self._process)],
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={**os.environ, "LC_ALL": "C"})
            time.sleep(0.3)
        return self

    def __exit__(self, *_: object) -> None:
        if self._child is None:
            return
        self._child.send_signal(2)
        for line in self._child.communicate(timeout=30)[1].splitlines():
            fields = line.split(",")
            for name, event in self.EVENTS.items():
                if len(fields) > 2 and fields[2] == event and fields[0].isdigit():
                    self._counts[name] = int(fields[0])

    def note(self, operations: float) -> str:
        if len(self._counts) < len(self.EVENTS):
            return "system calls need perf and the right to trace"
        per = {name: operations / max(count, 1) for name, count in self._counts.items()}
        return (f"{1 / max(per['all'], 1e-9):.2f} system calls an I/O, "
                f"{per['sends']:.1f} PDUs a send, {per['receives']:.1f} a receive")
