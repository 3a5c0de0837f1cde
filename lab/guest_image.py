# SPDX-License-Identifier: Apache-2.0
"""Makes the guest: Debian's 6.12 kernel as an uncompressed vmlinux, and a small initramfs.

Everything comes from Debian packages: the kernel, nvme-cli and cryptsetup are downloaded and unpacked, never
installed; busybox and fio are the machine's own. What was made is kept in the cache under a key of its
inputs' versions and of this folder's files, and appears there by one rename, so it is whole or
absent. An ordinary user can do all of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import lzma
import re
import shutil
import struct
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

import guest_libraries
import guest_packages
from guest_packages import Say
from paths import LabError, cache_dir, tool

# What the guest can load; init loads those of LOADED_AT_BOOT, the rest waits for modprobe.
MODULES = [
    "virtio_blk", "virtio_net", "virtio_scsi", "nvme_tcp", "nvme_fabrics", "nvmet_tcp",
    "crc32c_generic", "crc32c_intel", "ext4", "dm_mod", "dm_crypt", "xts", "ecb", "aes_generic",
    "aesni_intel",
]
LOADED_AT_BOOT = ["virtio_blk"]
KEEP_SECONDS = 14 * 86400  # an image of older packages may still be booting somewhere
SOURCES = Path(__file__).resolve().parent


@dataclass(frozen=True)
class GuestImage:
    """Files QEMU boots."""

    kernel: Path
    initramfs: Path


def guest_image(say: Say = lambda line: None) -> GuestImage:
    """The image of today's packages, made first when the cache has none."""
    package = guest_packages.kernel()
    if package is None:
        newest = _newest_cached()
        if newest is not None:
            return newest
        package = guest_packages.kernel(guest_packages.private_lists(say))
    if package is None:
        raise LabError(
            f"apt knows no package {guest_packages.KERNEL_META_PACKAGE}; the guest's kernel comes from "
            "Debian 12's (bookworm) updates: check /etc/apt, then run tools/setup as root"
        )
    folder = cache_dir() / f"guest-{_key(package)}"
    with _lock(cache_dir() / "guest.lock", say):
        if not folder.is_dir():
            for stale in cache_dir().glob("building-*"):  # of a run that was killed
                shutil.rmtree(stale, ignore_errors=True)
            folder = _build(package, folder, say)
    return GuestImage(folder / "vmlinux", folder / "initramfs.cpio")


def _newest_cached() -> GuestImage | None:
    built = sorted(cache_dir().glob("guest-*/initramfs.cpio"), key=lambda p: p.stat().st_mtime)
    return GuestImage(built[-1].parent / "vmlinux", built[-1]) if built else None


@contextlib.contextmanager
def _lock(path: Path, say: Say) -> Iterator[None]:
    with open(path, "w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another run that is making the guest image")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _key(package: str) -> str:
    """What names an image: its inputs' versions, and the files that make it."""
    digest = hashlib.sha256(package.encode())
    for name in ("busybox-static", "fio", "libc6", "libssl3"):
        digest.update(guest_packages.run(["dpkg-query", "-W", "-f", "${Version}", name]).encode())
    for name in guest_packages.TOOL_PACKAGES:
        digest.update(str(guest_packages.candidate(name)).encode())
    for source in sorted([*SOURCES.glob("initramfs/*"), *SOURCES.glob("guest_[ilp]*.py")]):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


# --- building -------------------------------------------------------------------------------


def _build(package: str, folder: Path, say: Say) -> Path:
    """Makes the image, and returns its folder: one of its own where the tools cannot be had."""
    with tempfile.TemporaryDirectory(prefix="building-", dir=cache_dir()) as name:
        work = Path(name)
        tools = work / "tools"
        if not guest_packages.unpack_tools(tools, say):
            folder = folder.with_name(f"{folder.name}-without-tools")
            if folder.is_dir():
                return folder
        deb = guest_packages.download_kernel(package, work, say)
        say("unpacking the kernel")
        guest_packages.run(["dpkg", "-x", str(deb), str(work / "kernel")])
        made = work / "made"
        made.mkdir()
        vmlinuz = next((work / "kernel/boot").glob("vmlinuz-*"))
        (made / "vmlinux").write_bytes(_vmlinux(vmlinuz))
        say("packing busybox, fio, nvme-cli, cryptsetup and modules into an initramfs")
        root = work / "root"
        _fill_root(root, work / "kernel", vmlinuz.name.removeprefix("vmlinuz-"))
        if tools.is_dir():
            guest_libraries.add_nvme_cli(root, tools)
            guest_libraries.add_cryptsetup(root, tools)
        _pack(root, made / "initramfs.cpio")
        made.rename(folder)
    for old in cache_dir().glob("guest-*/"):
        if old != folder and old.stat().st_mtime < time.time() - KEEP_SECONDS:
            shutil.rmtree(old, ignore_errors=True)
    return folder


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
    guest_libraries.add_fio(root)
    # util-linux's and kmod's own paths do not exist in the guest: busybox writes modules.dep.
    guest_packages.run([str(busybox), "depmod", "-b", str(root), release])


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
