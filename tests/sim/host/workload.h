// SPDX-License-Identifier: Apache-2.0
// WorkloadOptions: what one disk's guest does, and how its driver lays out its rings.
#pragma once

#include <cstdint>

#include "reactor/clock.h"

namespace remora::sim {

struct WorkloadOptions {
    // How the driver and QEMU set the device up.
    std::uint16_t queues = 1;        ///< Used queues; the device must have as many.
    std::uint16_t queue_size = 128;  ///< Power of two, 32 at least.
    bool event_index = true;
    bool packed = false;          ///< Packed rings, where offered and inflight is on.
    bool indirect = true;         ///< Negotiated where offered; then some requests use it.
    bool inflight = true;         ///< Without, a lost connection loses what was in flight.
    bool early_calls = false;     ///< Rings get their real call event at once, and no other later.
    bool acknowledge_all = true;  ///< Ask for an answer to each message, not to few.
    std::uint8_t memory_regions = 1;  ///< 1 or 2.
    bool memory_gap = true;           ///< Two regions are apart in the guest's address space.
    bool odd_layouts = true;          ///< Cut header, data and status at odd places.

    // What it does.
    std::uint16_t depth = 8;             ///< Requests in flight of each queue, 1..64.
    std::uint32_t max_io_blocks = 16;    ///< Blocks of one read or write.
    std::uint32_t max_zero_blocks = 64;  ///< Blocks of one write-zeroes or discard.
    std::uint64_t first_lba = 0;         ///< The region, in blocks of the volume.
    std::uint64_t lba_count = 0;         ///< 0: to the end of the volume.
    // Shares of the operations; they need not add up to 100.
    std::uint32_t reads = 40;
    std::uint32_t writes = 45;
    std::uint32_t flushes = 5;
    std::uint32_t write_zeroes = 4;
    std::uint32_t discards = 4;
    std::uint32_t identities = 2;
    bool overlap = false;              ///< Writes may overlap writes that are in flight.
    reactor::Nanos think_time{0};      ///< Mean rest between two requests of one slot.
    std::uint64_t max_operations = 0;  ///< 0: without end.

    std::uint32_t hostile = 0;  ///< Bits of HostileMode: then nothing above is promised.
};

}  // namespace remora::sim
