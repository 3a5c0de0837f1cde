#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Adds up ctest's JUnit reports, given as NAME=FILE, and names what failed.

Prints at its end `N passed, N failed, N skipped`; the exit code is 1 when one failed, when none
ran, or when a report is missing.
"""

import sys
import xml.etree.ElementTree as xml
from pathlib import Path


def was_skipped(case: xml.Element) -> bool:
    """Whether the test itself asked for it; ctest writes `notrun` for a missing program, too."""
    skipped = case.find("skipped")
    reason = skipped.get("message", "") if skipped is not None else ""
    return case.get("status") == "disabled" or reason.startswith("SKIP_")


def main(arguments: list[str]) -> int:
    passed = failed = skipped = 0
    for argument in arguments:
        name, _, file = argument.partition("=")
        if not Path(file).is_file():
            print(f"{name}: ctest wrote no report, so its tests count as one failure")
            failed += 1
            continue
        for case in xml.parse(file).getroot().iter("testcase"):
            if case.get("status") == "fail" or case.find("failure") is not None:
                failed += 1
                print(f"{name}: FAILED {case.get('name')}")
            elif was_skipped(case):
                skipped += 1
                print(f"{name}: skipped {case.get('name')}")
            elif case.get("status") != "run":
                failed += 1
                print(f"{name}: FAILED {case.get('name')}: it did not run")
            else:
                passed += 1
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


sys.exit(main(sys.argv[1:]))
