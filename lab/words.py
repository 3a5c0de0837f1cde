# SPDX-License-Identifier: Apache-2.0
"""The words of a scenario: each `word_...` method is one, its docstring the language's manual.

`lab/run --words` prints them. A word takes the rest of its line and returns what is worth
printing beside it, or nothing.
"""

from __future__ import annotations

import re
import shlex
import time
from typing import Callable

import fio
from array_words import ArrayWords
from crypt_words import CryptWords
from function_words import FunctionWords
from linux_words import LinuxWords
from nvme_words import NvmeWords
from paths import LabError
from usage import is_function, need
from world import World

CODES = {
    "INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION", "UNAVAILABLE",
    "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "ABORTED", "PERMISSION_DENIED", "UNIMPLEMENTED",
}
JOB_SECONDS = 120
Word = Callable[[str], "str | None"]


def parse_fio(text: str, usage: str) -> tuple[list[str], dict[str, str]]:
    """`A,B key=value ...` -> volumes and options."""
    parts = text.split()
    need(bool(parts) and all("=" in part for part in parts[1:]), usage)
    return parts[0].split(","), dict(part.split("=", 1) for part in parts[1:])


class Words(ArrayWords, CryptWords, FunctionWords, LinuxWords, NvmeWords):
    """The words over one world."""

    def __init__(self, world: World) -> None:
        self.world = world

    def word_start(self, rest: str) -> str | None:
        """start target | ipu [REACTORS|msix] | vm [PARAMETER] | newer-vm [PARAMETER]: starts it and
        waits until it is ready; vm before ipu. The IPU has so many reactors, each on a core, or one;
        msix: NVMe functions have MSI-X, and QEMU aborts when one is unplugged. A parameter, such as nvme_core.multipath=N, goes to the guest's kernel; packed=on gives the
        disks packed rings. newer-vm has a QEMU that can have NVMe functions."""
        match rest.split():
            case ["target"]:
                return self.world.start_target()
            case ["ipu"]:
                return self.world.start_ipu()
            case ["ipu", reactors] if reactors.isdigit():
                return self.world.start_ipu(int(reactors))
            case ["ipu", "msix"]:
                return self.world.start_ipu(msix=True)
            case ["vm" | "newer-vm" as name, *parameter] if len(parameter) <= 1:
                return self.world.start_vm("".join(parameter), newer=name == "newer-vm")
        need(False, "start target | ipu [REACTORS|msix] | vm [PARAMETER] | newer-vm [PARAMETER]")
        return None

    def word_restart(self, rest: str) -> str | None:
        """restart target|ipu: starts it again with the same state, ending it first if it runs."""
        daemon = self.world.daemon(rest)
        daemon.stop()
        daemon.start()
        return f"gRPC {daemon.server}"

    def word_upgrade(self, rest: str) -> None:
        """upgrade target|ipu: SIGUSR2; it becomes what its program file is now, with the same state."""
        self.world.daemon(rest).upgrade()

    def word_kill(self, rest: str) -> None:
        """kill -9 target|ipu|vm: ends it without a last word; a vm can be started anew."""
        need(rest.startswith("-9 "), "kill -9 target|ipu|vm")
        name = rest.removeprefix("-9 ").strip()
        if name == "vm":
            self.world.kill_vm()
        else:
            self.world.daemon(name).kill()

    def word_stop(self, rest: str) -> None:
        """stop target|ipu: SIGTERM; it must end with exit code 0."""
        self.world.daemon(rest).stop()

    def word_volume(self, rest: str) -> str | None:
        """volume NAME malloc|null|aio SIZE: a volume of the target, shown over NVMe/TCP."""
        parts = rest.split()
        need(len(parts) == 3, "volume NAME malloc|null|aio SIZE")
        volume = self.world.target.create_volume(*parts)
        self.world.volumes[volume.name] = volume
        return volume.uuid

    def word_attach(self, rest: str) -> str | None:
        """attach VOLUME FUNCTION [nvme]: one call on the IPU; the guest must then have the disk. A
        FUNCTION is 3, or 3.2 of a virtual one."""
        parts = rest.split()
        need(2 <= len(parts) <= 3 and is_function(parts[1]) and parts[2:] in ([], ["nvme"]),
             "attach VOLUME FUNCTION [nvme]")
        name, function = parts[0], parts[1]
        volume = self.world.volume(name)
        self.world.need_ipu().attach(self.world.target.discovery, volume.uuid, function,
                                     parts[2] if parts[2:] else "virtio-blk")
        self.world.places[name] = function
        if parts[2:]:
            self.world.nvme_places.add(name)
        if self.world.vm is None:
            return None
        return self.world.await_disk(name)

    def word_detach(self, rest: str) -> None:
        """detach VOLUME: undoes attach; when the call returns the guest has no such disk."""
        function = self.world.places.get(rest)
        need(function is not None, "detach VOLUME (an attached one)")
        assert function is not None
        self.world.need_ipu().detach(function)
        del self.world.places[rest]
        if self.world.vm is not None and self.world.guest_has(rest):
            raise LabError(f"the guest still has the disk of volume {rest} after the detach")

    def word_expect(self, rest: str) -> str | None:
        """expect disks N | linux N | rings packed|split | running JOB | size VOLUME BYTES |
        nothing attached: checks it, and waits for disks, namespaces and sizes to become so."""
        parts = rest.split()
        usage = ("expect disks N | linux N | rings packed|split | running JOB | "
                 "size VOLUME BYTES | nothing attached")
        need(len(parts) >= 2, usage)
        if parts[0] == "disks" and parts[1].isdigit():
            return self.world.expect_disks(int(parts[1]))
        if parts[0] == "linux" and parts[1].isdigit():
            return self.world.linux().expect(int(parts[1]))
        if parts[0] == "rings" and parts[1] in ("packed", "split"):
            return self.world.expect_rings(parts[1])
        if parts[0] == "running":
            if not self.world.job_running(parts[1]):
                raise LabError(f"the job {parts[1]} has ended: {self.world.finish_job(parts[1], 5)}")
            return None
        if parts[0] == "size" and len(parts) == 3:
            return self.world.expect_size(parts[1], int(parts[2]))
        need(rest == "nothing attached", usage)
        self.world.need_ipu().check_empty()
        return self.world.expect_disks(0) if self.world.vm else None

    def word_target(self, rest: str) -> str | None:
        """target ARGUMENTS: `remora ARGUMENTS` on the target; must succeed."""
        return self._last_line(self.world.target.remora(*shlex.split(rest)))

    def word_ipu(self, rest: str) -> str | None:
        """ipu ARGUMENTS: `remora ARGUMENTS` on the IPU; must succeed."""
        return self._last_line(self.world.need_ipu().remora(*shlex.split(rest)))

    @staticmethod
    def _last_line(text: str) -> str | None:
        lines = text.strip().splitlines()
        return lines[-1] if lines else None

    def word_refuse(self, rest: str) -> str | None:
        """refuse CODE /PATTERN/ target|ipu ARGUMENTS: must fail with that gRPC code and a
        sentence that holds PATTERN (a regular expression, in any case)."""
        usage = "refuse CODE /PATTERN/ target|ipu ARGUMENTS"
        found = re.fullmatch(r"([A-Z_]+)\s+/(.*?)/\s+(target|ipu)\s+(.+)", rest)
        need(found is not None, usage)
        assert found is not None
        code, pattern, name, arguments = found.groups()
        need(code in CODES, f"{usage}, CODE one of {', '.join(sorted(CODES))}")
        refusal = self.world.daemon(name).refused(*shlex.split(arguments))
        if refusal.exit_code != 1 or not refusal.sentence.startswith("remora: "):
            raise LabError(f"refused with exit code {refusal.exit_code} and `{refusal.sentence}`, "
                           "not with exit code 1 and `remora: <sentence>`")
        if code not in refusal.sentence:
            raise LabError(f"the refusal does not name the code {code}: {refusal.sentence}")
        if not re.search(pattern, refusal.sentence, re.IGNORECASE):
            raise LabError(f"the refusal's sentence lacks /{pattern}/: {refusal.sentence}")
        return refusal.sentence

    def word_guest(self, rest: str) -> str | None:
        """guest COMMAND: a shell command in the guest; must end with exit code 0."""
        return self.world.need_vm().check(rest).strip() or None

    def word_fio(self, rest: str) -> str | None:
        """fio VOLUME[,VOLUME...] [OPTION=VALUE ...]: fio with crc32c verification, all volumes
        at once; the options are fio's own, the defaults are in lab/fio.py."""
        names, options = parse_fio(rest, "fio VOLUME[,VOLUME...] [OPTION=VALUE ...]")
        command = fio.command([self.world.device(name) for name in names], options)
        return fio.summary(self.world.need_vm().check(command, JOB_SECONDS))

    def word_begin(self, rest: str) -> None:
        """begin JOB fio ... | begin JOB guest ...: the same in the background."""
        usage = "begin JOB fio VOLUME ... | begin JOB guest COMMAND"
        found = re.fullmatch(r"(\w+)\s+(fio|guest)\s+(.+)", rest)
        need(found is not None, usage)
        assert found is not None
        job, kind, text = found.groups()
        if kind == "fio":
            names, options = parse_fio(text, usage)
            text = fio.command([self.world.device(name) for name in names], options)
        self.world.begin_job(job, text)

    def word_finish(self, rest: str) -> str | None:
        """finish JOB [SECONDS]: waits for its end, which must be good (120 s unless told)."""
        parts = rest.split()
        need(0 < len(parts) <= 2, "finish JOB [SECONDS]")
        return self.world.finish_job(parts[0], float(parts[1]) if parts[1:] else JOB_SECONDS)

    def word_reboot(self, rest: str) -> None:
        """reboot guest [panic]: restarts the guest's kernel, the machine and its disks stay; panic:
        the kernel dies first, and the machine is reset."""
        need(rest in ("guest", "guest panic"), "reboot guest [panic]")
        if rest == "guest panic":
            self.world.need_vm().panic()
        else:
            self.world.need_vm().reboot()

    def word_migrate(self, rest: str) -> str | None:
        """migrate vm: the guest, and what runs in it, moves to a second QEMU on this machine with its
        virtio-blk disks; the first QEMU ends."""
        need(rest == "vm", "migrate vm")
        return self.world.need_vm().migrate()

    def word_wait(self, rest: str) -> None:
        """wait SECONDS: lets that time pass, for the load that runs meanwhile."""
        need(re.fullmatch(r"\d+(\.\d+)?", rest) is not None and float(rest) <= 60, "wait SECONDS")
        time.sleep(float(rest))

    def word_say(self, rest: str) -> str | None:
        """say TEXT: prints it."""
        return rest


def all_words() -> dict[str, str]:
    """Word -> its manual."""
    return {name.removeprefix("word_"): " ".join((getattr(Words, name).__doc__ or "").split())
            for name in dir(Words) if name.startswith("word_")}
