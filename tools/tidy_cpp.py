# SPDX-License-Identifier: Apache-2.0
"""tools/tidy.py's rules about C++: layers, third-party headers, banned calls, lengths, headers.

Rough text matching, no compiler: quick, and exact enough for the way this project is formatted.
"""

import functools
import posixpath
import re
from collections.abc import Iterator

from tidy_tree import Finding, Tree

# Ranks of src/. An include may only go down; equal ranks never include each other, and neither do
# two sub-folders of a folder in SPLIT. docs/ARCHITECTURE.md shows the same table.
RANKS = {
    "core": 0,
    "memory": 1, "reactor": 1,
    "block": 2,
    "nvme": 3, "virtio": 3, "vfio_user": 3,
    "backends": 4, "services": 4, "frontends": 4,
    "node": 5, "platform": 5,
    "control": 6, "rest": 6, "cli": 6, "csi": 6,
    "apps": 7,
}
SPLIT = {"backends", "services", "frontends"}
# The real world's half of reactor/: above reactor/ itself, and only the composition root, the
# programs, tests and benchmarks may know it.
LINUX = "reactor/linux"
LINUX_USERS = {LINUX, "node", "apps", "tests", "bench"}

# Where third-party headers may be included: folders, files, or the tests of a folder.
THIRD_PARTY = [
    (re.compile(r"^(grpc|grpcpp|google)/|\.pb\.h$"), "gRPC and protobuf",
     {"control", "rest", "cli", "csi", "apps", "tests/unit/api", "tests/fuzz/validation.cc", "tests/fuzz/api"}),
    (re.compile(r"^(spdlog|fmt)/"), "the logging library", {"core/log.cc"}),
    (re.compile(r"^nlohmann/"), "nlohmann-json", {"platform", "control", "rest", "cli", "tests/unit/api", "tests/fuzz/api", "tests/sim/host"}),
    (re.compile(r"^httplib\.h$"), "cpp-httplib", {"rest"}),
    (re.compile(r"^CLI/"), "CLI11", {"cli", "tests/sim/runner", "apps", "bench"}),
    (re.compile(r"^yaml-cpp/"), "yaml-cpp", {"cli"}),
    (re.compile(r"^liburing"), "liburing", {"reactor/linux"}),
    (re.compile(r"^sqlite3\.h$"), "SQLite", {"control", "tests/sim/oracle"}),
    (re.compile(r"^isa-l"), "ISA-L", {"core", "bench"}),
    (re.compile(r"^openssl/"), "OpenSSL", {"services/crypto", "control", "tests/unit/crypto", "bench"}),
]

# Headers that open a door to the world. Only reactor/linux has doors; the rest is named here.
WORLD_HEADERS = re.compile(
    r"^(sys/.*|netinet/.*|arpa/.*|linux/.*|net/.*|netdb\.h|fcntl\.h|unistd\.h|poll\.h|pthread\.h|sched\.h|"
    r"signal\.h|csignal|ctime|time\.h|thread|random|fstream|filesystem|mutex|shared_mutex|"
    r"condition_variable|future|semaphore|latch|barrier|stop_token|atomic)$")
ALLOWED_HEADERS = [
    (r"reactor/(mailbox|reactor)\.h", r"atomic", "how other threads reach a reactor"),
    (r"memory/zeroed_memory\.cc", r"sys/mman\.h", "asks for huge pages; what memory is made of is no world to simulate"),
    (r"block/loan\.h", r"atomic", "who reads a volume's memory, for writers on all reactors"),
    (r"backends/ram/(page_locks|ram_device)\.h", r"atomic", "one memory for all reactors"),
    (r"virtio/.*", r"atomic", "memory order towards a guest's rings"),
    (r"services/fault/fault_plan\.h", r"atomic", "one count for all reactors"),
    (r"services/integrity/(integrity_shared|lock_word)\.h", r"atomic", "one cache of checksums for all reactors"),
    (r"services/qos/(limiter|qos_stage|share|time_line)\.h", r"atomic", "one limit for all reactors"),
    (r"services/raid/(intent|parity_log|raid_home|raid_shared|range_locks)\.h", r"atomic", "what all reactors know of an array"),
    (r"control/sqlite_store\.cc", r"fcntl\.h|filesystem|sys/file\.h|unistd\.h",
     "SQLite opens files; one process holds the lock"),
    (r"control/audit_file\.cc", r"fcntl\.h|filesystem|sys/(file|stat)\.h|unistd\.h",
     "the audit log's file, written on gRPC's threads"),
    (r"control/seal_key_file\.cc", r"fcntl\.h|filesystem|sys/stat\.h|unistd\.h", "the seal key's file"),
    (r"control/daemon\.cc", r"filesystem", "makes the state folder at start"),
    (r"core/log_limiter\.h", r"mutex", "lines of several threads"),
    (r"control/.*", r"mutex|condition_variable|future|atomic|semaphore|latch", "gRPC's threads"),
    (r"platform/machine_files\.cc", r"fstream|filesystem", "what the kernel tells of the machine, on gRPC's threads"),
    (r"rest/connection\.(cc|h)", r"arpa/inet\.h|atomic|netinet/(in|tcp)\.h|poll\.h|sys/socket\.h|unistd\.h", "HTTP clients' sockets"),
    (r"rest/http_server\.(cc|h)", r"sys/socket\.h|mutex|condition_variable|future|semaphore", "the HTTP library's threads and listener"),
    (r"rest/caller\.h", r"mutex", "calls of several threads"),
    (r"cli/.*", r"unistd\.h|sys/ioctl\.h|fstream|filesystem|csignal|atomic", "a terminal, and files named by its user"),
    (r"apps/.*", r"csignal|signal\.h|unistd\.h|atomic|filesystem|sys/prctl\.h", "a program's signals"),
]

BANNED_CALLS = [
    (re.compile(r"\b(steady_clock|system_clock|high_resolution_clock)::now\b|\bclock_gettime\s*\(|"
                r"\bgettimeofday\s*\(|\bstd::time\s*\(|(?<![\w.:>])time\s*\(\s*(nullptr|NULL|0)\s*\)"),
     "clock", "time comes from Reactor::now() or a Clock that is passed in"),
    (re.compile(r"\bstd::(jthread|thread)\b(?!::id)|\bpthread_create\b|\bstd::async\b"),
     "thread", "threads are made by reactor/linux; reach another one through Reactor::post"),
    (re.compile(r"\bsleep_until\s*\(|\bstd::this_thread::sleep|(?<![\w.:])(?:::)?(usleep|nanosleep|sleep)\s*\((?=\s*[^\s)])"),
     "sleep", "wait for a Signal with a deadline, or co_await sleep_for"),
    (re.compile(r"\bstd::random_device\b|(?<![\w.:>])(?:std::)?s?rand\s*\(|\bgetrandom\s*\("),
     "random", "random numbers come from a Prng that is passed in"),
    (re.compile(r"(?<![\w.:>])::(open|close|read|write|socket|connect|bind|listen|accept4?|mmap|munmap|"
                r"ftruncate|fallocate|send|recv|sendmsg|recvmsg|poll|epoll_wait|eventfd|unlink)\s*\(|"
                r"\b(mmap|munmap|ftruncate|memfd_create|epoll_create1?|timerfd_create)\s*\("),
     "system-call", "go through reactor/io.h; only reactor/linux calls the system"),
]
CALL_EXCEPTIONS = [
    (r"core/log\.cc", {"clock"}),  # how often a line may be written to a real file
    (r"control/sqlite_store\.cc", {"system-call"}),
    (r"control/audit_file\.cc", {"system-call"}),
    (r"control/seal_key_file\.cc", {"system-call"}),
    (r"rest/connection\.cc", {"system-call"}),
    (r"apps/.*", {"system-call"}),
    (r"cli/.*", {"system-call", "clock"}),  # gRPC's deadlines are wall clock times
]

INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.MULTILINE)
LITERALS = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"([^(\s]*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|(?<![0-9A-Fa-f])\'(?:\\.|[^\'\\\n])+\'',
    re.DOTALL)


def is_cpp(path: str) -> bool:
    return path.endswith((".cc", ".h")) and path.startswith(("src/", "tests/", "bench/"))


def unit_of(path: str) -> str:
    """The layer a file belongs to: `nvme`, `backends/ram`, `reactor/linux`, `tests`."""
    parts = path.split("/")
    if parts[0] != "src":
        return parts[0]
    if "/".join(parts[1:3]) == LINUX or parts[1] in SPLIT:
        return "/".join(parts[1:3])
    return parts[1]


def rank_of(unit: str) -> float | None:
    if unit == LINUX:
        return RANKS["reactor"] + 0.5
    return RANKS.get(unit.split("/")[0])


@functools.cache
def blank(text: str) -> str:
    """The text without comments, strings and characters; every line keeps its number."""
    return LITERALS.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), text)


def line_at(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1


def check_includes(tree: Tree) -> Iterator[Finding]:
    for path, text in tree.select(is_cpp):
        unit = unit_of(path)
        if path.startswith("src/") and rank_of(unit) is None:
            yield Finding(path, 1, "layer", f"src/{unit} has no rank; give it one in tools/tidy_cpp.py and docs/ARCHITECTURE.md")
            continue
        for found in INCLUDE.finditer(text):
            line, header = line_at(text, found.start()), found.group(2)
            third_party = next((row for row in THIRD_PARTY if row[0].search(header)), None)
            if third_party:
                yield from check_third_party(path, line, header, third_party)
            elif found.group(1) == '"' or (header.endswith(".h") and tree.has("src/" + header)):
                yield from check_layer(tree, path, line, header)


def check_third_party(path: str, line: int, header: str, row: tuple) -> Iterator[Finding]:
    _, library, allowed = row
    unit = unit_of(path)
    inside = path.removeprefix("src/")
    tests = {f"tests/unit/{place}" for place in allowed} | {place for place in allowed if place.startswith("tests/")}
    if unit in allowed or inside in allowed or any(path.startswith(place + "/") for place in tests):
        return
    yield Finding(path, line, "third-party", f"<{header}>: {library} is only for {', '.join(sorted(allowed))}")


def check_layer(tree: Tree, path: str, line: int, header: str) -> Iterator[Finding]:
    target = "src/" + header
    if not tree.has(target):
        if path.startswith("src/") or not tree.has(header):
            yield Finding(path, line, "include", f'"{header}" is not a file of src/; includes are written from src/')
        return
    here, there = unit_of(path), unit_of(target)
    if there == LINUX and here not in LINUX_USERS:
        yield Finding(path, line, "layer", f"reactor/linux is only for {', '.join(sorted(LINUX_USERS - {LINUX}))}; use the seams of reactor/")
        return
    if not path.startswith("src/") or here == there:
        return
    rank, other = rank_of(here), rank_of(there)
    if other is None or rank <= other:
        way = "up" if other is None or rank < other else "sideways"
        yield Finding(path, line, "layer", f"{here} includes {there}, which goes {way}; an include may only go down the ranks")


def check_world(tree: Tree) -> Iterator[Finding]:
    """Nothing but reactor/linux touches the operating system; tests only must not sleep."""
    for path, text in tree.select(is_cpp):
        code = blank(text)
        if unit_of(path) == LINUX:
            continue
        inside = path.removeprefix("src/")
        if path.startswith("src/"):
            for found in INCLUDE.finditer(text):
                if found.group(1) == "<" and WORLD_HEADERS.match(found.group(2)) and not header_allowed(inside, found.group(2)):
                    yield Finding(path, line_at(text, found.start()), "world",
                                  f"<{found.group(2)}>: only reactor/linux touches the system; use the seams of reactor/")
        excused = set().union(*(names for place, names in CALL_EXCEPTIONS if re.fullmatch(place, inside)))
        for pattern, name, right in BANNED_CALLS:
            if name in excused or (not path.startswith("src/") and name != "sleep"):
                continue
            for found in pattern.finditer(code):
                yield Finding(path, line_at(code, found.start()), name, f"`{found.group().strip()}`: {right}")


def header_allowed(inside: str, header: str) -> bool:
    return any(re.fullmatch(place, inside) and re.fullmatch(names, header) for place, names, _ in ALLOWED_HEADERS)


POINTER_KEY = re.compile(r"\bstd::(?:unordered_)?(?:map|set|multimap|multiset)<\s*(?:const\s+)?[\w:]+\s*(?:const\s*)?\*")
UNORDERED = re.compile(r"\bstd::unordered_\w+<.*>\s+(\w+)\s*[;{=]")


def check_order(tree: Tree) -> Iterator[Finding]:
    """A run must not depend on where the allocator or a hash put things."""
    for path, text in tree.select(lambda path: is_cpp(path) and path.startswith("src/")):
        code = blank(text)
        for found in POINTER_KEY.finditer(code):
            yield Finding(path, line_at(code, found.start()), "order", "a container keyed by addresses has no repeatable order; key it by a name or an id")
        header = tree.files.get(path.removesuffix(".cc") + ".h", "") if path.endswith(".cc") else ""
        for name in set(UNORDERED.findall(code + "\n" + blank(header))):
            for found in re.finditer(rf"\bfor\s*\([^;()]*:\s*(?:this->)?{name}\s*\)", code):
                yield Finding(path, line_at(code, found.start()), "order", f"`{name}` is unordered, so what follows differs from run to run; use an ordered container")


def check_headers(tree: Tree) -> Iterator[Finding]:
    for path, text in tree.select(lambda path: is_cpp(path) and path.endswith(".h")):
        lines = text.splitlines()
        if "#pragma once" not in lines:
            yield Finding(path, 1, "pragma-once", "a header says #pragma once below its comment")
        if len(lines) < 2 or not re.match(r"// \S.{15,}", lines[1]):
            yield Finding(path, 2, "header-comment", "below the licence line, a comment says what this is, who owns it and which reactor runs it")


def check_nolint(tree: Tree) -> Iterator[Finding]:
    for path, text in tree.select(is_cpp):
        lines = text.splitlines()
        for number, line in enumerate(lines, 1):
            if "NOLINTEND" in line or "NOLINT" not in line:
                continue
            found = re.search(r"NOLINT(?:NEXTLINE|BEGIN)?\(([\w.,-]+)\)(.*)", line)
            above = lines[number - 2].strip() if number > 1 else ""
            if not found or not (re.search(r"\w", found.group(2)) or above.startswith("//")):
                yield Finding(path, number, "nolint", "write `NOLINT(check-name): why it is right here`")


MAX_FUNCTION = 70
CONTAINER = re.compile(r"^(inline\s+)?namespace\b|^extern\b|^(typedef\s+)?(class|struct|union|enum)\b")
ENDS_AS_FUNCTION = re.compile(r"\)\s*(const|noexcept|override|final|mutable|&|&&|\s)*$")


def head_kind(head: str) -> str:
    """What the brace after `head` opens at namespace or class level: container, function or init."""
    head = re.sub(r"^\s*((public|private|protected)\s*:|template\s*<[^{}]*?>(?=\s*[\w\[~])|\[\[.*?\]\])", " ", head.strip())
    while re.match(r"\s*(public|private|protected)\s*:", head):
        head = head.partition(":")[2]
    head = re.sub(r"^\s*(template\s*<[^{}]*>\s*(?=(class|struct|union)\b)|\[\[.*?\]\])", "", head).strip()
    if CONTAINER.match(head) and not ENDS_AS_FUNCTION.search(head):
        return "container"
    flat = re.sub(r"\boperator\s*[^\s(\w]+", "operator", head)
    while True:
        shorter = re.sub(r"\([^()]*\)", "#", flat)
        if shorter == flat:
            break
        flat = shorter
    flat = re.sub(r"<[^<>]*>", "", flat)
    return "function" if "#" in flat and "=" not in flat else "init"


def functions(text: str) -> Iterator[tuple[int, int]]:
    """(first line, last line) of each function body in the file, its signature included."""
    code = blank(text)
    code = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda line: re.sub(r"[^\n]", " ", line.group()), code, flags=re.MULTILINE)
    stack: list[str] = []
    head, parens = 0, 0
    for found in re.finditer(r"[{}();]", code):
        at, char = found.start(), found.group()
        outside = all(kind == "container" for kind in stack)
        if char == "{":
            kind = "inner"
            if outside:
                kind = head_kind(code[head:at]) if parens == 0 else "init"
                if kind == "container":
                    head = at + 1
            stack.append(kind)
        elif char == "}" and stack:
            kind = stack.pop()
            if kind == "function" and not re.match(r"\s*[,{]", code[at + 1:at + 200]):
                first = head + len(code[head:at]) - len(code[head:at].lstrip())
                yield line_at(code, first), line_at(code, at)
                head = at + 1
            elif kind == "container":
                head = at + 1
        elif outside and char in "()":
            parens += 1 if char == "(" else -1
        elif outside and char == ";" and parens == 0:
            head = at + 1


def check_functions(tree: Tree) -> Iterator[Finding]:
    for path, text in tree.select(is_cpp):
        for first, last in functions(text):
            if last - first + 1 > MAX_FUNCTION:
                yield Finding(path, first, "function-length", f"{last - first + 1} lines; cut it into functions of at most {MAX_FUNCTION}")


def listed_elsewhere(tree: Tree, path: str) -> bool:
    """Whether tests or benchmarks of another folder name it, by its path from there."""
    for where, text in tree.select(lambda where: where.endswith("CMakeLists.txt") and where.startswith(("tests/", "bench/"))):
        folder = where.rpartition("/")[0]
        words = re.findall(r"[\w./-]+/" + re.escape(path.rpartition("/")[2]), text)
        if any(posixpath.normpath(posixpath.join(folder, word)) == path for word in words):
            return True
    return False


def check_listed(tree: Tree) -> Iterator[Finding]:
    """No dead files: each source is named by the CMakeLists.txt above it."""
    for path, _ in tree.select(lambda path: is_cpp(path) and (path.startswith("src/") or path.endswith(".cc"))):
        folder = path.rpartition("/")[0]
        while folder and not tree.has(folder + "/CMakeLists.txt"):
            folder = folder.rpartition("/")[0]
        name = path.removeprefix(folder + "/")
        listing = tree.files.get(folder + "/CMakeLists.txt", "")
        if re.search(rf"(?<![\w./-]){re.escape(name)}(?![\w.-])", listing):
            continue
        if not path.startswith("src/") and listed_elsewhere(tree, path):
            continue
        yield Finding(path, 1, "listed", f"nothing builds this file; name it in {folder}/CMakeLists.txt or delete it")


CHECKS = [check_includes, check_world, check_order, check_headers, check_nolint, check_functions, check_listed]
