// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/host/request_layout.h"

#include <algorithm>
#include <cstring>

#include "core/check.h"

namespace remora::sim {

namespace {

constexpr std::uint64_t kStatusAt = 48;  // in the header's memory
constexpr std::size_t kMaxDataParts = 12;

bool one_in(core::Prng& prng, std::uint64_t chances) {
    return prng.below(chances) == 0;
}

// Describes a run of bytes by up to `pieces` parts of any size.
void cut(std::vector<ChainPart>& parts, ChainPart run, std::size_t pieces, core::Prng& prng) {
    for (; pieces > 1 && run.length > 1; --pieces) {
        const auto length = static_cast<std::uint32_t>(1 + prng.below(run.length - 1));
        parts.push_back({run.offset, length, run.device_writes});
        run.offset += length;
        run.length -= length;
    }
    parts.push_back(run);
}

std::size_t pieces(bool odd, std::size_t most, core::Prng& prng) {
    return odd && !one_in(prng, 3) ? 1 + prng.below(most) : 1;
}

bool has_range(virtio::BlkType type) {
    return type == virtio::BlkType::Discard || type == virtio::BlkType::WriteZeroes;
}

std::uint32_t write_header(const GuestRam& ram, std::uint64_t at, const RequestShape& shape) {
    virtio::BlkHeader header;
    header.type = static_cast<std::uint32_t>(shape.type);
    header.sector = has_range(shape.type) ? 0 : shape.sector;
    std::memcpy(ram.at(at), &header, sizeof(header));
    if (!has_range(shape.type)) {
        return sizeof(header);
    }
    virtio::BlkRange range;
    range.sector = shape.sector;
    range.num_sectors = shape.range_sectors;
    range.flags = shape.range_flags;
    std::memcpy(ram.at(at + sizeof(header)), &range, sizeof(range));
    return sizeof(header) + sizeof(range);
}

}  // namespace

RequestLayout lay_out(const GuestRam& ram,
                      const RequestMemory& memory,
                      const RequestShape& shape,
                      core::Prng& prng) {
    const bool to_guest = shape.type == virtio::BlkType::In || shape.type == virtio::BlkType::GetId;
    RequestLayout layout;
    const std::uint32_t header_bytes = write_header(ram, memory.header, shape);
    layout.status = memory.header + kStatusAt;
    layout.data = memory.data;
    if (shape.odd && one_in(prng, 4)) {
        layout.data += prng.below(RequestMemory::kDataSlack / 2);
    }
    const ChainPart header{memory.header, header_bytes, false};
    if (header_bytes > sizeof(virtio::BlkHeader) && !shape.odd) {
        // As Linux does: the range has a descriptor of its own.
        layout.parts.push_back({memory.header, sizeof(virtio::BlkHeader), false});
        layout.parts.push_back(
            {memory.header + sizeof(virtio::BlkHeader), sizeof(virtio::BlkRange), false});
    } else {
        cut(layout.parts, header, pieces(shape.odd, 3, prng), prng);
    }
    ChainPart data{layout.data, shape.data_bytes, to_guest};
    const bool joined = to_guest && shape.odd && shape.data_bytes > 0 && one_in(prng, 6);
    if (joined) {
        // The status byte is the last one of the data's own descriptors.
        layout.status = layout.data + shape.data_bytes;
        ++data.length;
    }
    if (data.length > 0) {
        cut(layout.parts, data, pieces(shape.odd, kMaxDataParts, prng), prng);
    }
    if (!joined) {
        layout.parts.push_back({layout.status, 1, true});
    }
    layout.writable = (to_guest ? shape.data_bytes : 0) + 1;
    *ram.at(layout.status) = kStatusPreset;
    CHECK(layout.parts.size() <= RequestMemory::kMaxParts);
    if (shape.indirect && (!shape.odd || one_in(prng, 2))) {
        layout.table = memory.table;
    }
    return layout;
}

}  // namespace remora::sim
