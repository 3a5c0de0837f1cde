// SPDX-License-Identifier: Apache-2.0
// MachineFiles: the small files and folders in which a kernel tells of its machine (/sys, /proc),
// below a root that a test can lay out itself.
//
// Everything is bounded, and what cannot be had whole is not there at all: half a file would make
// a wrong answer. Plain blocking reads: for a thread of the gRPC server, never for a reactor.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace remora::platform {

class MachineFiles {
  public:
    /// Paths are taken below `root`; "" = the machine's own.
    explicit MachineFiles(std::string root = "") : root_(std::move(root)) {}

    /// A file's content; nothing when it cannot be read, is no regular file or has more than
    /// `limit` bytes.
    [[nodiscard]] std::optional<std::string> read(const std::string& path, std::size_t limit) const;
    /// The last segment of what a symbolic link says; empty when there is none.
    [[nodiscard]] std::string link_name(const std::string& path) const;
    /// The names in a folder, sorted; nothing when it cannot be read or has more than `limit`.
    [[nodiscard]] std::optional<std::vector<std::string>> list(const std::string& path,
                                                               std::size_t limit) const;

  private:
    std::string root_;
};

}  // namespace remora::platform
