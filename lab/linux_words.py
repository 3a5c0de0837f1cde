# SPDX-License-Identifier: Apache-2.0
"""The words that make the guest's own kernel a host or a target; a part of Words."""

from __future__ import annotations

from typing import Callable

from usage import is_function, need
from world import World


class LinuxWords:
    """What the guest's kernel plays without nvme-cli."""

    world: World

    def word_linux(self, rest: str) -> str | None:
        """linux connect [OPTION,...] | disconnect: the guest's own kernel as a host of the target,
        without the IPU; `fio VOLUME` then goes to that volume's namespace. linux export NAME SIZE
        | serve [MULTIPATH] | plug NAME FUNCTION: it as a target, to which serve connects the IPU, with
        the remote controller's --multipath. linux port 2:
        a second way to that target, before serve; or after it with linux path 2, which gives it to
        the IPU. linux close [PORT] | open [PORT]: cuts all connections of a port (1 unless told).
        linux ana PORT optimized | non-optimized | inaccessible | persistent-loss | change: how good
        a way it is. linux refer 2: port 1's discovery names port 2's."""
        verb, *arguments = rest.split()
        numbers = [int(text) for text in arguments if text.isdigit()]
        forms: dict[tuple[str, int], Callable[[], str | None]] = {
            ("connect", 0): lambda: self.world.linux().connect([]),
            ("connect", 1): lambda: self.world.linux().connect(arguments[0].split(",")),
            ("disconnect", 0): lambda: self.world.linux().disconnect(),
            ("export", 2): lambda: self._export(*arguments),
            ("serve", 0): lambda: self.world.linux_target().connect(self.world.need_ipu()),
            ("serve", 1): lambda: self.world.linux_target().connect(self.world.need_ipu(), *arguments),
            ("plug", 2): lambda: self._plug(*arguments),
            ("port", 1): lambda: self.world.linux_target().add_port(*numbers),
            ("path", 1): lambda: self.world.linux_target().add_path(self.world.need_ipu(), *numbers),
            ("refer", 1): lambda: self.world.linux_target().refer(*numbers),
            ("ana", 2): lambda: self.world.linux_target().set_state(numbers[0], arguments[1]),
        }
        for count in (0, 1):
            forms["close", count] = lambda: self.world.linux_target().close_port(*numbers)
            forms["open", count] = lambda: self.world.linux_target().open_port(*numbers)
        form = forms.get((verb, len(arguments)))
        wants_number = verb in ("port", "path", "refer", "ana", "close", "open")
        need(form is not None and (not wants_number or not arguments or bool(numbers)) and
             (verb != "plug" or is_function(arguments[1])),
             "linux connect|disconnect|export|serve|plug|port|path|close|open|ana|refer ..., "
             "see lab/run --words")
        assert form is not None
        return form()

    def _export(self, name: str, size: str) -> str:
        volume = self.world.linux_target().export(name, size)
        self.world.volumes[name] = volume
        return volume.uuid

    def _plug(self, name: str, function: str) -> str:
        self.world.linux_target().plug(self.world.need_ipu(), name, function)
        self.world.places[name] = function
        return self.world.await_disk(name)
