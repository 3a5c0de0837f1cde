# SPDX-License-Identifier: Apache-2.0
"""nvme-cli in the guest: what a Linux administrator types, and whether its answers are right.

The target's discovery log names the address that it listens on, 127.0.0.1. So that nvme-cli can
follow it, the guest sends that address to the VM's user network, which hands it to the machine's
loopback; the guest's own loopback moves aside.

A scenario may speak as several hosts: each is a name here with a host NQN and host identifier of
its own. Linux takes the controllers of all of them for paths to one subsystem, so for several
hosts the kernel must be booted without multipath; each host then has its own block devices.
"""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

from guest_agent import Answer
from linux_host import GuestHost, UP
from paths import LabError, LabSkip
from target import NQN, Target, Volume
from vm import Vm

# nvme-cli 2.3 takes an option's number for wrong in the locale C of this guest, and in no other.
LOCALE = "export LC_ALL=C.UTF-8"
LOOPBACK = ("ifconfig lo 127.0.0.9 netmask 255.255.255.255 && "
            "echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet && "
            "{ ip route add 127.0.0.1 via 10.0.2.2 2>/dev/null || true; }")
TIMES = "--keep-alive-tmo=5 --reconnect-delay=1 --ctrl-loss-tmo=60"
NO_MULTIPATH = "nvme_core.multipath=N"
OPTIONS = re.compile(r"(hdr-digest|data-digest|nr-io-queues=\d+|queue-size=\d+)")
FIRST = "first"  # the host that is spoken of when none is named
# What the kernel says of NVMe that goes well.
FINE = re.compile(r"creating \d+ I/O queues|mapped [\d/]+ default/read/poll queues|new ctrl: NQN|"
                  r"Removing ctrl: NQN|rescanning namespaces|resetting controller|ommand line: |"
                  r"Found shared namespace|Support for shared namespaces")  # without multipath


class NvmeCli(GuestHost):
    """The hosts that nvme-cli in the guest speaks for, towards the target's subsystem."""

    def __init__(self, vm: Vm, target: Target) -> None:
        super().__init__(vm, target)
        if vm.run("test -x /bin/nvme").exit_code != 0:
            raise LabSkip("the guest has no nvme-cli: its Debian package could not be had")
        self._target = target
        self._hosts: dict[str, str] = {}  # name -> host identifier
        self._vm.check(f"{UP} && {LOOPBACK}")

    @property
    def connected(self) -> bool:
        return bool(self._hosts)

    def known(self) -> dict[str, str]:
        """Host identifiers by the names of their hosts."""
        return dict(self._hosts)

    # --- running it -------------------------------------------------------------------------

    def run(self, command: str) -> Answer:
        return self._vm.run(f"{LOCALE}; nvme {command}")

    def check(self, command: str) -> str:
        return self._vm.check(f"{LOCALE}; nvme {command}")

    def json(self, command: str) -> Any:
        said = self.check(f"{command} -o json")
        try:
            return json.loads(said)
        except json.JSONDecodeError as error:
            raise LabError(f"`nvme {command}` printed no JSON ({error}): {said[:300]}") from None

    def refused(self, command: str, pattern: str) -> str:
        """A command that the controller must refuse, with a status whose words hold `pattern`."""
        answer = self.run(command)
        status = re.search(r"NVMe status: (.*?)(?::|\()", answer.output)
        if answer.exit_code == 0 or status is None:
            raise LabError(f"`nvme {command}` was not refused: exit code {answer.exit_code}, "
                           f"{answer.output.strip()}")
        if not re.search(pattern, status[1], re.IGNORECASE):
            raise LabError(f"`nvme {command}` was refused with `{status[1]}`, not with /{pattern}/")
        return status[1]

    # --- connections ------------------------------------------------------------------------

    def _at(self, host: str) -> str:
        """Options that say who speaks to which address."""
        return (f"-t tcp -a 127.0.0.1 -s {self._port} "
                f"-q nqn.2014-08.org.nvmexpress:uuid:{self._id(host)} -I {self._id(host)}")

    def _id(self, host: str) -> str:
        if host not in self._hosts:
            if self._hosts:
                self._one_device_for_each_host()
            self._hosts[host] = str(uuid.uuid4())
        return self._hosts[host]

    def _one_device_for_each_host(self) -> None:
        parameter = "/sys/module/nvme_core/parameters/multipath"
        if self._vm.run(f"grep -q N {parameter}").exit_code != 0:
            raise LabError(f"for several hosts boot with `start vm {NO_MULTIPATH}`")

    def hosts(self, names: list[str]) -> str:
        for name in names:
            self._id(name)
        return ", ".join(f"{name} {self._hosts[name]}" for name in names)

    @staticmethod
    def _switches(options: list[str]) -> str:
        strange = [option for option in options if not OPTIONS.fullmatch(option)]
        if strange:
            raise LabError(f"the options are {OPTIONS.pattern}, not {', '.join(strange)}")
        return " ".join([TIMES, *(f"--{option}" for option in options)])

    def discover(self) -> str:
        """The discovery log must name itself, by a name of its own, and the subsystem, where they
        listen and without TLS."""
        records = self.json(f"discover {self._at(FIRST)}")["records"]
        if len(records) != 2:
            raise LabError(f"the discovery log has {len(records)} records, not 2: {records}")
        wanted = {"trtype": "tcp", "adrfam": "ipv4", "trsvcid": self._port, "traddr": "127.0.0.1",
                  "treq": "not specified, sq flow control disable supported", "sectype": "none"}
        expect_fields("the discovery log's record of itself", records[0],
                      wanted | {"subtype": "current discovery subsystem"})
        expect_fields("the discovery log's record", records[1],
                      wanted | {"subtype": "nvme subsystem", "subnqn": NQN})
        if not records[0]["subnqn"].startswith("nqn.2014-08.org.nvmexpress:uuid:"):
            raise LabError(f"the discovery subsystem has no name of its own: {records[0]}")
        return f"{NQN} at {records[1]['traddr']}:{records[1]['trsvcid']}"

    def connect_all(self, options: list[str]) -> str:
        said = self.check(f"connect-all {self._at(FIRST)} {self._switches(options)}").strip()
        if said:
            raise LabError(f"`nvme connect-all` complained: {said}")
        return self.controller(FIRST)

    def connect(self, host: str) -> str:
        """As `nvme connect` does it, but by the kernel's own interface: nvme-cli 2.3 takes another
        host's controller at the same address for this one's and says "already connected"."""
        text = (f"transport=tcp,traddr=127.0.0.1,trsvcid={self._port},nqn={NQN},"
                f"hostnqn=nqn.2014-08.org.nvmexpress:uuid:{self._id(host)},hostid={self._id(host)},"
                "keep_alive_tmo=5,reconnect_delay=1,ctrl_loss_tmo=60")
        self._vm.check(f"exec 3<>/dev/nvme-fabrics && printf %s '{text}' >&3 || "
                       "{ dmesg | tail -5; exit 1; }")
        return self.controller(host)

    def disconnect(self, host: str) -> str:
        return self.check(f"disconnect -d {self.controller(host)}").strip()

    def disconnect_all(self) -> None:
        self.check("disconnect-all")
        left = self._vm.check("ls /sys/class/nvme").split()
        if left:
            raise LabError(f"after disconnect-all the guest still has {', '.join(left)}")
        self._hosts.clear()

    # --- finding devices --------------------------------------------------------------------

    def controller(self, host: str) -> str:
        """The host's only controller, e.g. nvme0."""
        text = self._vm.check("for at in /sys/class/nvme/nvme*; do [ -e $at/hostid ] && "
                              "echo ${at##*/} $(cat $at/hostid $at/subsysnqn); done; true")
        found = [line.split()[0] for line in text.splitlines()
                 if line.split()[1:] == [self._hosts.get(host, ""), NQN]]
        if len(found) != 1:
            raise LabError(f"the host {host} has {len(found)} controllers, not one:\n{text}")
        return found[0]

    def device_of(self, host: str, volume: Volume) -> str:
        """The host's block device of a volume, e.g. nvme0n1."""
        controller = self.controller(host)
        for name in [f"/sys/class/nvme/{controller}/{controller}n*", "/sys/block/nvme*n*"]:
            text = self._vm.check(f"for at in {name}; do [ -e $at/uuid ] && "
                                  "echo $(cat $at/uuid) ${at##*/}; done; true")
            for line in text.splitlines():
                if line.split()[0] == volume.uuid and not re.search(r"c\d+n", line):
                    return line.split()[1]
        raise LabError(f"the host {host} sees no namespace of volume {volume.name}")

    def nsids(self) -> dict[str, int]:
        """What the target's API says: UUID -> NSID."""
        return {entry["spec"]["uuid"]: int(entry["spec"]["hostNsid"])
                for entry in self._target.remora_json("list", "namespace")}

    # --- what the kernel says ---------------------------------------------------------------

    def quiet(self) -> str:
        """Since it was booted the guest's kernel has complained of nothing about NVMe."""
        lines = [line for line in self._vm.check("dmesg").splitlines()
                 if re.search(r"nvme", line) and not FINE.search(line)]
        if lines:
            raise LabError("the guest's kernel says:\n" + "\n".join(lines[-20:]))
        return "the guest's kernel says nothing but what it has made and removed"


def expect_fields(what: str, seen: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Each field must be there with that value."""
    wrong = [f"{name} is {seen.get(name)!r}, not {value!r}"
             for name, value in wanted.items() if seen.get(name) != value]
    if wrong:
        raise LabError(f"{what}: {'; '.join(wrong)}")
