# SPDX-License-Identifier: Apache-2.0
"""The words that have nvme-cli in the guest; a part of Words."""

from __future__ import annotations

import re
from typing import Callable

from nvme_checks import BlockChecks, check_identify, check_logs, check_reservation
from usage import need
from world import World


class NvmeWords:
    """What needs nvme-cli; a guest without it skips the scenario."""

    world: World

    def word_nvme(self, rest: str) -> str | None:
        """nvme discover | connect-all [OPTION ...] | connect HOST | disconnect HOST |
        disconnect-all | hosts HOST HOST ...: nvme-cli in the guest as one host of the target, or
        several; an option is hdr-digest, data-digest, nr-io-queues=N or queue-size=N. nvme identify
        | logs | blocks VOLUME | quiet: checks what it is told, what its commands do to a volume's
        blocks, and that the guest's kernel complains of nothing. nvme as HOST COMMAND VOLUME
        [ARGUMENTS]: any command of nvme-cli on the volume's device, must succeed; nvme refused
        /PATTERN/ HOST COMMAND VOLUME [ARGUMENTS]: the controller must refuse it with a status whose
        words hold PATTERN. nvme report HOST VOLUME rtype=N [HOST=KEY[*] ...]: the reservation, and
        every registrant with its key; * marks the holder."""
        verb, _, text = rest.partition(" ")
        arguments = text.split()
        cli = self.world.nvme_cli()
        plain: dict[str, Callable[[], str | None]] = {
            "discover": cli.discover, "disconnect-all": cli.disconnect_all, "quiet": cli.quiet,
            "logs": lambda: check_logs(cli),
            "identify": lambda: check_identify(cli, list(self.world.volumes.values())),
        }
        with_arguments: dict[str, Callable[[], str | None]] = {
            "connect-all": lambda: cli.connect_all(arguments),
            "connect": lambda: cli.connect(text),
            "disconnect": lambda: cli.disconnect(arguments[0]),
            "hosts": lambda: cli.hosts(arguments),
            "blocks": lambda: BlockChecks(cli, self.world.need_vm(), self.world.volume(text)).run(),
            "as": lambda: cli.check(self._command(text)).strip() or None,
            "refused": lambda: self._refused(text),
            "report": lambda: self._report(arguments),
        }
        usage = "nvme VERB ..., see lab/run --words"
        need(verb in plain and not arguments or verb in with_arguments, usage)
        need(bool(arguments) or verb in plain or verb == "connect-all", usage)
        return plain[verb]() if verb in plain else with_arguments[verb]()

    def _command(self, text: str) -> str:
        """`HOST COMMAND VOLUME ARGUMENTS` -> what nvme-cli takes."""
        parts = text.split()
        need(len(parts) >= 3, "nvme as HOST COMMAND VOLUME [ARGUMENTS]")
        host, command, volume, *arguments = parts
        device = self.world.nvme_cli().device_of(host, self.world.volume(volume))
        return " ".join([command, f"/dev/{device}", *arguments])

    def _refused(self, text: str) -> str:
        found = re.fullmatch(r"/(.*?)/\s+(.+)", text)
        need(found is not None, "nvme refused /PATTERN/ HOST COMMAND VOLUME [ARGUMENTS]")
        assert found is not None
        return self.world.nvme_cli().refused(self._command(found[2]), found[1])

    def _report(self, arguments: list[str]) -> str:
        need(len(arguments) >= 3 and all("=" in part for part in arguments[2:]),
             "nvme report HOST VOLUME rtype=N [HOST=KEY[*] ...]")
        host, volume, *fields = arguments
        wanted = dict(field.split("=", 1) for field in fields)
        return check_reservation(self.world.nvme_cli(), host, self.world.volume(volume), wanted)
