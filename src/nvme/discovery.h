// SPDX-License-Identifier: Apache-2.0
// nvme::Directory: what the discovery subsystem tells: which subsystem is reached where, and who
// may know. A replica per reactor, replaced whole by message. The log page is made as it is read,
// so it needs no memory of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "reactor/endpoint.h"

namespace remora::nvme {

struct DirectoryEntry {
    std::string subnqn;
    reactor::Endpoint endpoint;
    std::uint16_t port_id = 0;                 ///< One number per endpoint.
    std::vector<std::string> allowed_hosts{};  ///< Empty: any.
};

struct Directory {
    std::uint64_t generation = 0;
    std::vector<DirectoryEntry> entries;
};

/// Bytes of the log that `hostnqn` sees: header and entries.
std::uint64_t discovery_log_size(const Directory& directory, std::string_view hostnqn);
/// Fills `to` with the log's bytes from `offset`, zeros behind its end.
void read_discovery_log(const Directory& directory,
                        std::string_view hostnqn,
                        std::uint64_t offset,
                        std::span<std::byte> to);

}  // namespace remora::nvme
