#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes docs/API.md: every call of the daemon's API with an example by grpcurl, curl and remora.

It reads api/**/*.proto, so no call can be missing. Run it after a change of a .proto file.

  tools/api_page.py            writes the page
  tools/api_page.py --check    says whether the page is what it would write; exit code 1 if not
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "API.md"
SCALARS = {"string", "bytes", "bool", "int32", "int64", "uint32", "uint64", "double"}
UUID = "11111111-2222-4333-8444-555555555555"

# The CLI's kind of a resource, an example of its id, and what `remora create` is given besides.
KINDS = {
    "MallocVolume": ("malloc", "disk0", "--size 64M"),
    "NullVolume": ("null", "null0", "--size 1G"),
    "AioVolume": ("aio", "file0", "--file /var/lib/remora/file0.img --size 10G"),
    "QosVolume": ("qos", "slow0", "--volume disk0 --kiops 10"),
    "EncryptedVolume": ("encrypted", "secret0", "--volume disk0 --key-file /etc/remora/secret0.key"),
    "IntegrityVolume": ("integrity", "checked0", "--volume disk0"),
    "RaidVolume": ("raid", "array0", "--level 1 --members disk0,disk1"),
    "FaultInjection": ("fault", "slow-reads", "--volume disk0 --delay read --mean-us 5000"),
    "Capacity": ("capacity", "own", "--kiops 100 --mbs 1000"),
    "NvmeSubsystem": ("subsystem", "lab", "--nqn nqn.2026-11.example.remora:lab"),
    "NvmeController": ("controller", "lab/tcp", "--listen 127.0.0.1:4420"),
    "NvmeNamespace": ("namespace", "lab/disk0", "--volume disk0"),
    "NvmeRemoteController": ("remote-controller", "array", ""),
    "NvmePath": ("path", "array/p0", "--address 127.0.0.1:4420 --nqn nqn.2026-11.example.remora:lab"),
    "NvmeRemoteNamespace": ("remote-namespace", "array/1", ""),
    "VirtioBlk": ("virtio-blk", "vda", "--function 1 --volume disk0"),
    "DiscoveryReferral": ("referral", "other", "--address 192.0.2.7:8009"),
    "Attachment": ("attachment", "3", ""),
}
OWN_COMMANDS = {
    "AttachVolume": f"remora attach --discovery 127.0.0.1:4420 --volume {UUID} --function 3",
    "DetachVolume": "remora detach --function 3",
    "GetStatus": "remora status",
    "SetPathPolicy": "remora path-policy --remote array --policy round-robin",
    "SetConnectionTimings": "remora timings --remote array --keep-alive 10",
    "GetVolumeStats": "remora stats volume disk0",
    "ForgetVolumeKey": "remora forget-key --volume disk0",
    "RekeyVolume": "remora rekey secret0 --key-file /etc/remora/secret0-new.key --wait",
    "GetRekey": "remora rekey secret0",
    "SetAnaState": "remora ana lab/tcp --set inaccessible",
    "GetAnaState": "remora ana lab/tcp",
    "GetInventory": "remora inventory",
    "GetCapabilities": "remora capabilities",
    "ListVolumes": "remora volumes",
    "ListConditions": "remora conditions",
    "WatchResources": "remora watch",
    "ResetNvmeRemoteController": "remora reset array",
    "ReplaceRaidMember": "remora replace-member array0 --member disk1 --with disk2 --wait",
    "RemoveRaidMember": "remora remove-member array0 --member disk1",
    "ScrubRaidVolume": "remora scrub raid array0 --wait",
    "ScrubIntegrityVolume": "remora scrub integrity checked0 --wait",
    "RunBenchmark": "remora bench --volume disk0 --rw read --bs 4096 --qd 32 --time 5",
}
UPDATES = {
    "MallocVolume": "remora resize malloc disk0 --size 128M",
    "NullVolume": "remora resize null null0 --size 2G",
    "AioVolume": "remora resize aio file0 --size 20G",
    "QosVolume": "remora limit qos slow0 --kiops 20",
    "RaidVolume": "remora apply -f site.yaml",
    "IntegrityVolume": "remora apply -f site.yaml",
    "FaultInjection": "remora apply -f site.yaml",
    "Capacity": "remora apply -f site.yaml",
    "NvmeController": "remora limit controller lab/tcp --kiops 50 --min-kiops 10",
    "VirtioBlk": "remora limit virtio-blk vda --write-mbs 100",
}
# What a field of that name holds in an example.
VALUES = {
    "block_size": 4096, "blocks_count": 16384, "filename": "/var/lib/remora/file0.img",
    "volume_name_ref": "disk0", "traddr": "127.0.0.1", "trsvcid": "4420", "volume_uuid": UUID,
    "nqn": "nqn.2026-11.example.remora:lab", "subnqn": "nqn.2026-11.example.remora:lab",
    "rw_iops_kiops": 10, "multipath": "NVME_MULTIPATH_DISABLE", "trtype": "NVME_TRANSPORT_TYPE_TCP",
    "adrfam": "NVME_ADDRESS_FAMILY_IPV4", "io_bytes": 4096, "queue_depth": 32, "seconds": 5,
    "pattern": "PATTERN_READ", "policy": "PATH_POLICY_ROUND_ROBIN", "remote_controller": "nvmeRemoteControllers/array",
    "ana_state": "ANA_STATE_INACCESSIBLE", "host_function": 3, "port_id": 0, "virtual_function": 0,
    "physical_function": 1, "cipher": "ENCRYPTION_TYPE_AES_XTS_256", "target_name_ref": "scsi0",
    "level": "RAID_LEVEL_1", "members": ["disk0", "disk1"], "member": "disk1", "replacement": "disk2",
    "mean": "0.005s",
}
# Not required one by one, but without which an example would do nothing.
WANTED = {"QosLimit": ["rw_iops_kiops"], "Limits": ["max"], "DetachVolumeRequest": ["host_function"],
          "NvmeControllerSpec": ["trtype", "fabrics_id"], "NvmePath": ["fabrics"],
          "FaultInjection": ["delays"], "ReplaceRaidMemberRequest": ["replacement"],
          "FabricsEndpoint": ["traddr", "trsvcid", "adrfam"], "RunBenchmarkRequest": ["seconds"]}


@dataclass
class Field:
    kind: str
    name: str
    required: bool
    repeated: bool


@dataclass
class Call:
    service: str
    name: str
    request: str
    response: str
    streams: bool
    verb: str
    route: str
    body: str
    comment: str


@dataclass
class Api:
    messages: dict[str, list[Field]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)


def block_at(text: str, start: int) -> str:
    """What is between the braces that open at or behind `start`."""
    begin = text.index("{", start)
    depth = 0
    for at in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return text[begin + 1:at]
    raise ValueError("a brace is not closed")


def read_messages(text: str, api: Api) -> None:
    for found in re.finditer(r"\bmessage (\w+) \{", text):
        body = block_at(text, found.start())
        own = re.sub(r"\b(?:message|enum) \w+ \{.*?\n\s*\}", "", body, flags=re.S)
        fields = re.findall(r"(repeated |optional )?([\w.]+) (\w+) = \d+\s*(\[.*?\])?;", own, flags=re.S)
        api.messages[found.group(1)] = [
            Field(kind.rsplit(".", 1)[-1], name, "REQUIRED" in options, label.strip() == "repeated")
            for label, kind, name, options in fields if kind not in ("option", "reserved")]


def read_calls(raw: str, text: str, package: str, api: Api) -> None:
    for service in re.finditer(r"\bservice (\w+) \{", text):
        body = block_at(text, service.start())
        for rpc in re.finditer(r"rpc (\w+)\((\w+)\)\s+returns \((stream )?([\w.]+)\)", body):
            http = block_at(body, body.index("google.api.http", rpc.end()))
            verb, route = re.search(r"(get|post|patch|delete|put): \"(.*?)\"", http).groups()
            sent = re.search(r"body: \"(.*?)\"", http)
            said = re.search(r"((?:[ \t]*//[^\n]*\n)+)[ \t]*rpc " + rpc.group(1) + r"\(", raw)
            comment = " ".join(line.strip().lstrip("/").strip() for line in said.group(1).splitlines()) if said else ""
            api.calls.append(Call(f"{package}.{service.group(1)}", rpc.group(1), rpc.group(2), rpc.group(4),
                                  bool(rpc.group(3)), verb.upper(), route, sent.group(1) if sent else "", comment))


def read_api() -> Api:
    api = Api()
    for path in sorted((ROOT / "api").rglob("*.proto")):
        raw = path.read_text(encoding="utf-8")
        text = re.sub(r"//[^\n]*", "", raw)
        package = re.search(r"^package ([\w.]+);", text, flags=re.M).group(1)
        read_messages(text, api)
        read_calls(raw, text, package, api)
    return api


def resource_of(call: Call) -> str:
    name = re.sub(r"^(Create|Delete|Update|List|Get|Stats|Reset|Scrub|Replace|Remove)", "", call.name)
    name = name.replace("RaidMember", "RaidVolume")
    for kind in KINDS:
        if name in (kind, kind + "s", re.sub("y$", "ies", kind)):
            return kind
    return name


def name_in_route(call: Call) -> str:
    """The resource name that the route's pattern takes, with the kind's example ids."""
    pattern = re.search(r"\{[\w.]*?name=(.*?)\}|\{(?:name|parent|remote_controller)=(.*?)\}", call.route)
    if pattern is None:
        return ""
    ids = KINDS.get(resource_of(call), ("", "x0", ""))[1].split("/")
    parts = (pattern.group(1) or pattern.group(2)).split("/")
    if call.name.startswith("List") or call.name.startswith("Create"):
        ids = ids[:1]
    elif "AnaState" in call.name:
        ids = ["lab", "tcp"]
    elif "Attachment" not in call.name and parts.count("*") > len(ids):
        ids = [*ids, "x0"]
    if "remote_controller=" in call.route:
        ids = ["array"]
    return "/".join(ids.pop(0) if part == "*" and ids else part for part in parts)


def example(api: Api, message: str, call: Call, depth: int = 0) -> dict:
    out: dict = {}
    for one in api.messages.get(message, []):
        if not one.required and one.name not in WANTED.get(message, []):
            continue
        if one.name == "name":
            value = name_in_route(call)
        elif one.name == "parent":
            value = name_in_route(call) or "todo"
        elif one.name in VALUES:
            value = VALUES[one.name]
            if one.name == "trsvcid" and one.kind != "string":
                value = int(value)
        elif one.kind == "bytes":
            value = "a" * 86 + "=="
        elif one.kind == "string":
            value = "x0"
        elif one.kind in SCALARS:
            value = 1
        elif one.kind in api.messages and depth < 4:
            value = example(api, one.kind, call, depth + 1)
        else:
            continue
        out[one.name] = [value] if one.repeated and not isinstance(value, list) else value
    return out


def complete(api: Api, call: Call) -> dict:
    """The request, with what makes the example whole."""
    out = example(api, call.request, call)
    kind, name, _ = KINDS.get(resource_of(call), ("", "x0", ""))
    if call.name.startswith("Create"):
        for one in api.messages[call.request]:
            if one.name.endswith("_id"):
                out[one.name] = name.rsplit("/", 1)[-1]
    if call.name.startswith("Update") and call.body in out:
        out[call.body] = {"name": name_in_route(call), **out[call.body]}
    return out


def by_curl(call: Call, request: dict) -> str:
    rest = dict(request)
    route = re.sub(r"\{[^}]*\}", name_in_route(call), call.route)
    body = rest.pop(call.body, {}) if call.body not in ("", "*") else (rest if call.body else None)
    if call.body == "*":
        taken = re.findall(r"\{(\w+)=", call.route)
        body = {key: value for key, value in rest.items() if key not in taken}
        rest = {}
    query = "&".join(f"{key}={value}" for key, value in rest.items()
                     if key not in ("name", "parent") and not isinstance(value, (dict, list)))
    words = ["curl", *(["-X", call.verb] if call.verb != "GET" else [])]
    words.append(shlex.quote("http://127.0.0.1:8082" + route + ("?" + query if query else "")))
    if body is not None:
        body = {key: value for key, value in body.items() if not (key == "name" and call.verb == "PATCH")}
        words += ["-d", shlex.quote(json.dumps(body))]
    return " ".join(words)


def by_remora(call: Call) -> str:
    resource = resource_of(call)
    if call.name in OWN_COMMANDS:
        return OWN_COMMANDS[call.name]
    if resource not in KINDS:
        return ""
    kind, name, flags = KINDS[resource]
    parent = " " + name.split("/")[0] if "/" in name else ""
    verbs = {"Create": f"remora create {kind} {name} {flags}".rstrip(), "Delete": f"remora delete {kind} {name}",
             "List": f"remora list {kind}{parent}", "Get": f"remora get {kind} {name}",
             "Stats": f"remora stats {kind} {name}", "Update": UPDATES.get(resource, "")}
    verb = re.match(r"[A-Z][a-z]+", call.name).group(0)
    return verbs.get(verb, "")


def write(api: Api) -> str:
    lines = ["# The API", "",
             "Every call, with an example by `grpcurl`, `curl` and `remora`. Written by `tools/api_page.py` from the",
             "`.proto` files under `api/`, which say what each field means. The daemon answers gRPC at `--grpc`", "(with"
             " reflection and health), and REST by the annotated routes at `--rest`; `GET /openapi.json`",
             "describes those. `GetCapabilities` says which of the calls this build and platform can do.", ""]
    services: dict[str, list[Call]] = {}
    for call in api.calls:
        services.setdefault(call.service, []).append(call)
    for service in sorted(services):
        lines += [f"## {service}", ""]
        for call in services[service]:
            request = complete(api, call)
            sent = f" -d {shlex.quote(json.dumps(request))}" if request else ""
            lines += [f"### {call.name}", "", f"`{call.verb} {call.route}`"
                      + (" (not by REST: a stream)" if call.streams else "") + f", answers `{call.response}`.", ""]
            if call.comment:
                lines += [call.comment, ""]
            lines += ["```", f"grpcurl -plaintext{sent} 127.0.0.1:50051 {call.service}/{call.name}"]
            if not call.streams:
                lines.append(by_curl(call, request))
            if command := by_remora(call):
                lines.append(command)
            lines += ["```", ""]
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    check = parser.parse_args().check
    page = write(read_api())
    if not check:
        PAGE.write_text(page, encoding="utf-8")
        return 0
    if PAGE.read_text(encoding="utf-8") != page:
        print("docs/API.md is not what the .proto files say: run tools/api_page.py", file=sys.stderr)
        return 1
    print(f"docs/API.md has all {page.count(chr(10) + '### ')} calls")
    return 0


if __name__ == "__main__":
    sys.exit(main())
