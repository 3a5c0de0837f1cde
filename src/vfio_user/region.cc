// SPDX-License-Identifier: Apache-2.0
#include "vfio_user/region.h"

#include <cstring>

#include "core/check.h"

namespace remora::vfio_user {

std::size_t encode_region_info(const Region& region,
                               std::uint32_t index,
                               std::uint32_t argsz,
                               std::span<std::byte> to) {
    CHECK(argsz >= sizeof(RegionInfo) && to.size() >= kMaxRegionInfoBytes);
    const bool mapped = region.handle != reactor::kNoHandle && region.map_size > 0;
    RegionInfo info;
    info.argsz = static_cast<std::uint32_t>(mapped ? kMaxRegionInfoBytes : sizeof(RegionInfo));
    info.flags = region.flags | (mapped ? kRegionMmap | kRegionCaps : 0U);
    info.index = index;
    // Told also when the capability itself does not fit: QEMU takes an answer with the flag and no
    // offset for nonsense, even where it means to ask again with more room.
    info.cap_offset = static_cast<std::uint32_t>(mapped ? sizeof(RegionInfo) : 0U);
    info.size = region.size;
    info.offset = 0U;
    std::memcpy(to.data(), &info, sizeof(info));
    if (!mapped || argsz < kMaxRegionInfoBytes) {
        return sizeof(info);
    }
    SparseMmap sparse;
    sparse.id = kCapSparseMmap;
    sparse.version = std::uint16_t{1};
    sparse.areas = 1U;
    SparseArea area;
    area.offset = region.map_offset;
    area.size = region.map_size;
    std::memcpy(to.data() + sizeof(info), &sparse, sizeof(sparse));
    std::memcpy(to.data() + sizeof(info) + sizeof(sparse), &area, sizeof(area));
    return kMaxRegionInfoBytes;
}

}  // namespace remora::vfio_user
