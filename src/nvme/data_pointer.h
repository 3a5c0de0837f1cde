// SPDX-License-Identifier: Apache-2.0
// Where the data of a command on PCIe lies: its PRP entries or SGL, walked through guest memory
// into a list of segments. Pure; everything it reads is hostile and read once.
//
// NVM Express Base Specification 2.0, Physical Region Page Entry and List; Scatter Gather List.
#pragma once

#include <cstdint>
#include <expected>
#include <span>

#include "core/segment.h"
#include "memory/guest_memory.h"
#include "nvme/spec/command.h"
#include "nvme/spec/pcie.h"

namespace remora::nvme {

/// Segments that `bytes` of data may take: a page each, one more when they begin inside a page,
/// and some for pages that lie in two regions of guest memory.
constexpr std::size_t max_segments(std::uint32_t bytes) {
    return bytes / 4096 + 1 + 8;
}
/// Descriptors of one SGL besides the one in the command, those that lead on included.
constexpr std::size_t kMaxSglDescriptors = 1024;

/// What data may lie in, however it is cut: as much as one call of the kernel takes.
constexpr std::size_t kMostSegments = 1024;
/// The answer to data in too many pieces: for `storage`, or altogether.
constexpr std::uint16_t kTooManySegments =
    spec::status_field(spec::PcieStatus::InvalidSglDescriptorCount, true);

/// The first `bytes` bytes of the command's data, as segments in `storage`. Neighbours are joined.
/// The error is the status field to answer with; after kTooManySegments more storage, up to
/// kMostSegments, may do.
std::expected<std::span<const core::Segment>, std::uint16_t> locate_data(
    const memory::GuestMemory& guest,
    const spec::Command& command,
    std::uint32_t bytes,
    std::span<core::Segment> storage);

}  // namespace remora::nvme
