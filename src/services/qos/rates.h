// SPDX-License-Identifier: Apache-2.0
// Rates: the six limits that OPI knows for a volume or a host disk.
#pragma once

#include <cstdint>

namespace remora::services::qos {

/// The most of each per second; 0: as much as there is.
struct Rates {
    std::uint64_t read_ops = 0;
    std::uint64_t write_ops = 0;
    std::uint64_t all_ops = 0;
    std::uint64_t read_bytes = 0;
    std::uint64_t write_bytes = 0;
    std::uint64_t all_bytes = 0;

    bool operator==(const Rates&) const = default;
};

}  // namespace remora::services::qos
