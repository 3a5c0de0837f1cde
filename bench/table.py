# SPDX-License-Identifier: Apache-2.0
"""The table of bench/run: medians over the rounds, and whether each bar is met."""

from __future__ import annotations

import os
import platform
import statistics
from pathlib import Path

from rows import Row


def machine() -> str:
    model = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), "unknown CPU")
    congestion = Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    release = ".".join(platform.release().split(".")[:2])
    load = os.getloadavg()[2]
    return (f"{os.cpu_count()} x {model}, Linux {release}, TCP {congestion}, loopback; "
            f"load of the last 15 minutes, this run's own included: {load:.1f}")


def judged(row: Row, results: dict[str, list[dict]]) -> float:
    """What the bar is laid to: the median over the rounds."""
    # Some rounds of a row are those beside the rows that are compared with it.
    return statistics.median(row.judged(got) for got in results[row.name] if row.base is None or "of" in got)


def latency(taken: list[dict], name: str) -> str:
    known = [got[name] for got in taken if got.get(name) is not None]
    return f"{statistics.median(known):8.1f}" if known else "       -"


def line(row: Row, results: dict[str, list[dict]]) -> tuple[str, bool]:
    """The row's text, and whether its bar, if any, is met."""
    taken = results[row.name]
    values = [got["value"] for got in taken]
    figure = judged(row, results)
    ratio = (f"{figure:+5.1f}" if row.adds else f"{figure:5.2f}") if row.base else "     "
    met = row.bar is None or row.bar.met(figure)
    verdict = "" if row.bar is None else "PASS" if met else "MISS"
    span = f"{min(values):.1f}..{max(values):.1f}"
    text = (f"| {row.name:<52} | {statistics.median(values):8.1f} | {row.unit:<6} | {span:<17} | {ratio} | "
            f"{str(row.bar or ''):<7} | {verdict:<4} | {latency(taken, 'p50_us')} | {latency(taken, 'p99_us')} | "
            f"{taken[-1].get('note', '')} |")
    return text, met


def show(order: list[Row], results: dict[str, list[dict]]) -> int:
    """Prints all. 1 when a bar was missed, else 0."""
    print("| row | median | unit | min..max | ratio | bar | | p50 us | p99 us | |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    missed = []
    for row in order:
        text, met = line(row, results)
        print(text, flush=True)
        if not met:
            missed.append(row.name)
    bars = sum(1 for row in order if row.bar is not None)
    print("\nratio: to the row it is compared with, in turns with it; with a sign: what it is above that row. A bar is laid to it, or to the value itself. "
          "The last column is of the last turn.")
    print(f"{bars - len(missed)} of {bars} bars met" + (f"; missed: {', '.join(missed)}" if missed else ""))
    return 1 if missed else 0
