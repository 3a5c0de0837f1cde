// SPDX-License-Identifier: Apache-2.0
// The implementations of AES-XTS, the fastest first, and which of them this processor has. All but
// Evp are our own: OpenSSL's cost to begin a sector is a multiple of what a sector costs.
//
// Constant time: AES instructions, carry-less products and moves only; no table, no branch and no
// address depends on a key, a tweak or data.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "services/crypto/xts_schedule.h"

namespace remora::services::crypto {

enum class XtsKernel : std::uint8_t {
    Vaes512,  ///< VAES over AVX-512: 32 blocks at once.
    Vaes256,  ///< VAES over AVX2: 16 blocks at once.
    AesNi,    ///< AES-NI: 8 blocks at once.
    Evp,      ///< OpenSSL; everywhere, and what the others are tested against.
};
constexpr std::array kXtsKernels{XtsKernel::Vaes512, XtsKernel::Vaes256, XtsKernel::AesNi,
                                 XtsKernel::Evp};

std::string_view to_string(XtsKernel kernel) noexcept;

/// Whether this processor (and its system, which saves the registers) has it.
bool has_kernel(XtsKernel kernel);
/// The first of kXtsKernels that it has.
XtsKernel best_kernel();

/// One kernel for one key size.
using XtsFunction = void (*)(const XtsSchedule& schedule, const XtsRun& run);
struct XtsFunctions {
    XtsFunction encrypt = nullptr;
    XtsFunction decrypt = nullptr;
};

/// `rounds` is kRounds128 or kRounds256; only if has_kernel(), and not for Evp.
XtsFunctions functions_of(XtsKernel kernel, unsigned rounds);

/// Expands a key of 16 or 32 bytes with AESKEYGENASSIST. Only if has_kernel(AesNi).
void expand_key(std::span<const std::byte> key, RoundKeys& encrypt);
/// The same key's round keys for the equivalent inverse cipher.
void invert_key(const RoundKeys& encrypt, unsigned rounds, RoundKeys& decrypt);

// One file each, built for its instructions alone.
bool has_aesni();
XtsFunctions aesni_functions(unsigned rounds);
bool has_vaes256();
XtsFunctions vaes256_functions(unsigned rounds);
bool has_vaes512();
XtsFunctions vaes512_functions(unsigned rounds);

}  // namespace remora::services::crypto
