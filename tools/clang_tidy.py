#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs clang-tidy over src/ with the commands of a build folder.

A source that passed is not looked at again until it, a header of ours that it includes, its
compile command, .clang-tidy, clang-tidy itself or an installed package has changed: one hash of all
that is the name of an empty file in ~/.cache/remora/lint, which all clones share as they share
ccache's. The build folder must have been built, since control/ includes generated headers.

Most of clang-tidy's work are the headers of the library, so sources compiled alike are looked at
some two dozen at a time, as one translation unit. Those that do not go with the others, as both
have something of one name, go into another one.

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
BATCH = 24  # sources looked at together: more need little less time, and much more memory
OURS = r".*/(src|tests|bench)/.*\.(h|cc)$"  # whose findings count


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
        self.command = without_precompiled(words)

    def name(self) -> str:
        return str(self.file.relative_to(ROOT))

    def flags(self) -> tuple[str, ...]:
        """What is the same for all that can be looked at together."""
        words = self.command[1:]
        out = words.index("-o")
        del words[out:out + 2]
        return tuple(word for word in words if word != "-c" and Path(word).resolve() != self.file)


def without_precompiled(words: list[str]) -> list[str]:
    """The same command without the build's precompiled headers, which are for its compiler only."""
    kept = [word for word in words if word != "-Winvalid-pch"]
    while "-include-pch" in kept:
        at = kept.index("-include-pch")
        del kept[at:at + 2]
    return kept


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


def batches(units: list[Unit]) -> list[list[Unit]]:
    """Units of the same flags, dealt out so that those of one folder are apart: they are the likeliest
    to have something of one name."""
    alike: dict[tuple[str, ...], list[Unit]] = {}
    for unit in sorted(units, key=Unit.name):
        alike.setdefault(unit.flags(), []).append(unit)
    dealt = []
    for group in alike.values():
        count = -(-len(group) // BATCH)
        dealt += [group[first::count] for first in range(count)]
    return sorted(dealt, key=lambda batch: -sum(unit.file.stat().st_size for unit in batch))


def run_tool(source: Path, flags: tuple[str, ...], build: Path) -> subprocess.CompletedProcess:
    options = ["--quiet", f"--config-file={ROOT / '.clang-tidy'}", f"--header-filter={OURS}"]
    return subprocess.run([TOOL, *options, str(source), "--", *flags], text=True, capture_output=True,
                          check=False, cwd=build)


def sources_named(words: str) -> set[Path]:
    """The files that errors are in."""
    return {Path(name).resolve() for name in re.findall(r"^(/[^:]+):\d+:\d+: (?:fatal )?error: ", words, re.MULTILINE)}


def check_alone(unit: Unit, build: Path) -> str:
    """clang-tidy's words, empty when it is content."""
    done = run_tool(unit.file, unit.flags(), build)
    return "" if done.returncode == 0 else done.stdout or done.stderr or f"{TOOL} ended with {done.returncode}"


def clashing(batch: list[Unit], together: Path, build: Path) -> list[Unit]:
    """Those of a batch that do not compile in one translation unit with the others."""
    looks = ["-Wno-everything", "-ferror-limit=0", "-fsyntax-only", str(together)]
    compiled = subprocess.run([batch[0].command[0], *batch[0].flags(), *looks], text=True,
                              capture_output=True, check=False, cwd=build)
    if compiled.returncode == 0:
        return []
    named = sources_named(compiled.stderr)
    return [unit for unit in batch[1:] if unit.file in named] or batch[1:]


def check(batch: list[Unit], build: Path, number: str) -> tuple[dict[Unit, str], list[Unit]]:
    """clang-tidy's words for each unit, and the units that have to be looked at without the others."""
    if len(batch) == 1:
        return {batch[0]: check_alone(batch[0], build)}, []
    together = build / "lint" / f"batch_{number}.cc"
    together.parent.mkdir(exist_ok=True)

    def write(units: list[Unit]) -> None:
        lines = (f'#include "{unit.file}"  // NOLINT(bugprone-suspicious-include)\n' for unit in units)
        together.write_text("".join(lines))

    write(batch)
    apart = clashing(batch, together, build)
    batch = [unit for unit in batch if unit not in apart]
    write(batch)
    done = run_tool(together, batch[0].flags(), build)
    if done.returncode == 0:
        return dict.fromkeys(batch, ""), apart
    # Whose words they are is told when each is looked at alone.
    named = sources_named(done.stdout)
    suspects = named if named and named <= {unit.file for unit in batch} else {unit.file for unit in batch}
    return {unit: check_alone(unit, build) if unit.file in suspects else "" for unit in batch}, apart


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
    left = changed
    with ThreadPoolExecutor(options.jobs) as pool:
        turn = 0
        while left:
            turn += 1
            running = [pool.submit(check, batch, build, f"{turn}_{i}") for i, batch in enumerate(batches(left))]
            left = []
            for finished in as_completed(running):
                words_of, apart = finished.result()
                left += apart
                failed += sum(tell(unit, words, now[unit.name()], seen) for unit, words in words_of.items())
    unchanged = len(units) - len(changed)
    print(f"clang-tidy: {len(units)} sources, {unchanged} unchanged since they passed, {failed} failed")
    return 1 if failed else 0


def tell(unit: Unit, words: str, now: str, seen: set[str]) -> bool:
    """Notes that a unit has passed, or prints what is wrong with it and returns true."""
    if not words:
        PASSED.mkdir(parents=True, exist_ok=True)
        (PASSED / now).touch()
        return False
    print(f"{unit.name()}: clang-tidy is not content")
    # A finding in a header comes once for each source that includes it.
    for finding in split_findings(words):
        if finding not in seen:
            seen.add(finding)
            print(finding)
    sys.stdout.flush()
    return True


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
