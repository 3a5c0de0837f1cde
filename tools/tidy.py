#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks what the compiler cannot: layers, doors to the world, lengths, headers, docs.

    tools/tidy.py               every rule over the project; exit code 1 when one is broken
    tools/tidy.py --self-test   proves on small examples that each rule can pass and fail

A finding is one line: `file:line: rule: what would be right`.
"""

import argparse
import posixpath
import re
import sys
from collections.abc import Iterator
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

import tidy_cpp  # noqa: E402
from tidy_tree import Finding, Tree, read_tree  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
LICENCE = "SPDX-License-Identifier: Apache-2.0"
LICENSED = (".cc", ".h", ".py", ".cmake", ".sh", ".proto", "CMakeLists.txt", ".clang-tidy")
CODE = (".cc", ".h", ".py")
WARN_LINES, MAX_LINES = 400, 500


def check_licence(tree: Tree) -> Iterator[Finding]:
    for path, text in tree.select(lambda path: True):
        lines = text.splitlines()
        script = bool(lines) and lines[0].startswith("#!")
        if not script and not path.endswith(LICENSED):
            continue
        at = 1 if script else 0
        if len(lines) <= at or LICENCE not in lines[at]:
            yield Finding(path, at + 1, "licence", f"this line is a comment that says `{LICENCE}`")


def check_length(tree: Tree) -> Iterator[Finding]:
    for path, text in tree.select(lambda path: path.endswith(CODE)):
        lines = text.count("\n")
        if lines > WARN_LINES:
            yield Finding(path, lines, "file-length", f"{lines} lines; aim at {WARN_LINES}, never more than {MAX_LINES}: cut it by concern", fatal=lines > MAX_LINES)


LATER = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")


def check_later(tree: Tree) -> Iterator[Finding]:
    for path, text in tree.select(lambda path: not path.endswith((".json", "LICENSE"))):
        for number, line in enumerate(text.splitlines(), 1):
            if found := LATER.search(line):
                yield Finding(path, number, "later", f"do it, or file an issue; no {found.group()} stays in the tree")


def heading_anchors(text: str) -> set[str]:
    anchors = set()
    for line in text.splitlines():
        if found := re.match(r"#+\s+(.*)", line):
            words = re.sub(r"[^\w\- ]", "", found.group(1).strip().lower())
            anchors.add(words.replace(" ", "-"))
    return anchors


LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
NAMED_PATH = re.compile(r"`((?:src|tests|lab|docs|tools|api|bench|cmake)/[\w./-]*\w)(?::\d+)?`")
# The design pages write a source's path from src/ on.
SOURCE_PATH = re.compile(r"`((?:%s)/[\w./-]*\.(?:h|cc))`" % "|".join(sorted(tidy_cpp.RANKS)))


def check_links(tree: Tree) -> Iterator[Finding]:
    for path, text in tree.select(lambda path: path.endswith(".md")):
        for number, line in enumerate(text.splitlines(), 1):
            for target in LINK.findall(line):
                yield from check_link(tree, path, number, target)
            for named in [*NAMED_PATH.findall(line), *("src/" + name for name in SOURCE_PATH.findall(line))]:
                if not tree.has(named):
                    yield Finding(path, number, "docs-path", f"`{named}` is no file or folder here; name what there is")


def check_link(tree: Tree, path: str, line: int, target: str) -> Iterator[Finding]:
    if re.match(r"[a-z]+:", target):
        return
    name, _, anchor = target.partition("#")
    file = posixpath.normpath(posixpath.join(posixpath.dirname(path), name)) if name else path
    if not tree.has(file):
        yield Finding(path, line, "docs-link", f"({target}) leads nowhere; name a file that exists")
    elif anchor and anchor not in heading_anchors(tree.files.get(file, "")):
        yield Finding(path, line, "docs-link", f"({target}): {file} has no such heading")


DOC_NAMED_IN_CODE = re.compile(r"\bdocs/[\w/-]+\.md\b")


def check_named_docs(tree: Tree) -> Iterator[Finding]:
    for path, text in tree.select(lambda path: path.endswith((*CODE, ".proto", ".cmake", "CMakeLists.txt"))):
        if path.startswith("tools/tidy"):
            continue
        for number, line in enumerate(text.splitlines(), 1):
            for named in DOC_NAMED_IN_CODE.findall(line):
                if not tree.has(named):
                    yield Finding(path, number, "docs-path", f"{named} does not exist; name a page that does")


SCENARIO = re.compile(r"\blab/run\s+([a-z][a-z0-9_]*)")


def check_scenarios(tree: Tree) -> Iterator[Finding]:
    for path, text in tree.select(lambda path: path.endswith(".md")):
        for number, line in enumerate(text.splitlines(), 1):
            for name in SCENARIO.findall(line):
                if not tree.has(f"lab/scenarios/{name}.scn"):
                    yield Finding(path, number, "scenario", f"lab/scenarios/{name}.scn does not exist; `lab/run --list` names those that do")


RANK_ROW = re.compile(r"^\|\s*(\d+)\s*\|\s*`([\w/]+?)/?`\s*\|")


def check_ranks_page(tree: Tree) -> Iterator[Finding]:
    """docs/ARCHITECTURE.md shows the ranks that are enforced."""
    page = "docs/ARCHITECTURE.md"
    shown = {}
    for number, line in enumerate(tree.files.get(page, "").splitlines(), 1):
        if found := RANK_ROW.match(line):
            shown[found.group(2)] = number
            rank = tidy_cpp.RANKS.get(found.group(2))
            if rank != int(found.group(1)):
                yield Finding(page, number, "ranks", f"{found.group(2)}/ has rank {rank} in tools/tidy_cpp.py; the two must agree")
    there = {path.split("/")[1] for path in tree.files if path.startswith("src/") and path.count("/") > 1}
    for folder in sorted(there & tidy_cpp.RANKS.keys() - shown.keys()):
        yield Finding(page, 1, "ranks", f"src/{folder} is missing from the table of ranks")


CHECKS = [check_licence, check_length, check_later, check_links, check_named_docs, check_scenarios, check_ranks_page, *tidy_cpp.CHECKS]


def findings(tree: Tree) -> list[Finding]:
    return sorted({finding for check in CHECKS for finding in check(tree)})


def main() -> int:
    parser = argparse.ArgumentParser(description="Layers, doors to the world, lengths, headers, docs.")
    parser.add_argument("--self-test", action="store_true", help="prove that each rule can pass and fail")
    options = parser.parse_args()
    if options.self_test:
        import tidy_examples
        return tidy_examples.run(findings)

    tree = read_tree(ROOT)
    found = findings(tree)
    for finding in found:
        print(finding)
    broken = sum(finding.fatal for finding in found)
    print(f"tidy: {len(tree.files)} files, {broken} broken rules, {len(found) - broken} warnings")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
