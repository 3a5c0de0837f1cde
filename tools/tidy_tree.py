# SPDX-License-Identifier: Apache-2.0
"""What tools/tidy.py looks at: a project's text files by path, and what it says about them."""

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

TEXT = (".cc", ".h", ".py", ".md", ".txt", ".cmake", ".proto", ".json", ".scn", ".sh", ".yml", ".yaml")


@dataclass(frozen=True, order=True)
class Finding:
    path: str
    line: int
    rule: str
    right: str  # what would be right
    fatal: bool = True

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}{'' if self.fatal else ' (warning)'}: {self.right}"


@dataclass
class Tree:
    files: dict[str, str]  # text files
    others: set[str] = field(default_factory=set)  # files that are not looked into

    def select(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
        return ((path, self.files[path]) for path in sorted(self.files) if wanted(path))

    def has(self, path: str) -> bool:
        """Whether there is such a file or folder."""
        return path in self.files or path in self.others or any(
            name.startswith(path.rstrip("/") + "/") for name in (*self.files, *self.others))


def names_of(root: Path) -> list[str]:
    """Files that git has or would take; without git, all but what is made by building."""
    made = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=root, text=True,
                          capture_output=True, check=False)
    if made.returncode == 0 and made.stdout:
        return [name for name in made.stdout.split("\0") if name and (root / name).is_file()]
    names = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in (".git", "build", ".cache", "__pycache__")]
        names += [str((Path(folder) / name).relative_to(root)) for name in files]
    return names


def read_tree(root: Path) -> Tree:
    tree = Tree({})
    for name in names_of(root):
        data = (root / name).read_bytes()
        if name.endswith(TEXT) or data.startswith(b"#!"):
            tree.files[name] = data.decode(errors="replace")
        else:
            tree.others.add(name)
    return tree
