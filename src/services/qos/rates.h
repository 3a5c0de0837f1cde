// SPDX-License-Identifier: Apache-2.0
// Rates: the six rates that OPI knows for a volume or a device, as maximum or as minimum; and what
// a back end is declared to be able to do.
#pragma once

#include <cstdint>

namespace remora::services::qos {

/// The most of each per second (0: as much as there is), or the least (0: whatever is left).
struct Rates {
    std::uint64_t read_ops = 0;
    std::uint64_t write_ops = 0;
    std::uint64_t all_ops = 0;
    std::uint64_t read_bytes = 0;
    std::uint64_t write_bytes = 0;
    std::uint64_t all_bytes = 0;

    bool operator==(const Rates&) const = default;
};

/// Of a back end, per second; 0: that much does not matter there.
struct Capacity {
    std::uint64_t ops = 0;
    std::uint64_t bytes = 0;

    bool operator==(const Capacity&) const = default;
};

}  // namespace remora::services::qos
