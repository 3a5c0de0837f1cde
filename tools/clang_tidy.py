#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs clang-tidy over src/ with the commands of a build folder.

A source that passed is not looked at again until it, a header of ours that it includes, its
compile command, .clang-tidy, clang-tidy itself or an installed package has changed: one hash of all
that is the name of an empty file in ~/.cache/remora/lint, which all clones share as they share
ccache's. The build folder must have been built, since control/ includes generated headers.

    tools/clang_tidy.py build/dev                     all of src/
    tools/clang_tidy.py build/dev src/core/units.cc   some of it
"""

import argparse
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOL = "clang-tidy-19"
PASSED = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "remora" / "lint"
KEPT_SECONDS = 30 * 24 * 3600  # since it was last of use


class Files:
    """Contents' hashes and the headers of ours that a file includes, each file read once."""

    def __init__(self, build: Path) -> None:
        self.folders = [ROOT / "src", ROOT, build / "api" / "generated"]
        self.hashes: dict[Path, str] = {}
        self.includes: dict[Path, list[Path]] = {}

    def hash_of(self, path: Path) -> str:
        self.read(path)
        return self.hashes[path]

    def read(self, path: Path) -> None:
        if path in self.hashes:
            return
        data = path.read_bytes()
        named = re.findall(rb'^\s*#\s*include\s+"([^"]+)"', data, re.MULTILINE)
        found = ((folder / name.decode() for folder in self.folders if (folder / name.decode()).is_file())
                 for name in named)
        self.includes[path] = [first for first in (next(paths, None) for paths in found) if first]
        self.hashes[path] = hashlib.sha256(data).hexdigest()

    def with_headers(self, path: Path) -> list[Path]:
        """The file and all headers of ours below it."""
        seen, todo = {path}, [path]
        while todo:
            here = todo.pop()
            self.read(here)
            new = [header for header in self.includes[here] if header not in seen]
            seen.update(new)
            todo += new
        return sorted(seen)


class Unit:
    """One source file and how it is compiled."""

    def __init__(self, entry: dict) -> None:
        self.file = Path(entry["file"]).resolve()
        words = entry.get("arguments") or shlex.split(entry["command"])
        if Path(words[0]).name == "ccache":
            words = words[1:]
        self.command = words

    def name(self) -> str:
        return str(self.file.relative_to(ROOT))


def world() -> str:
    """What checks, and with which headers of the system."""
    tool = subprocess.run([TOOL, "--version"], text=True, capture_output=True, check=True).stdout
    packages = subprocess.run(["dpkg-query", "-W"], text=True, capture_output=True, check=True).stdout
    return tool + packages


def fingerprint(unit: Unit, files: Files, build: Path, around: str) -> str:
    """The same in every clone."""
    parts = [around, files.hash_of(ROOT / ".clang-tidy"), *unit.command]
    parts += [f"{path} {files.hash_of(path)}" for path in files.with_headers(unit.file)]
    text = "\n".join(parts).replace(str(build), "BUILD").replace(str(ROOT), "ROOT")
    return hashlib.sha256(text.encode()).hexdigest()


def passed(now: str) -> bool:
    try:
        os.utime(PASSED / now)  # it is of use
    except FileNotFoundError:
        return False
    return True


def forget_the_old() -> None:
    for mark in PASSED.iterdir() if PASSED.is_dir() else ():
        if time.time() - mark.stat().st_mtime > KEPT_SECONDS:
            mark.unlink(missing_ok=True)


def check(unit: Unit, build: Path, now: str) -> tuple[Unit, str]:
    """clang-tidy's words, empty when it is content."""
    done = subprocess.run([TOOL, "-p", str(build), "--quiet", str(unit.file)], text=True,
                          capture_output=True, check=False)
    if done.returncode == 0:
        PASSED.mkdir(parents=True, exist_ok=True)
        (PASSED / now).touch()
        return unit, ""
    return unit, done.stdout or done.stderr or f"{TOOL} ended with {done.returncode}"


def units_of(build: Path, wanted: list[Path]) -> list[Unit]:
    units: dict[Path, Unit] = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        unit = Unit(entry)
        if any(unit.file == path or path in unit.file.parents for path in wanted):
            units[unit.file] = unit
    # The big ones first, so that no core is left with one at the end.
    return sorted(units.values(), key=lambda unit: -unit.file.stat().st_size)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=Path, help="a configured and built build folder")
    parser.add_argument("paths", nargs="*", type=Path, help="files or folders; src/ by default")
    parser.add_argument("-j", "--jobs", type=int, default=min(os.cpu_count() or 2, 8))
    options = parser.parse_intermixed_args()

    build = options.build.resolve()
    if not (build / "compile_commands.json").is_file():
        print(f"{options.build} has no compile_commands.json; configure it with a preset first")
        return 2
    units = units_of(build, [path.resolve() for path in options.paths] or [ROOT / "src"])
    if not units:
        print("none of these files is compiled in this build folder")
        return 2

    files = Files(build)
    around = world()
    now = {unit.name(): fingerprint(unit, files, build, around) for unit in units}
    forget_the_old()
    changed = [unit for unit in units if not passed(now[unit.name()])]
    failed = 0
    seen: set[str] = set()
    with ThreadPoolExecutor(options.jobs) as pool:
        running = [pool.submit(check, unit, build, now[unit.name()]) for unit in changed]
        for finished in as_completed(running):
            unit, words = finished.result()
            if not words:
                continue
            failed += 1
            print(f"{unit.name()}: clang-tidy is not content")
            # A finding in a header comes once for each source that includes it.
            for finding in split_findings(words):
                if finding not in seen:
                    seen.add(finding)
                    print(finding)
            sys.stdout.flush()
    unchanged = len(units) - len(changed)
    print(f"clang-tidy: {len(units)} sources, {unchanged} unchanged since they passed, {failed} failed")
    return 1 if failed else 0


def split_findings(words: str) -> list[str]:
    """clang-tidy's output cut into one text per finding, notes with the finding before."""
    findings: list[str] = []
    for line in words.splitlines():
        starts = ": error: " in line or ": warning: " in line
        if starts or not findings:
            findings.append(line)
        else:
            findings[-1] += "\n" + line
    return findings


if __name__ == "__main__":
    sys.exit(main())
