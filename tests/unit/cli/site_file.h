// SPDX-License-Identifier: Apache-2.0
// Files of sites for tests, and commands that read them.
#pragma once

#include <cstdio>
#include <fstream>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/cli/fake_store.h"

namespace remora::cli {

/// Against the order of dependency, in both forms.
inline constexpr const char* kSite = R"(# The lab's target.
- kind: virtio-blk
  name: vda
  spec:
    pcie_id: {port_id: 0, physical_function: 1, virtual_function: 0}
    volume_name_ref: disk1
- kind: namespace
  name: lab/disk0
  spec: {volumeNameRef: slow0}
- kind: controller
  name: lab/tcp
  spec:
    trtype: tcp
    fabrics_id: {traddr: 127.0.0.1, trsvcid: 4420, adrfam: ipv4}
---
kind: subsystem
name: lab
spec: {nqn: "nqn.2026-11.example.remora:lab"}
---
kind: qos
name: slow0
spec: {volume_name_ref: disk0, limits: {max: {rw_iops_kiops: 10}}}
---
- {kind: malloc, name: disk0, spec: {size: 64M}}
- {kind: malloc, name: disk1, spec: {block_size: 4096, blocks_count: 16384}}
)";

/// A file that lives as long as the test.
class TempFile {
  public:
    explicit TempFile(const std::string& text)
        : path_(testing::TempDir() + "remora-site-" + std::to_string(::getpid()) + "-" +
                std::to_string(next()) + ".yaml") {
        std::ofstream(path_, std::ios::binary) << text;
    }
    ~TempFile() { std::remove(path_.c_str()); }
    TempFile(const TempFile&) = delete;
    TempFile& operator=(const TempFile&) = delete;

    [[nodiscard]] const std::string& path() const { return path_; }

  private:
    static int next() {
        static int count = 0;
        return ++count;
    }
    std::string path_;
};

inline Ran run_site(FakeStore& store,
                    const std::string& command,
                    const std::string& text,
                    std::vector<std::string> more = {}) {
    const TempFile file(text);
    std::vector<std::string> line{command, "-f", file.path()};
    line.insert(line.end(), more.begin(), more.end());
    return store.run(std::move(line));
}

inline std::string malloc_of(const std::string& name, const std::string& spec) {
    return "- {kind: malloc, name: " + name + ", spec: " + spec + "}\n";
}

}  // namespace remora::cli
