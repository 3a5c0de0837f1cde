// SPDX-License-Identifier: Apache-2.0
// What an XTS kernel is given: an expanded key and a run of sectors. Plain values between
// AesXts, which checks, and the kernels, which only compute.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace remora::services::crypto {

constexpr std::size_t kAesBlock = 16;
constexpr unsigned kRounds128 = 10;
constexpr unsigned kRounds256 = 14;

using AesBlock = std::array<std::byte, kAesBlock>;
using RoundKeys = std::array<AesBlock, kRounds256 + 1>;  ///< The first rounds + 1 are used.

/// Both AES keys of XTS, expanded (FIPS 197 section 5.2).
struct alignas(64) XtsSchedule {
    RoundKeys encrypt;
    RoundKeys decrypt;  ///< Of the equivalent inverse cipher, FIPS 197 section 5.3.5.
    RoundKeys tweak;
};

/// `sectors` of `sector_size` from `in` to `out`, which are the same or do not overlap. The tweaks
/// are first_tweak, first_tweak + tweak_step, ...
struct XtsRun {
    std::uint64_t first_tweak = 0;
    std::uint64_t tweak_step = 1;
    std::size_t sector_size = 0;  ///< A multiple of 512.
    std::size_t sectors = 0;
    const std::byte* in = nullptr;
    std::byte* out = nullptr;
};

enum class XtsDirection : std::uint8_t { Encrypt, Decrypt };

}  // namespace remora::services::crypto
