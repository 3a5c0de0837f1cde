# SPDX-License-Identifier: Apache-2.0
"""fio in the guest: its command line, and the figures in what it prints."""

from __future__ import annotations

import json
from dataclasses import dataclass

from paths import LabError

# Every write is read back and compared; the first wrong byte ends the run.
DEFAULTS = {
    "ioengine": "libaio", "direct": "1", "bs": "4k", "iodepth": "16", "rw": "randrw",
    "size": "16M", "verify": "crc32c", "do_verify": "1", "verify_fatal": "1", "randrepeat": "0",
}


@dataclass(frozen=True)
class Figures:
    """One direction of one run, summed over its jobs."""

    ios: int
    iops: float
    mean_us: float
    p99_us: float


def command(devices: list[str], options: dict[str, str]) -> str:
    """A job a device, all at once."""
    merged = {**DEFAULTS, **options}
    if merged.get("verify") == "none":
        for name in ("verify", "do_verify", "verify_fatal"):
            merged.pop(name, None)
    words = ["fio", "--output-format=json"]
    words += [f"--{name}={value}" for name, value in merged.items()]
    for device in devices:
        words += [f"--name={device}", f"--filename=/dev/{device}"]
    return " ".join(words)


def figures(output: str) -> dict[str, Figures]:
    """`read` and `write` of fio's JSON, which warnings may precede."""
    start = output.find("\n{") + 1 if not output.startswith("{") else 0
    try:
        report = json.JSONDecoder().raw_decode(output[start:])[0]
    except json.JSONDecodeError:
        raise LabError(f"fio printed no report:\n{output[-500:]}") from None
    found = {}
    for direction in ("read", "write"):
        parts = [job[direction] for job in report["jobs"] if job[direction]["total_ios"] > 0]
        ios = sum(part["total_ios"] for part in parts)
        if ios == 0:
            continue
        found[direction] = Figures(
            ios=ios,
            iops=sum(part["iops"] for part in parts),
            mean_us=sum(p["clat_ns"]["mean"] * p["total_ios"] for p in parts) / ios / 1000,
            p99_us=max(p["clat_ns"].get("percentile", {}).get("99.000000", 0) for p in parts) / 1000,
        )
    return found


def summary(output: str) -> str:
    """The figures in one line."""
    return ", ".join(
        f"{direction} {part.ios} I/Os, {part.iops:.0f} IOPS, mean {part.mean_us:.0f} us, "
        f"p99 {part.p99_us:.0f} us" for direction, part in figures(output).items())
