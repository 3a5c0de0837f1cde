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

#include "nvme/spec/fabrics.h"
#include "reactor/endpoint.h"

namespace remora::nvme {

struct DirectoryEntry {
    enum class Kind : std::uint8_t {
        Subsystem,  ///< One with namespaces.
        Self,       ///< The discovery subsystem that is being read, at one of its endpoints.
        Referral,   ///< Another discovery subsystem.
    };
    Kind kind = Kind::Subsystem;
    std::string subnqn;
    reactor::Endpoint endpoint;
    std::uint16_t port_id = 0;                 ///< One number per endpoint.
    std::vector<std::string> allowed_hosts{};  ///< Empty: any.
};

struct Directory {
    /// The discovery subsystem's own name, besides the one all have; empty: it has none.
    std::string unique_nqn;
    std::uint64_t generation = 0;
    std::vector<DirectoryEntry> entries;

    /// Whether a Connect to `subnqn` is one to the discovery subsystem.
    [[nodiscard]] bool is_discovery(std::string_view subnqn) const {
        return subnqn == spec::kDiscoveryNqn || (!unique_nqn.empty() && subnqn == unique_nqn);
    }
};

/// Bytes of the log that `hostnqn` sees: header and entries.
std::uint64_t discovery_log_size(const Directory& directory, std::string_view hostnqn);
/// Fills `to` with the log's bytes from `offset`, zeros behind its end.
void read_discovery_log(const Directory& directory,
                        std::string_view hostnqn,
                        std::uint64_t offset,
                        std::span<std::byte> to);

}  // namespace remora::nvme
