#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that every C++ source is as clang-format writes it.

    tools/check_format.py         says what differs; exit code 1 when something does
    tools/check_format.py --fix   rewrites it
"""

import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

from tidy_tree import names_of  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: list[str]) -> int:
    sources = [name for name in names_of(ROOT) if name.endswith((".cc", ".h"))]
    how = ["-i"] if arguments == ["--fix"] else ["--dry-run", "-Werror"]
    done = subprocess.run(["clang-format-19", *how, *sources], cwd=ROOT, check=False)
    print(f"clang-format: {len(sources)} sources; tools/check_format.py --fix puts right what differs")
    return done.returncode


sys.exit(main(sys.argv[1:]))
