# SPDX-License-Identifier: Apache-2.0
"""Whether what nvme-cli says of the target's volumes, and does with them, is right.

Every value is compared with what is known from elsewhere: the volumes that the scenario made, the
target's API, bytes written before. An exit code alone proves nothing here.
"""

from __future__ import annotations

from nvme_cli import FIRST, NvmeCli, expect_fields
from paths import LabError
from target import NQN, Volume
from vm import Vm

BLOCK = 512
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
# ONCS bits, NVM Express Base Specification 2.0, Identify Controller.
COMPARE, WRITE_UNCOR, DSM, WRITE_ZEROES, VERIFY, COPY = (1 << bit for bit in (0, 1, 2, 3, 7, 8))
# Commands by their opcodes, as the effects log names them, and whether they change what is stored.
OPTIONAL = {COMPARE: ("IOCS_5", False), WRITE_UNCOR: ("IOCS_4", True), DSM: ("IOCS_9", True),
            WRITE_ZEROES: ("IOCS_8", True), VERIFY: ("IOCS_12", False), COPY: ("IOCS_25", True)}
ALWAYS = {"IOCS_0": False, "IOCS_1": True, "IOCS_2": False}


def size_of(volume: Volume) -> int:
    number, unit = volume.size.rstrip("KMG"), volume.size.lstrip("0123456789")
    return int(number) * UNITS[unit]


def check_identify(cli: NvmeCli, volumes: list[Volume]) -> str:
    """list, id-ctrl, id-ns, ns-descs and list-ns of the first host, for all the target's volumes."""
    controller = cli.controller(FIRST)
    nsids = cli.nsids()
    about = cli.json(f"id-ctrl /dev/{controller}")
    expect_fields("id-ctrl", about, {
        "subnqn": NQN, "cntrltype": 1, "sqes": 0x66, "cqes": 0x44, "iorcsz": 1, "icdoff": 0,
        "cmic": about["cmic"] | 3})
    needed = COMPARE | WRITE_UNCOR | DSM | WRITE_ZEROES | VERIFY | COPY
    if about["oncs"] & needed != needed or about["ver"] < 0x10400 or not about["mn"].strip():
        raise LabError(f"id-ctrl: oncs {about['oncs']:#x}, ver {about['ver']:#x}, mn {about['mn']!r}")
    shown = {entry["DevicePath"]: entry for entry in cli.json("list")["Devices"]}
    seen = [entry["nsid"] for entry in cli.json(f"list-ns /dev/{controller}")["nsid_list"]]
    if seen != sorted(nsids.values()):
        raise LabError(f"list-ns shows {seen}, the target's API {sorted(nsids.values())}")
    for volume in volumes:
        device = f"/dev/{cli.device(volume)}"
        nsid, size = nsids[volume.uuid], size_of(volume)
        expect_fields(f"list, {device}", shown.get(device, {}), {
            "NameSpace": nsid, "PhysicalSize": size, "SectorSize": BLOCK,
            "SerialNumber": about["sn"].strip(), "ModelNumber": about["mn"].strip(),
            "Firmware": about["fr"].strip()})
        space = cli.json(f"id-ns {device}")
        expect_fields(f"id-ns {device}", space, {
            "nsze": size // BLOCK, "ncap": size // BLOCK, "mc": 0, "dps": 0, "nmic": 1})
        form = space["lbafs"][space["flbas"] & 0xF]
        expect_fields(f"id-ns {device}, its format", form, {"ds": 9, "ms": 0})
        descriptors = {entry["type"]: entry for entry in cli.json(f"ns-descs {device}")["ns-descs"]}
        expect_fields(f"ns-descs {device}", descriptors["uuid"], {"uuid": volume.uuid, "nidl": 16})
        expect_fields(f"ns-descs {device}", descriptors["csi"], {"csi": "0"})
        independent = cli.json(f"cmdset-ind-id-ns /dev/{controller} -n {nsid}")
        expect_fields(f"cmdset-ind-id-ns {device}", independent, {"nmic": 1, "nstat": 1})
    absent = max(nsids.values()) + 1
    cli.refused(f"ns-descs /dev/{controller} -n {absent}", "Invalid Namespace")
    if cli.json(f"id-ns /dev/{controller} -n {absent}")["nsze"] != 0:
        raise LabError(f"id-ns of the absent namespace {absent} is not zeros")
    return f"{controller}: {about['mn'].strip()} {about['fr'].strip()}, namespaces {seen}"


def check_logs(cli: NvmeCli) -> str:
    """The log pages of the first host's controller, and that pages it has not are refused."""
    device = f"/dev/{cli.controller(FIRST)}"
    about = cli.json(f"id-ctrl {device}")
    effects = {name.split()[0]: value for name, value in
               cli.json(f"effects-log {device} -c 0")[0]["io_cmd_set"].items()}
    wanted = dict(ALWAYS)
    wanted.update(effect for bit, effect in OPTIONAL.items() if about["oncs"] & bit)
    for name, writes in wanted.items():
        if effects.get(name, 0) & 3 != (3 if writes else 1):
            raise LabError(f"effects-log: {name} is {effects.get(name)}; ONCS {about['oncs']:#x}")
    health = cli.json(f"smart-log {device}")
    expect_fields("smart-log", health, {"critical_warning": 0, "avail_spare": 100, "media_errors": "0"})
    if not 273 < health["temperature"] < 273 + 100:
        raise LabError(f"smart-log: {health['temperature']} K")
    firmware = cli.check(f"fw-log {device}")
    revision = int.from_bytes(about["fr"].encode(), "little")
    if "afi  : 0x1\n" not in firmware or f"frs1 : {revision:#x} " not in firmware:
        raise LabError(f"fw-log does not name the running firmware {about['fr']}: {firmware}")
    # The kernel has read what changed while it connected, so nothing is left.
    changed = cli.check(f"get-log {device} --log-id=4 --log-len=4096 -b | tr -d '\\000' | wc -c")
    if changed.strip() != "0":
        raise LabError(f"the changed namespace list has {changed.strip()} bytes that are not zero")
    cli.refused(f"get-log {device} --log-id=0x70 --log-len=1024", "Invalid Log Page")
    cli.refused(f"get-log {device} --log-id=0xc0 --log-len=512", "Invalid Log Page")
    errors = [entry["error_count"] for entry in cli.json(f"error-log {device}")["errors"]]
    if not errors or not errors[0] or errors != sorted(errors, reverse=True):
        raise LabError(f"error-log: two commands were refused, and it has {errors}")
    return f"effects {', '.join(sorted(effects))}; {health['temperature'] - 273} C"


class BlockChecks:
    """Commands on one volume's blocks by nvme-cli, each read back. Overwrites its first blocks."""

    COUNT = 8  # blocks of a pattern

    def __init__(self, cli: NvmeCli, vm: Vm, volume: Volume) -> None:
        self._cli = cli
        self._vm = vm
        self._device = f"/dev/{cli.device(volume)}"
        self._last = size_of(volume) // BLOCK - 1

    def run(self) -> str:
        self._vm.check(f"cd /tmp && head -c {self.COUNT * BLOCK} /dev/urandom > one && "
                       f"head -c {self.COUNT * BLOCK} /dev/urandom > two && "
                       f"head -c {self.COUNT * BLOCK} /dev/zero > zeros")
        self._write_read_compare()
        self._verify()
        self._copy()
        self._zeroes()
        self._deallocate()
        self._uncorrectable()
        self._beyond()
        return ("write, read, flush, compare, verify, copy, write-zeroes, dsm and write-uncor do what they "
                "should")

    def _range(self, block: int) -> str:
        return f"-s {block} -c {self.COUNT - 1} -z {self.COUNT * BLOCK}"

    def _write(self, block: int, pattern: str) -> None:
        self._cli.check(f"write {self._device} {self._range(block)} -d /tmp/{pattern}")

    def _expect(self, block: int, pattern: str) -> None:
        self._cli.check(f"read {self._device} {self._range(block)} -d /tmp/read")
        self._vm.check(f"cmp /tmp/read /tmp/{pattern}")

    def _write_read_compare(self) -> None:
        self._write(8, "one")
        self._cli.check(f"flush {self._device}")
        self._expect(8, "one")
        self._cli.check(f"compare {self._device} {self._range(8)} -d /tmp/one")
        self._cli.refused(f"compare {self._device} {self._range(8)} -d /tmp/two", "Compare Failure")
        self._cli.refused(f"compare {self._device} {self._range(9)} -d /tmp/one", "Compare Failure")
        # The kernel's own reads see it, too.
        self._vm.check(f"dd if={self._device} iflag=direct bs=4096 skip=1 count=1 2>/dev/null | cmp - /tmp/one")

    def _verify(self) -> None:
        self._cli.check(f"verify {self._device} -s 0 -c {self._last if self._last < 65536 else 65535}")

    def _copy(self) -> None:
        """Two sources into one destination, in the order of the ranges."""
        self._write(16, "two")
        half = self.COUNT // 2
        self._cli.check(f"copy {self._device} --sdlba=64 --slbs=16,8 --blocks={half - 1},{half - 1}")
        self._vm.check(f"(head -c {half * BLOCK} /tmp/two; head -c {half * BLOCK} /tmp/one) > /tmp/both")
        self._expect(64, "both")
        self._expect(8, "one")

    def _zeroes(self) -> None:
        self._write(128, "one")
        self._cli.check(f"write-zeroes {self._device} -s 130 -c 1")
        self._vm.check("(head -c 1024 /tmp/one; head -c 1024 /dev/zero; tail -c +2049 /tmp/one) > /tmp/holed")
        self._expect(128, "holed")
        self._cli.check(f"write-zeroes {self._device} -s 128 -c 7 --deac")
        self._expect(128, "zeros")

    def _deallocate(self) -> None:
        """What was deallocated reads as zeros when id-ns says so (DLFEAT 2:0 is 1)."""
        promise = self._cli.json(f"id-ns {self._device}")["dlfeat"] & 7
        self._write(256, "one")
        self._write(512, "two")
        self._cli.check(f"dsm {self._device} --ad --slbs=256,512 --blocks=8,8")
        if promise == 1:
            self._expect(256, "zeros")
            self._expect(512, "zeros")
        self._expect(8, "one")

    def _uncorrectable(self) -> None:
        """Marked blocks cannot be read, whatever the command, until they are written again."""
        self._write(1024, "one")
        self._cli.check(f"write-uncor {self._device} -s 1026 -c 1")
        for command in (f"read {self._device} {self._range(1024)} -d /tmp/read",
                        f"compare {self._device} {self._range(1024)} -d /tmp/one",
                        f"verify {self._device} -s 1024 -c 7",
                        f"copy {self._device} --sdlba=2048 --slbs=1024 --blocks=7"):
            self._cli.refused(command, "Unrecovered Read Error")
        self._cli.check(f"verify {self._device} -s 1024 -c 1")
        self._cli.check(f"verify {self._device} -s 1028 -c 3")
        self._write(1024, "two")
        self._expect(1024, "two")

    def _beyond(self) -> None:
        """The last block is there and the one behind it is not, whatever the command."""
        self._cli.check(f"verify {self._device} -s {self._last} -c 0")
        beyond = self._last - 1
        for command in (f"read {self._device} {self._range(beyond)} -d /tmp/read",
                        f"write {self._device} {self._range(beyond)} -d /tmp/one",
                        f"compare {self._device} {self._range(beyond)} -d /tmp/one",
                        f"verify {self._device} -s {beyond} -c 7",
                        f"write-zeroes {self._device} -s {beyond} -c 7",
                        f"write-uncor {self._device} -s {beyond} -c 7",
                        f"copy {self._device} --sdlba=0 --slbs={beyond} --blocks=7",
                        f"copy {self._device} --sdlba={beyond} --slbs=8 --blocks=7"):
            self._cli.refused(command, "LBA Out of Range")
        self._expect(8, "one")


def check_reservation(cli: NvmeCli, host: str, volume: Volume, wanted: dict[str, str]) -> str:
    """resv-report as a host sees it: `rtype=N`, and who has registered which key:
    HOST=KEY, with `*` behind the key of the holder."""
    device = f"/dev/{cli.device_of(host, volume)}"
    report = cli.json(f"resv-report {device} -e")
    seen = {"rtype": str(report["rtype"])}
    names = {identifier.replace("-", ""): name for name, identifier in cli.known().items()}
    for entry in report.get("regctlext", []):
        # Some controllers' registrants appear once for each controller of their host.
        who = names.get(str(entry["hostid"]).replace("-", "").lower(), str(entry["hostid"]))
        seen[who] = f"{entry['rkey']}{'*' if entry['rcsts'] & 1 else ''}"
    if seen != wanted:
        raise LabError(f"resv-report says {seen}, not {wanted}: {report}")
    return " ".join(f"{name}={value}" for name, value in seen.items())
