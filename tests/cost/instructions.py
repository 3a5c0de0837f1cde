#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Instructions that an I/O of our host on our target costs, both sides and the load together.

Time is different in each run; instructions are nearly the same. Each case runs twice, with few and
with many operations, under valgrind's count; what the second has more, by what it did more, is an
I/O's cost, without set-up. Copies by `rep movs` count a byte as one instruction here.

  tests/cost/instructions.py build/release/tests/cost/nvme_tcp_loop
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

FEW, MANY = 4096, 20480
SECONDS = 120
# What was measured, and a tenth more. A change that needs more says why it is worth it. At depth 1
# the empty looks at the sockets are counted with each I/O.
BOUNDS = {("read", 1): 5600, ("read", 32): 3250, ("read", 128): 3250,
          ("write", 1): 5600, ("write", 32): 3250, ("write", 128): 3250}


def counted(program: Path, rw: str, depth: int, operations: int) -> int:
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", str(program), rw, str(depth),
               str(operations)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or found is None:
        sys.exit(f"instructions: `{' '.join(command)}` failed with {done.returncode}:\n{done.stderr[-2000:]}")
    return int(found.group(1))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path)
    program = parser.parse_args().program
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "loop"  # Debian 12's valgrind cannot read this compiler's debug information
        subprocess.run(["strip", "--strip-debug", "-o", str(bare), str(program)], check=True)
        for (rw, depth), bound in BOUNDS.items():
            cost = (counted(bare, rw, depth, MANY) - counted(bare, rw, depth, FEW)) / (MANY - FEW)
            verdict = "ok" if cost <= bound else "TOO MANY"
            missed += cost > bound
            print(f"{rw:<5} depth {depth:>3}: {cost:6.0f} instructions an I/O, at most {bound}: {verdict}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
