// SPDX-License-Identifier: Apache-2.0
// How a driver lays one virtio-blk request out in memory and in descriptors: tidily, or cut at any
// byte, as VIRTIO 1.0 and later allow. Spec: VIRTIO 1.2 section 5.2.6.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/prng.h"
#include "tests/sim/host/driver_ring.h"
#include "tests/sim/host/guest_ram.h"
#include "virtio/blk_request.h"

namespace remora::sim {

/// The memory of one request in flight. Nobody else's is in it.
struct RequestMemory {
    static constexpr std::uint64_t kHeaderBytes = 64;
    static constexpr std::uint64_t kMaxParts = 24;
    static constexpr std::uint64_t kTableBytes = sizeof(virtio::Descriptor) * kMaxParts;
    static constexpr std::uint64_t kDataSlack = 1024;  ///< Data may begin anywhere in the first.

    std::uint64_t header = 0;  ///< Header and range, then the status byte.
    std::uint64_t table = 0;   ///< Indirect descriptors.
    std::uint64_t data = 0;

    static std::uint64_t bytes_for(std::uint64_t data_bytes) {
        constexpr std::uint64_t kAlignment = 64;
        const std::uint64_t bytes = kHeaderBytes + kTableBytes + data_bytes + kDataSlack;
        return (bytes + kAlignment - 1) / kAlignment * kAlignment;
    }
    static RequestMemory at(std::uint64_t offset) {
        return {offset, offset + kHeaderBytes, offset + kHeaderBytes + kTableBytes};
    }
};

struct RequestShape {
    virtio::BlkType type = virtio::BlkType::In;
    std::uint64_t sector = 0;
    std::uint32_t data_bytes = 0;     ///< In, Out, GetId.
    std::uint32_t range_sectors = 0;  ///< Discard, WriteZeroes.
    std::uint32_t range_flags = 0;
    bool odd = false;       ///< Cut at odd places.
    bool indirect = false;  ///< May use an indirect table.
};

struct RequestLayout {
    std::vector<ChainPart> parts;
    std::optional<std::uint64_t> table;
    std::uint64_t data = 0;      ///< Where the data lies, all of it together.
    std::uint64_t status = 0;    ///< Where the status byte lies.
    std::uint32_t writable = 0;  ///< Bytes the device may write.
};

/// Writes header and range, presets the status byte, and says how the chain is to be described.
RequestLayout lay_out(const GuestRam& ram,
                      const RequestMemory& memory,
                      const RequestShape& shape,
                      core::Prng& prng);

constexpr std::byte kStatusPreset{0xff};

}  // namespace remora::sim
