# SPDX-License-Identifier: Apache-2.0
"""A daemon with much to manage: how long its calls take, and what they take off the data path."""

from __future__ import annotations

import concurrent.futures
import statistics
import threading
import time
from pathlib import Path

from daemons import IPU_CORE, SPIN_US
from daemon import Daemon, free_port
from rest import Rest

VOLUMES, SUBSYSTEMS, DISKS = 1000, 256, 64
PAGE = 250  # the largest
LOADED = "loaded"
DEPTH = 32


class Managed:
    """One daemon of one pinned reactor, with all of it made. Calls go by REST, gRPC behind it."""

    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        self._daemon = Daemon("managed", folder, rest_port=self._port, arguments=[
            "--cores", str(IPU_CORE), "--poll-us", SPIN_US, "--socket-dir", str(folder / "s")])
        self._rest = Rest(self._port)
        self._made = 0
        self._daemon.start()
        for number in range(VOLUMES):
            self._rest.call("POST", f"nullVolumes?null_volume_id=vol{number}", {"blockSize": 4096, "blocksCount": 65536})
        for number in range(SUBSYSTEMS):
            self._rest.call("POST", f"nvmeSubsystems?nvme_subsystem_id=sub{number}",
                            {"spec": {"nqn": f"nqn.2026-11.example.remora:many-{number}"}})
        for number in range(DISKS):
            self._rest.call("POST", f"virtioBlks?virtio_blk_id=disk{number}", {
                "volumeNameRef": f"vol{number}",
                "pcieId": {"portId": 0, "physicalFunction": number, "virtualFunction": 0}})
        self._rest.call("POST", f"nullVolumes?null_volume_id={LOADED}", {"blockSize": 4096, "blocksCount": 65536})

    def end(self) -> None:
        self._rest.close()
        self._daemon.end()

    def _connect_anew(self) -> None:
        """The daemon has ended a connection that was idle while other rows were measured."""
        self._rest.close()

    def _bench(self, seconds: float) -> float:
        got = self._daemon.remora_json("--timeout", str(seconds + 60), "bench", "--volume", LOADED, "--rw", "read",
                                       "--bs", "4096", "--qd", str(DEPTH), "--time", f"{seconds:g}")
        return float(got["iops"]) / 1000

    def create_and_delete(self) -> float:
        """Makes a volume and removes it; seconds that the first took."""
        self._made += 1
        began = time.perf_counter()
        self._rest.call("POST", f"nullVolumes?null_volume_id=new{self._made}", {"blockSize": 4096, "blocksCount": 64})
        took = time.perf_counter() - began
        self._rest.call("DELETE", f"nullVolumes/new{self._made}")
        return took

    def list_all(self) -> list[float]:
        """Seconds of each page of all volumes."""
        took, token = [], ""
        while True:
            began = time.perf_counter()
            page = self._rest.call("GET", f"nullVolumes?page_size={PAGE}&page_token={token}")
            took.append(time.perf_counter() - began)
            token = page["nextPageToken"]
            if not token:
                return took

    def alone(self, seconds: float) -> dict:
        return {"value": self._bench(seconds)}

    def beside(self, seconds: float, per_second: int) -> dict:
        """The data path's rate while so many calls a second create, delete and list."""
        self._connect_anew()
        stop = threading.Event()
        calls = 0

        def work() -> None:
            nonlocal calls
            due = time.monotonic()
            while not stop.is_set():
                self.create_and_delete()
                self.list_all()
                calls += 2 + VOLUMES // PAGE + 1
                due += (2 + VOLUMES // PAGE + 1) / per_second
                stop.wait(max(due - time.monotonic(), 0))

        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            began = time.monotonic()
            worker = pool.submit(work)
            got = self._bench(seconds)
            stop.set()
            worker.result()
        return {"value": got, "note": f"{calls / (time.monotonic() - began):.0f} calls a second"}

    def create_latency(self, seconds: float) -> dict:
        """p99 of Create while the reactor is under full load, in milliseconds."""
        self._connect_anew()
        took: list[float] = []
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            load = pool.submit(self._bench, seconds)
            while not load.done():
                took.append(self.create_and_delete() * 1000)
            load.result()
        return {"value": statistics.quantiles(took, n=100)[98], "p50_us": statistics.median(took) * 1000,
                "note": f"{len(took)} calls"}

    def page_latency(self, seconds: float) -> dict:
        """The longest of the pages in half of so long, in milliseconds."""
        self._connect_anew()
        took: list[float] = []
        until = time.monotonic() + seconds / 2
        while time.monotonic() < until:
            took += self.list_all()
        return {"value": max(took) * 1000, "p50_us": statistics.median(took) * 1e6, "note": f"{len(took)} pages"}
