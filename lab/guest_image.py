# SPDX-License-Identifier: Apache-2.0
"""Makes the guest: Debian's 6.12 kernel as an uncompressed vmlinux, and a small initramfs.

Everything comes from Debian packages: the kernel is downloaded and unpacked, never installed;
busybox and fio are the machine's own. What was made is kept in the cache under a key of its
inputs' versions and of this folder's files, and appears there by one rename, so it is whole or
absent. An ordinary user can do all of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import lzma
import os
import re
import shutil
import struct
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator

import fio_libraries
from paths import LabError, cache_dir, tool

KERNEL_META_PACKAGE = "linux-image-6.12-cloud-amd64"
# What the guest can load; init loads those of LOADED_AT_BOOT, the rest waits for modprobe.
MODULES = [
    "virtio_blk", "virtio_net", "virtio_scsi", "nvme_tcp", "nvme_fabrics", "nvmet_tcp",
    "crc32c_generic", "crc32c_intel", "ext4", "dm_mod",
]
LOADED_AT_BOOT = ["virtio_blk"]
KEEP_SECONDS = 14 * 86400  # an image of older packages may still be booting somewhere
SOURCES = Path(__file__).resolve().parent
Say = Callable[[str], None]


@dataclass(frozen=True)
class GuestImage:
    """Files QEMU boots."""

    kernel: Path
    initramfs: Path


def guest_image(say: Say = lambda line: None) -> GuestImage:
    """The image of today's packages, made first when the cache has none."""
    package = _kernel_package()
    if package is None:
        newest = _newest_cached()
        if newest is not None:
            return newest
        package = _kernel_package(_private_lists(say))
    if package is None:
        raise LabError(
            f"apt knows no package {KERNEL_META_PACKAGE}; the guest's kernel comes from "
            "Debian 12's (bookworm) updates: check /etc/apt, then run tools/setup as root"
        )
    folder = cache_dir() / f"guest-{_key(package)}"
    with _lock(cache_dir() / "guest.lock", say):
        if not folder.is_dir():
            for stale in cache_dir().glob("building-*"):  # of a run that was killed
                shutil.rmtree(stale, ignore_errors=True)
            _build(package, folder, say)
    return GuestImage(folder / "vmlinux", folder / "initramfs.cpio")


def _newest_cached() -> GuestImage | None:
    built = sorted(cache_dir().glob("guest-*/initramfs.cpio"), key=lambda p: p.stat().st_mtime)
    return GuestImage(built[-1].parent / "vmlinux", built[-1]) if built else None


def _run(command: list[str], **options) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        reason = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no reason given"]
        raise LabError(f"`{' '.join(map(str, command))}` failed: {reason[0]}")
    return done.stdout


@contextlib.contextmanager
def _lock(path: Path, say: Say) -> Iterator[None]:
    with open(path, "w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another run that is making the guest image")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


# --- packages -------------------------------------------------------------------------------


def _kernel_package(apt_options: list[str] | None = None) -> str | None:
    """`NAME=VERSION` of the kernel of the day: its name carries the ABI."""
    options = apt_options or []
    depends = subprocess.run(["apt-cache", *options, "depends", KERNEL_META_PACKAGE],
                             capture_output=True, text=True, check=False).stdout
    found = re.search(r"Depends: (linux-image-\S+)", depends)
    if not found:
        return None
    policy = _run(["apt-cache", *options, "policy", found[1]], env={**os.environ, "LC_ALL": "C"})
    version = re.search(r"Candidate: (\S+)", policy)
    return f"{found[1]}={version[1]}" if version and version[1] != "(none)" else None


def _private_lists(say: Say) -> list[str]:
    """Package lists of our own, for when the system's are absent or old and we are not root."""
    say("asking the package mirror what is new")
    state = cache_dir() / "apt"
    for folder in ("lists/partial", "archives/partial"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    options = ["-o", f"Dir::State::lists={state}/lists", "-o", f"Dir::Cache={state}"]
    _run(["apt-get", *options, "-qq", "update"])
    return options


def _key(package: str) -> str:
    digest = hashlib.sha256(package.encode())
    for name in ("busybox-static", "fio", "libc6"):
        digest.update(_run(["dpkg-query", "-W", "-f", "${Version}", name]).encode())
    for source in sorted([*SOURCES.glob("initramfs/*"), SOURCES / "guest_image.py",
                          SOURCES / "fio_libraries.py"]):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _download(package: str, into: Path, say: Say) -> Path:
    say(f"downloading {package}")
    try:
        _run(["apt-get", "-qq", "download", package], cwd=into)
    except LabError:
        # The version of the system's lists is no longer on the mirror.
        options = _private_lists(say)
        _run(["apt-get", *options, "-qq", "download", _kernel_package(options) or package],
             cwd=into)
    return next(into.glob("*.deb"))


# --- building -------------------------------------------------------------------------------


def _build(package: str, folder: Path, say: Say) -> None:
    with tempfile.TemporaryDirectory(prefix="building-", dir=cache_dir()) as name:
        work = Path(name)
        deb = _download(package, work, say)
        say("unpacking the kernel")
        _run(["dpkg", "-x", str(deb), str(work / "kernel")])
        made = work / "made"
        made.mkdir()
        vmlinuz = next((work / "kernel/boot").glob("vmlinuz-*"))
        (made / "vmlinux").write_bytes(_vmlinux(vmlinuz))
        say("packing busybox, fio and modules into an initramfs")
        root = work / "root"
        _fill_root(root, work / "kernel", vmlinuz.name.removeprefix("vmlinuz-"))
        _pack(root, made / "initramfs.cpio")
        made.rename(folder)
    for old in cache_dir().glob("guest-*/"):
        if old != folder and old.stat().st_mtime < time.time() - KEEP_SECONDS:
            shutil.rmtree(old, ignore_errors=True)


def _vmlinux(vmlinuz: Path) -> bytes:
    """The ELF inside a bzImage (Documentation/arch/x86/boot.rst: setup_sects, payload_*)."""
    image = vmlinuz.read_bytes()
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (image[0x1F1] + 1) * 512 + offset
    packed = image[start : start + length]
    if packed[:4] == b"\x28\xb5\x2f\xfd":  # zstd; the last 4 bytes are the unpacked size
        done = subprocess.run([tool("zstd", "zstd"), "-dcq"], input=packed[:-4],
                              capture_output=True, check=False)
        elf = done.stdout
    else:
        elf = lzma.decompress(packed[:-4])
    if elf[:4] != b"\x7fELF":
        raise LabError(f"{vmlinuz.name} holds no kernel this lab can unpack")
    return elf


def _fill_root(root: Path, kernel: Path, release: str) -> None:
    for folder in ("bin", "sbin", "dev", "proc", "sys", "run", "tmp", "etc", "root"):
        (root / folder).mkdir(parents=True)
    busybox = root / "bin/busybox"
    shutil.copy2(tool("busybox", "busybox-static"), busybox)
    # The kernel itself calls /sbin/modprobe, e.g. for a checksum's driver.
    (root / "sbin/modprobe").symlink_to("/bin/busybox")
    for name in ("init", "agent"):
        target = root / ("init" if name == "init" else "bin/agent")
        shutil.copy2(SOURCES / "initramfs" / name, target)
        target.chmod(0o755)
    (root / "etc/modules").write_text("\n".join(LOADED_AT_BOOT) + "\n", encoding="ascii")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n", encoding="ascii")
    _add_modules(root, kernel / "lib/modules" / release)
    fio_libraries.add_fio(root)
    # util-linux's and kmod's own paths do not exist in the guest: busybox writes modules.dep.
    _run([str(busybox), "depmod", "-b", str(root), release])


def _add_modules(root: Path, tree: Path) -> None:
    """Copies MODULES and what they depend on, unpacked: insmod is faster so."""
    if not tree.is_dir():
        tree = tree.parents[2] / "usr/lib/modules" / tree.name
    files = {path.name.split(".")[0].replace("-", "_"): path for path in tree.rglob("*.ko*")}
    waiting, done = list(MODULES), set()
    while waiting:
        name = waiting.pop().replace("-", "_")
        path = files.get(name)
        if name in done or path is None:  # absent: built in, or not in this flavour
            continue
        done.add(name)
        data = path.read_bytes()
        data = lzma.decompress(data) if path.suffix == ".xz" else data
        copy = root / "lib/modules" / tree.name / f"{name}.ko"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(data)
        depends = re.search(rb"\0depends=([^\0]*)\0", data)
        waiting += [d for d in (depends[1].decode() if depends else "").split(",") if d]
    if "virtio_blk" not in done:
        raise LabError(f"the kernel package has no virtio_blk module in {tree}")


def _pack(root: Path, archive: Path) -> None:
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*"))
    with open(archive, "wb") as out:
        subprocess.run([tool("cpio", "cpio"), "-o", "-H", "newc", "-R", "0:0", "--quiet"],
                       input="\n".join(names).encode(), stdout=out, cwd=root, check=True)
