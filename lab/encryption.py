# SPDX-License-Identifier: Apache-2.0
"""A volume of the target that holds ciphertext: of the IPU's, and of dm-crypt's in the guest.

Both have the same key, which is made here and lies in a file of the run's folder.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path

from ipu import Ipu
from paths import LabError, LabSkip
from target import NQN, Target, Volume
from vm import Vm

REMOTE = "array"
PATTERN_BYTES = 2 << 20
GUEST_SECONDS = 120


class Encryption:
    """One volume of the target, its key, and who has it open."""

    def __init__(self, volume: Volume, folder: Path) -> None:
        self.volume = volume
        self.key_file = folder / f"{volume.name}.key"
        self.key_file.write_bytes(os.urandom(64))
        self.key_file.chmod(0o600)
        self.opened = False  # by dm-crypt

    @property
    def disk(self) -> str:
        """What the disk with the plain text is called."""
        return f"{self.volume.name}-plain"

    @staticmethod
    def _reach(ipu: Ipu, target: Target) -> None:
        ipu.remora("create", "remote-controller", REMOTE)
        ipu.remora("create", "path", f"{REMOTE}/p0", "--address", target.discovery, "--nqn", NQN)

    def _create(self, key_file: Path) -> list[str]:
        return ["create", "encrypted", self.volume.name, "--volume", self.volume.uuid,
                "--cipher", "aes-xts-256", "--key-file", str(key_file)]

    def encrypt(self, ipu: Ipu, target: Target) -> Volume:
        """By the IPU: what the volume means, to be shown to the host."""
        self._reach(ipu, target)
        ipu.remora(*self._create(self.key_file))
        for one in ipu.remora_json("volumes")["volumes"]:
            if one["name"] == f"encryptedVolumes/{self.volume.name}":
                return Volume(self.disk, "encrypted", self.volume.size, str(one["uuid"]))
        raise LabError(f"the IPU does not list the encrypted volume {self.volume.name}")

    def forget(self, ipu: Ipu) -> None:
        for kind, name in (("encrypted", self.volume.name), ("path", f"{REMOTE}/p0"),
                           ("remote-controller", REMOTE)):
            ipu.remora("delete", kind, name)

    def check_wrong_key(self, ipu: Ipu, target: Target) -> str:
        """Another key than the volume has been encrypted with is told, not shown as garbage."""
        wrong = self.key_file.with_suffix(".wrong")
        wrong.write_bytes(os.urandom(64))
        wrong.chmod(0o600)
        self._reach(ipu, target)
        refusal = ipu.refused(*self._create(wrong))
        for kind, name in (("path", f"{REMOTE}/p0"), ("remote-controller", REMOTE)):
            ipu.remora("delete", kind, name)
        if "key" not in refusal.sentence:
            raise LabError(f"a wrong key was refused, but not as one: {refusal.sentence}")
        return refusal.sentence

    def rekey(self, ipu: Ipu, mbs: int) -> str:
        """Begins to give it a new key, which dm-crypt then needs."""
        self.key_file.write_bytes(os.urandom(64))
        return ipu.remora("rekey", self.volume.name, "--key-file", str(self.key_file),
                          "--background-mbs", str(mbs)).splitlines()[-1]

    def check_rekeying(self, ipu: Ipu) -> str:
        said = ipu.remora("rekey", self.volume.name)
        if "has one key" in said:
            raise LabError(f"the change of {self.volume.name}'s key has ended already")
        return said.splitlines()[-1]

    def await_rekeyed(self, ipu: Ipu) -> str:
        said = ipu.remora("--timeout", "120", "rekey", self.volume.name, "--wait")
        if "has one key" not in said:
            raise LabError(f"the key of {self.volume.name} is not changed: {said}")
        return said.splitlines()[-1]

    def open(self, vm: Vm, device: str) -> str:
        """dm-crypt over the ciphertext, with nothing but the key: as the documents say."""
        if vm.run("command -v cryptsetup").exit_code != 0:
            raise LabSkip("the guest has no cryptsetup: its Debian package could not be had")
        key = base64.b64encode(self.key_file.read_bytes()).decode()
        size = vm.check(f"cat /sys/block/{device}/queue/logical_block_size").strip()
        command = ("cryptsetup open --type plain --cipher aes-xts-plain64 --key-size 512 "
                   f"--sector-size {size} --key-file /run/key /dev/{device} {self.volume.name}")
        vm.check(f"modprobe dm_crypt && echo {key} | base64 -d > /run/key && {command} && rm /run/key",
                 GUEST_SECONDS)
        self.opened = True
        return command

    def close(self, vm: Vm) -> None:
        vm.check(f"cryptsetup close {self.volume.name}", GUEST_SECONDS)
        self.opened = False

    @staticmethod
    def pattern(seed: int) -> str:
        """A shell command that prints PATTERN_BYTES, no sector like another."""
        first = seed * 1_000_000
        return f"seq {first} {first + PATTERN_BYTES // 7} | head -c {PATTERN_BYTES}"

    def fill(self, vm: Vm, device: str, seed: int) -> None:
        vm.check(f"{self.pattern(seed)} | dd of={device} bs=64k conv=fsync", GUEST_SECONDS)

    def is_filled(self, vm: Vm, device: str, seed: int) -> bool:
        """Whether it has the pattern, read anew."""
        vm.check("echo 3 > /proc/sys/vm/drop_caches")
        read = f"dd if={device} bs=64k count={PATTERN_BYTES >> 16} 2>/dev/null"
        sums = [vm.check(f"{command} | sha256sum", GUEST_SECONDS).split()[0]
                for command in (read, self.pattern(seed))]
        return sums[0] == sums[1]
