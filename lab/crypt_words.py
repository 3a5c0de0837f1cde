# SPDX-License-Identifier: Apache-2.0
"""The words about encrypted volumes; a part of Words."""

from __future__ import annotations

from encryption import Encryption
from paths import LabError
from usage import is_function, need
from world import World

USAGE = ("crypt show VOLUME FUNCTION|SUBSYSTEM | hide VOLUME | open VOLUME | close VOLUME | fill VOLUME SEED | "
         "same VOLUME SEED | differs VOLUME SEED | rekey VOLUME MBS | rekeying VOLUME | "
         "rekeyed VOLUME | wrong VOLUME")


class CryptWords:
    """What needs cryptsetup in the guest, and the IPU's encrypted volumes."""

    world: World

    def word_crypt(self, rest: str) -> str | None:
        """crypt show VOLUME FUNCTION|SUBSYSTEM: the IPU encrypts into the target's volume, under a key
        of the run's, and the guest has the disk VOLUME-plain, at a function by virtio-blk or as a
        namespace of a subsystem that is plugged; crypt hide VOLUME undoes that. crypt open
        VOLUME: the guest's cryptsetup opens the attached volume with the same key; crypt close
        VOLUME. crypt fill VOLUME SEED: writes a pattern through whichever of the two there is, or to
        the attached volume itself; crypt same|differs VOLUME SEED: reads it there. crypt rekey VOLUME
        MBS: the IPU begins to give it a new key, which is the run's from then on, at most so many
        MiB a second; crypt rekeying VOLUME: it must be under way still; crypt rekeyed VOLUME: waits
        until that is done. crypt wrong VOLUME: a volume that is hidden cannot be shown by another
        key."""
        verb, _, text = rest.partition(" ")
        arguments = text.split()
        takes_number = verb in ("show", "fill", "same", "differs", "rekey")
        need(len(arguments) == (2 if takes_number else 1)
             and (not takes_number or verb == "show" or arguments[1].isdigit()), USAGE)
        at = self._encryption(arguments[0])
        vm = self.world.need_vm()
        if verb == "show":
            return self._show(at, arguments[1])
        if verb == "hide":
            return self._hide(at)
        if verb == "rekey":
            return at.rekey(self.world.need_ipu(), int(arguments[1]))
        if verb == "rekeying":
            return at.check_rekeying(self.world.need_ipu())
        if verb == "wrong":
            return at.check_wrong_key(self.world.need_ipu(), self.world.target)
        if verb == "rekeyed":
            return at.await_rekeyed(self.world.need_ipu())
        if verb == "open":
            return at.open(vm, self.world.device(at.volume.name))
        if verb == "close":
            at.close(vm)
            return None
        need(takes_number, USAGE)
        device, seed = self._device(at), int(arguments[1])
        if verb == "fill":
            at.fill(vm, device, seed)
        elif at.is_filled(vm, device, seed) != (verb == "same"):
            raise LabError(f"{device} {'has not' if verb == 'same' else 'has'} the pattern {seed}")
        return device

    def _encryption(self, name: str) -> Encryption:
        if name not in self.world.encryptions:
            self.world.encryptions[name] = Encryption(self.world.volume(name), self.world.folder)
        return self.world.encryptions[name]

    def _show(self, at: Encryption, where: str) -> str:
        ipu = self.world.need_ipu()
        disk = at.encrypt(ipu, self.world.target)
        self.world.volumes[disk.name] = disk
        if not is_function(where):
            return self.world.functions().show(disk, where)
        ipu.remora("create", "virtio-blk", disk.name, "--function", where, "--volume", at.volume.name)
        self.world.places[disk.name] = where
        return self.world.await_disk(disk.name)

    def _hide(self, at: Encryption) -> None:
        ipu = self.world.need_ipu()
        if at.disk in self.world.places:
            ipu.remora("delete", "virtio-blk", at.disk)
            del self.world.places[at.disk]
        else:
            self.world.functions().hide(self.world.volume(at.disk))
        at.forget(ipu)
        del self.world.volumes[at.disk]

    def _device(self, at: Encryption) -> str:
        if at.opened:
            return f"/dev/mapper/{at.volume.name}"
        shown = at.disk if at.disk in self.world.volumes else at.volume.name
        return f"/dev/{self.world.device(shown)}"
