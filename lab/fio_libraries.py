# SPDX-License-Identifier: Apache-2.0
"""Puts fio into the guest without the 130 MB of libraries of its network engines.

Debian's fio is linked with Ceph, Gluster, RDMA, NBD and persistent-memory libraries, and these
with a hundred MB more. The guest uses none of them, and unpacking and linking them under an
emulated CPU costs seconds a boot and a second a run. So each gets a stand-in that defines the
names fio links to, under the versions it expects; a call of one would stop fio at once. Where
the stand-ins cannot be made or do not load, the real libraries are taken.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from paths import LabError, tool

REAL = re.compile(r"^(libc|libm|libz|libaio|libnuma|libdl|libpthread|librt|ld-linux.*)\.so\b")


def add_fio(root: Path) -> None:
    """Copies fio and libraries into `root`, a guest's root folder."""
    fio = Path(tool("fio", "fio")).resolve()
    shutil.copy2(fio, root / "bin/fio")
    libraries = _libraries(fio)
    folder = root / "lib/x86_64-linux-gnu"
    folder.mkdir(parents=True, exist_ok=True)
    (root / "lib64").mkdir(exist_ok=True)
    loader = root / "lib64/ld-linux-x86-64.so.2"
    shutil.copy2(Path("/lib64/ld-linux-x86-64.so.2").resolve(), loader)
    for name, path in libraries.items():
        if REAL.match(name):
            shutil.copy2(path.resolve(), folder / name)
    try:
        _add_stand_ins(fio, libraries, folder)
        _check(loader, folder, root / "bin/fio")
    except (LabError, subprocess.CalledProcessError, FileNotFoundError):
        for name, path in libraries.items():
            shutil.copy2(path.resolve(), folder / name)
        _check(loader, folder, root / "bin/fio")


def _libraries(program: Path) -> dict[str, Path]:
    listed = subprocess.run([tool("ldd", "libc-bin"), str(program)], capture_output=True,
                            text=True, check=True).stdout
    return {name: Path(path) for name, path in re.findall(r"(\S+) => (/\S+)", listed)}


def _add_stand_ins(fio: Path, libraries: dict[str, Path], folder: Path) -> None:
    dynamic = subprocess.run([tool("readelf", "binutils"), "-d", "-W", "--dyn-syms", str(fio)],
                             capture_output=True, text=True, check=True).stdout
    needed = re.findall(r"\(NEEDED\).*\[(\S+)\]", dynamic)
    wanted = re.findall(r" FUNC +GLOBAL +DEFAULT +UND +(\w+)(?:@(\S+))?", dynamic)
    for library in [name for name in needed if not REAL.match(name)]:
        offered = _defined(libraries[library])
        names = [(name, version) for name, version in wanted if name in offered]
        _stand_in(library, names, folder)


def _defined(library: Path) -> set[str]:
    listed = subprocess.run([tool("readelf", "binutils"), "-W", "--dyn-syms", str(library)],
                            capture_output=True, text=True, check=True).stdout
    return set(re.findall(r" (?:FUNC|IFUNC) +(?:GLOBAL|WEAK) +DEFAULT +\d+ +(\w+)", listed))


def _stand_in(library: str, names: list[tuple[str, str]], folder: Path) -> None:
    """One shared library `library` whose functions trap."""
    source = "".join(f"void {name}(void) {{ __builtin_trap(); }}\n" for name, _ in names)
    versions: dict[str, list[str]] = {}
    for name, version in names:
        if version:
            versions.setdefault(version, []).append(name)
    script = folder / "versions"
    script.write_text("".join(
        f"{version} {{ global: {' '.join(name + ';' for name in group)} }};\n"
        for version, group in versions.items()), encoding="ascii")
    command = [tool("clang-19", "clang-19"), "-shared", "-nostdlib", "-fPIC", "-w", "-x", "c", "-",
               "-o", str(folder / library), f"-Wl,-soname,{library}"]
    if versions:
        command.append(f"-Wl,--version-script={script}")
    subprocess.run(command, input=source, text=True, check=True, capture_output=True)
    script.unlink()


def _check(loader: Path, folder: Path, fio: Path) -> None:
    """Loads fio with nothing but what the guest will have."""
    done = subprocess.run([str(loader), "--inhibit-cache", "--library-path", str(folder), str(fio),
                           "--version"], capture_output=True, text=True, check=False)
    if done.returncode != 0 or "no version information" in done.stderr:
        raise LabError(f"fio does not start with the guest's libraries: {done.stderr.strip()}")
