#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that every planted bug (tests/**/mutants/*.patch) still applies to the sources.

Whether each is found is asked by tests/sim/mutants/run and tests/unit/mutants/run, which take long.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    patches = sorted(ROOT.glob("tests/**/mutants/*.patch"))
    stale = [patch for patch in patches
             if subprocess.run(["git", "apply", "--check", str(patch)], cwd=ROOT, stderr=subprocess.DEVNULL,
                               check=False).returncode != 0]
    for patch in stale:
        print(f"{patch.relative_to(ROOT)}: does not apply; plant the bug of its first line anew, where its code is now")
    print(f"mutants: {len(patches)} patches, {len(stale)} do not apply")
    return 1 if stale or not patches else 0


sys.exit(main())
