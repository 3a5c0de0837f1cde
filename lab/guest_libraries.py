# SPDX-License-Identifier: Apache-2.0
"""Puts programs of Debian into the guest without the libraries of what the guest does not do.

Debian's fio is linked with Ceph, Gluster, RDMA, NBD and persistent-memory libraries, nvme-cli
with D-Bus, and these with a hundred MB more. The guest uses none of them, and unpacking and
linking them under an emulated CPU costs seconds a boot and a second a run. So each gets a
stand-in that defines the names the program links to, under the versions it expects; a call of one
would stop the program at once. Where the stand-ins cannot be made or do not load, the real
libraries are taken.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from paths import LabError, tool

LIBC = "libc|libm|libdl|libpthread|librt|ld-linux.*"
FIO_USES = re.compile(rf"^({LIBC}|libz|libaio|libnuma)\.so\b")
NVME_CLI_USES = re.compile(rf"^({LIBC}|libz|libnvme|libjson-c|libcrypto)\.so\b")
CRYPTSETUP_USES = re.compile(r"")  # all of them: they are few and small
FOLDER = "lib/x86_64-linux-gnu"  # in the guest


def add_fio(root: Path) -> None:
    """Copies the machine's fio and its libraries into `root`, a guest's root folder."""
    _add(root, Path(tool("fio", "fio")).resolve(), None, FIO_USES)


def add_nvme_cli(root: Path, unpacked: Path) -> None:
    """The same for nvme-cli, whose packages were unpacked into a folder."""
    _add(root, unpacked / "usr/sbin/nvme", unpacked / "usr" / FOLDER, NVME_CLI_USES)


def add_cryptsetup(root: Path, unpacked: Path) -> None:
    """And for cryptsetup; some of its libraries are in /lib."""
    own = unpacked / "lib" / "x86_64-linux-gnu"
    for library in own.glob("lib*.so*"):
        (unpacked / "usr" / FOLDER / library.name).symlink_to(library.resolve())
    _add(root, unpacked / "sbin/cryptsetup", unpacked / "usr" / FOLDER, CRYPTSETUP_USES)


def _add(root: Path, program: Path, own_libraries: Path | None, uses: re.Pattern[str]) -> None:
    """A program with the libraries that it uses; `own_libraries` come before the machine's."""
    copy = root / "bin" / program.name
    shutil.copy2(program, copy)
    libraries = _libraries(program, own_libraries)
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    (root / "lib64").mkdir(exist_ok=True)
    loader = root / "lib64/ld-linux-x86-64.so.2"
    shutil.copy2(Path("/lib64/ld-linux-x86-64.so.2").resolve(), loader)
    for name, path in libraries.items():
        if uses.match(name):
            shutil.copy2(path.resolve(), folder / name)
    try:
        _add_stand_ins(program, libraries, uses, folder)
        _check(loader, folder, copy)
    except (LabError, subprocess.CalledProcessError, FileNotFoundError):
        for name, path in libraries.items():
            shutil.copy2(path.resolve(), folder / name)
        _check(loader, folder, copy)


def _libraries(program: Path, own: Path | None) -> dict[str, Path]:
    """Those that the machine has; whether one that is used is missing, the check will say."""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(own)} if own else None
    listed = subprocess.run([tool("ldd", "libc-bin"), str(program)], capture_output=True,
                            text=True, check=True, env=environment).stdout
    return {name: Path(path) for name, path in re.findall(r"(\S+) => (/\S+)", listed)}


def _add_stand_ins(program: Path, libraries: dict[str, Path], uses: re.Pattern[str],
                   folder: Path) -> None:
    dynamic = subprocess.run([tool("readelf", "binutils"), "-d", "-W", "--dyn-syms", str(program)],
                             capture_output=True, text=True, check=True).stdout
    needed = re.findall(r"\(NEEDED\).*\[(\S+)\]", dynamic)
    wanted = re.findall(r" FUNC +GLOBAL +DEFAULT +UND +(\w+)(?:@(\S+))?", dynamic)
    for library in [name for name in needed if not uses.match(name)]:
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


def _check(loader: Path, folder: Path, program: Path) -> None:
    """Loads the program with nothing but what the guest will have."""
    done = subprocess.run([str(loader), "--inhibit-cache", "--library-path", str(folder), str(program),
                           "--version"], capture_output=True, text=True, check=False)
    if done.returncode != 0 or "no version information" in done.stderr:
        raise LabError(f"{program.name} does not start with the guest's libraries: "
                       f"{done.stderr.strip()}")
