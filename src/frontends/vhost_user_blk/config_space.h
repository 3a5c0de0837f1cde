// SPDX-License-Identifier: Apache-2.0
// What the guest is told about its disk: features, limits, identity. Pure functions of the volume's
// geometry. Spec: VIRTIO 1.2 section 5.2.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "block/device.h"
#include "core/uuid.h"
#include "virtio/blk_request.h"

namespace remora::frontends::vhost_user_blk {

/// Data segments of one request.
constexpr std::uint16_t kSegMax = 126;
/// Descriptors of one chain: the data's, the header's and the status byte's.
constexpr std::uint16_t kMaxChain = kSegMax + 2;
/// A descriptor that crosses from one memory region into the next becomes two segments.
constexpr std::size_t kMaxSegments = kMaxChain + 8;
/// Data of one request. No driver comes near; a chain that names the same memory over and over
/// must not become an I/O without end.
constexpr std::uint64_t kMaxRequestBytes = std::uint64_t{64} << 20U;
/// Ranges of one request: what a back end may have to clear in one go on this reactor.
constexpr std::uint32_t kMaxDiscardSectors = (256U << 20U) / virtio::kSectorBytes;
constexpr std::uint32_t kMaxWriteZeroesSectors = (16U << 20U) / virtio::kSectorBytes;

/// Features on offer for a volume like this.
std::uint64_t offered_features(const block::Geometry& geometry);

/// The configuration space.
virtio::BlkConfig make_config(const block::Geometry& geometry, std::uint16_t queues);

/// What VIRTIO_BLK_T_GET_ID answers: the first 20 hexadecimal digits of the volume's UUID.
std::array<std::byte, virtio::kBlkIdBytes> make_identity(const core::Uuid& uuid);

}  // namespace remora::frontends::vhost_user_blk
