# SPDX-License-Identifier: Apache-2.0
"""Examples for `tools/tidy.py --self-test`: each rule passes a good tree and finds the bad one."""

from collections.abc import Callable

from tidy_tree import Finding, Tree

LICENCE = "// SPDX-License-Identifier: Apache-2.0\n"
HEADER = LICENCE + "// A header that says what it is and who owns it.\n#pragma once\n"
RANK_TABLE = "| rank | folder | what |\n|---|---|---|\n| 0 | `core/` | small things |\n"


def tree(files: dict[str, str]) -> Tree:
    """The files, and a build file beside each source so that only what is meant is wrong."""
    made = dict(files)
    for path in files:
        if path.endswith((".cc", ".h")):
            folder, _, name = path.rpartition("/")
            listing = folder + "/CMakeLists.txt"
            if listing not in files:
                made[listing] = made.get(listing, "# SPDX-License-Identifier: Apache-2.0\n") + name + "\n"
    made.setdefault("docs/ARCHITECTURE.md", "".join(
        f"| {rank} | `{folder}/` | |\n" for folder, rank in ranks().items()))
    return Tree(made)


def ranks() -> dict[str, int]:
    import tidy_cpp
    return tidy_cpp.RANKS


def source(body: str) -> str:
    return LICENCE + body


def lines(count: int, inside: str = "") -> str:
    return LICENCE + inside + "// x\n" * (count - 1 - inside.count("\n"))


def function(count: int) -> str:
    """A function of so many lines, with the shapes that a brace counter may stumble over."""
    fill = "    f({1, 2}, \"}\", '{');  // }\n" * (count - 3)
    return source("namespace a {\nclass B : public C<D{}> {\n  public:\n    B() : x_{1}, y_{2} {}\n"
                  "    int x_{3};\n};\n}\n"
                  "template <typename T>\nauto big(T t = {}) -> int {\n" + fill + "}\n" + "int after = 1;\n" * 80)


BLOCK_H = {"src/block/device.h": HEADER}
LINUX_H = {"src/reactor/linux/ring.h": HEADER}
RAM_H = {"src/backends/ram/ram.h": HEADER}
NODE_INCLUDES_LINUX = source('#include "reactor/linux/ring.h"\n')

# rule, a tree that keeps it, a tree that breaks it
EXAMPLES: list[tuple[str, dict[str, str], dict[str, str]]] = [
    ("licence", {"src/core/a.cc": LICENCE}, {"src/core/a.cc": "// a comment\n"}),
    ("licence", {"lab/run": "#!/bin/sh\n# SPDX-License-Identifier: Apache-2.0\n"}, {"lab/run": "#!/bin/sh\necho\n"}),
    ("pragma-once", {"src/core/a.h": HEADER}, {"src/core/a.h": HEADER.replace("#pragma once\n", "")}),
    ("header-comment", {"src/core/a.h": HEADER}, {"src/core/a.h": LICENCE + "#pragma once\n"}),
    ("file-length", {"src/core/a.cc": lines(400)}, {"src/core/a.cc": lines(501)}),
    ("function-length", {"src/core/a.cc": function(70)}, {"src/core/a.cc": function(71)}),
    ("function-length", {"tests/unit/a/a.cc": source("TEST_F(A, B) {\n" + "x();\n" * 68 + "}\n")},
     {"tests/unit/a/a.cc": source("TEST_F(A, B) {\n" + "x();\n" * 69 + "}\n")}),
    ("later", {"src/core/a.cc": source("// Todos are a word\n")}, {"src/core/a.cc": source("// TO" + "DO: more\n")}),
    ("layer", BLOCK_H | {"src/nvme/a.cc": source('#include "block/device.h"\n')},
     {"src/nvme/a.h": HEADER, "src/block/a.cc": source('#include "nvme/a.h"\n')}),
    ("layer", {"src/memory/a.h": HEADER, "src/memory/b.cc": source('#include "memory/a.h"\n')},
     {"src/memory/a.h": HEADER, "src/reactor/a.cc": source('#include "memory/a.h"\n')}),
    ("layer", RAM_H | {"src/backends/ram/a.cc": source('#include "backends/ram/ram.h"\n')},
     RAM_H | {"src/backends/file/a.cc": source('#include "backends/ram/ram.h"\n')}),
    ("layer", LINUX_H | {"src/node/a.cc": NODE_INCLUDES_LINUX}, LINUX_H | {"src/control/a.cc": NODE_INCLUDES_LINUX}),
    ("layer", LINUX_H | {"src/apps/a.cc": NODE_INCLUDES_LINUX}, LINUX_H | {"src/reactor/a.cc": NODE_INCLUDES_LINUX}),
    ("layer", {"src/core/a.cc": LICENCE}, {"src/unheard/a.cc": LICENCE}),
    ("include", BLOCK_H | {"src/node/a.cc": source('#include "block/device.h"\n')}, {"src/node/a.cc": source('#include "device.h"\n')}),
    ("third-party", {"src/control/a.cc": source("#include <grpcpp/grpcpp.h>\n")}, {"src/node/a.cc": source("#include <grpcpp/grpcpp.h>\n")}),
    ("third-party", {"src/cli/a.cc": source('#include "remora/v1/a.pb.h"\n')}, {"src/platform/a.cc": source('#include "remora/v1/a.pb.h"\n')}),
    ("third-party", {"src/core/log.cc": source("#include <spdlog/spdlog.h>\n")}, {"src/core/a.cc": source("#include <spdlog/spdlog.h>\n")}),
    ("third-party", {"src/platform/a.cc": source("#include <nlohmann/json.hpp>\n")}, {"src/nvme/a.cc": source("#include <nlohmann/json.hpp>\n")}),
    ("third-party", {"src/cli/a.cc": source("#include <CLI/CLI.hpp>\n")}, {"src/control/a.cc": source("#include <CLI/CLI.hpp>\n")}),
    ("third-party", {"src/cli/a.cc": source("#include <yaml-cpp/parser.h>\n")}, {"src/control/a.cc": source("#include <yaml-cpp/parser.h>\n")}),
    ("third-party", {"src/reactor/linux/a.cc": source("#include <liburing.h>\n")}, {"src/reactor/a.cc": source("#include <liburing.h>\n")}),
    ("third-party", {"src/control/a.cc": source("#include <sqlite3.h>\n")}, {"tests/unit/node/a.cc": source("#include <sqlite3.h>\n")}),
    ("world", {"src/reactor/linux/a.cc": source("#include <sys/socket.h>\n")}, {"src/nvme/a.cc": source("#include <sys/socket.h>\n")}),
    ("world", {"src/control/a.cc": source("#include <mutex>\n")}, {"src/block/a.cc": source("#include <mutex>\n")}),
    ("clock", {"src/nvme/a.cc": source("auto t = reactor.now();  // not steady_clock::now\n")},
     {"src/nvme/a.cc": source("auto t = std::chrono::steady_clock::now();\n")}),
    ("clock", {"src/nvme/a.cc": source("lifetime(0); x.time(0);\n")}, {"src/nvme/a.cc": source("auto t = time(nullptr);\n")}),
    ("thread", {"src/nvme/a.cc": source('log("std::thread");\n')}, {"src/nvme/a.cc": source("std::thread t([] {});\n")}),
    ("sleep", {"tests/unit/a/a.cc": source("co_await sleep_for(1ms); reactor.sleep();\n")},
     {"tests/unit/a/a.cc": source("std::this_thread::sleep_for(1ms);\n")}),
    ("sleep", {"src/node/a.cc": source("void Reactor::sleep() {}\n")}, {"src/node/a.cc": source("void f() { usleep(5); }\n")}),
    ("random", {"src/nvme/a.cc": source("prng.next(); operand(1);\n")}, {"src/nvme/a.cc": source("std::random_device r;\n")}),
    ("system-call", {"src/nvme/a.cc": source("stream->close(); Io::close(h); file.open(p);\n")}, {"src/nvme/a.cc": source("void f() { ::close(fd); }\n")}),
    ("system-call", {"src/reactor/linux/a.cc": source("auto p = mmap(0, 1, 2, 3, 4, 5);\n")}, {"src/virtio/a.cc": source("auto p = mmap(0, 1, 2, 3, 4, 5);\n")}),
    ("order", {"src/nvme/a.cc": source("std::map<std::string, Device*> devices_;\n")}, {"src/nvme/a.cc": source("std::map<Device*, int> users_;\n")}),
    ("order", {"src/nvme/a.cc": source("std::unordered_map<int, int> m;\nvoid f() { m.find(1); }\n")},
     {"src/nvme/a.cc": source("std::unordered_map<int, int> m;\nvoid f() { for (auto& [k, v] : m) {} }\n")}),
    ("nolint", {"src/core/a.cc": source("int x;  // NOLINT(some-check): the wire has it so\n")}, {"src/core/a.cc": source("int x;  // NOLINT\n")}),
    ("layer", {"src/nvme/a.cc": source("#include <block/b.h>\n"), "src/block/b.h": HEADER}, {"src/block/a.cc": source("#include <nvme/b.h>\n"), "src/nvme/b.h": HEADER}),
    ("listed", {"tests/support/a.cc": LICENCE, "tests/support/CMakeLists.txt": "# SPDX-License-Identifier: Apache-2.0\n", "tests/x/CMakeLists.txt": "# SPDX-License-Identifier: Apache-2.0\n../support/a.cc\n"},
     {"tests/x/a.cc": LICENCE, "tests/x/CMakeLists.txt": "# SPDX-License-Identifier: Apache-2.0\n", "tests/y/CMakeLists.txt": "# SPDX-License-Identifier: Apache-2.0\na.cc\n"}),
    ("listed", {"src/core/a.cc": LICENCE}, {"src/core/a.cc": LICENCE, "src/core/CMakeLists.txt": "# SPDX-License-Identifier: Apache-2.0\nba.cc a.cc.in\n"}),
    ("docs-link", {"README.md": "[x](docs/A.md#two-words) [y](https://a/b)\n", "docs/A.md": "## Two words\n"}, {"README.md": "[x](docs/A.md)\n"}),
    ("docs-link", {"docs/A.md": "[x](B.md)\n", "docs/B.md": "\n"}, {"docs/A.md": "[x](B.md#nowhere)\n", "docs/B.md": "# Here\n"}),
    ("docs-path", {"README.md": "`src/core/a.cc`\n", "src/core/a.cc": LICENCE}, {"README.md": "`src/core/b.cc`\n"}),
    ("docs-path", {"docs/A.md": "`core/a.cc`\n", "src/core/a.cc": LICENCE}, {"docs/A.md": "`core/b.cc`\n"}),
    ("docs-path", {"src/core/a.cc": source("// see docs/A.md\n"), "docs/A.md": "\n"}, {"src/core/a.cc": source("// see docs/A.md\n")}),
    ("scenario", {"README.md": "lab/run two_disks, lab/run --list\n", "lab/scenarios/two_disks.scn": "# A\n"}, {"README.md": "lab/run two_disks\n"}),
    ("ranks", {}, {"docs/ARCHITECTURE.md": "| 3 | `core/` | |\n"}),
    ("ranks", {"src/core/a.cc": LICENCE, "docs/ARCHITECTURE.md": RANK_TABLE}, {"src/block/a.cc": LICENCE, "docs/ARCHITECTURE.md": RANK_TABLE}),
]


def run(findings: Callable[[Tree], list[Finding]]) -> int:
    wrong = 0
    for rule, good, bad in EXAMPLES:
        unexpected = [finding for finding in findings(tree(good)) if finding.fatal]
        found = [finding for finding in findings(tree(bad)) if finding.fatal]
        if unexpected:
            wrong += 1
            print(f"{rule}: the good example breaks a rule: {unexpected[0]}")
        if not found or {finding.rule for finding in found} != {rule}:
            wrong += 1
            print(f"{rule}: the bad example {sorted(bad)} gives {[str(finding) for finding in found]}")
    print(f"tidy: {len(EXAMPLES)} examples of {len({rule for rule, _, _ in EXAMPLES})} rules, {wrong} wrong")
    return 1 if wrong else 0
