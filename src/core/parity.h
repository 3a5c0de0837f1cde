// SPDX-License-Identifier: Apache-2.0
// The exclusive or of several runs of bytes, RAID 5's parity, computed by ISA-L.
#pragma once

#include <cstddef>
#include <span>

namespace remora::core {

constexpr std::size_t kMaxParitySources = 32;
/// What every run must be aligned to.
constexpr std::size_t kParityAlignment = 32;

/// to[i] = the exclusive or of all sources[k][i], i < bytes. From two to kMaxParitySources sources,
/// each of `bytes`, none overlapping `to`; all aligned to kParityAlignment.
void xor_of(std::span<const std::byte* const> sources, std::byte* to, std::size_t bytes);

}  // namespace remora::core
