// SPDX-License-Identifier: Apache-2.0
// A region of the device as GET_REGION_INFO tells of it: a BAR or the configuration space.
// Spec: QEMU docs/interop/vfio-user.rst, VFIO_USER_DEVICE_GET_REGION_INFO.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "reactor/io.h"
#include "vfio_user/message.h"

namespace remora::vfio_user {

/// Size 0: the device has no such region.
struct Region {
    std::uint64_t size = 0;
    std::uint32_t flags = 0;  ///< kRegionRead, kRegionWrite.
    /// The part of it that a client may map, from `handle` at the same offset; none if kNoHandle.
    /// The rest is reached by messages.
    std::uint64_t map_offset = 0;
    std::uint64_t map_size = 0;
    reactor::Handle handle = reactor::kNoHandle;
};

/// Writes the answer about region `index` into `to`, which has kMaxRegionInfoBytes, for a client
/// with room for `argsz` bytes of payload, at least a RegionInfo. What it has no room for is left
/// out, and the argsz of the answer says what it would take. Returns the bytes written.
std::size_t encode_region_info(const Region& region,
                               std::uint32_t index,
                               std::uint32_t argsz,
                               std::span<std::byte> to);
constexpr std::size_t kMaxRegionInfoBytes =
    sizeof(RegionInfo) + sizeof(SparseMmap) + sizeof(SparseArea);

/// Whether `count` bytes at `offset` are inside.
constexpr bool inside(const Region& region, std::uint64_t offset, std::uint64_t count) {
    return offset <= region.size && count <= region.size - offset;
}

}  // namespace remora::vfio_user
