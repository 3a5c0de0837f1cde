// SPDX-License-Identifier: Apache-2.0
// The kernel for VAES without AVX-512: 16 registers of two blocks.
#include "core/check.h"
#include "services/crypto/xts_kernel.h"

#if defined(__x86_64__)

#include <algorithm>
#include <cstring>
#include <immintrin.h>

#pragma clang attribute push(__attribute__((target("avx2,aes,vaes,pclmul,vpclmulqdq"))), \
                             apply_to = function)
#include "services/crypto/xts_lanes.h"

namespace remora::services::crypto {

namespace {

struct Avx2 {
    using Register = __m256i;
    static constexpr std::size_t kBlocks = 2;

    static Register load(const std::byte* from) {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    }
    static void store(std::byte* to, Register value) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), value);
    }
    static Register broadcast(const std::byte* block) {
        return _mm256_broadcastsi128_si256(
            _mm_loadu_si128(reinterpret_cast<const __m128i*>(block)));
    }
    /// Sector numbers as tweaks (plain64): the number, and zeros above.
    static Register numbers(std::uint64_t first, std::uint64_t by) {
        const std::uint64_t second = first + by;
        return _mm256_setr_epi64x(static_cast<long long>(first), 0, static_cast<long long>(second),
                                  0);
    }
    static Register add(Register a, Register b) { return _mm256_xor_si256(a, b); }
    static Register encrypt_round(Register a, Register key) { return _mm256_aesenc_epi128(a, key); }
    static Register encrypt_last(Register a, Register key) {
        return _mm256_aesenclast_epi128(a, key);
    }
    static Register decrypt_round(Register a, Register key) { return _mm256_aesdec_epi128(a, key); }
    static Register decrypt_last(Register a, Register key) {
        return _mm256_aesdeclast_epi128(a, key);
    }

    /// The exponents of lane `lane`'s blocks, for both their halves.
    static Register exponents(std::size_t lane) {
        const auto first = static_cast<long long>(lane) * 2;
        return _mm256_setr_epi64x(first, first, first + 1, first + 1);
    }
    static Register shift(Register a, std::size_t lane) {
        return _mm256_sllv_epi64(a, exponents(lane));
    }
    static Register shift_out(Register a, std::size_t lane) {
        return _mm256_srlv_epi64(a, _mm256_sub_epi64(_mm256_set1_epi64x(64), exponents(lane)));
    }
    static Register lower_to_upper(Register a) { return _mm256_slli_si256(a, 8); }
    static Register reduce_upper(Register a) {
        return _mm256_clmulepi64_epi128(a, _mm256_set1_epi64x(0x87), 0x01);
    }
    static Register leaving(Register a) { return _mm256_srli_epi64(a, 64 - 16); }
    static Register move_on(Register a) { return _mm256_slli_si256(a, 2); }
};
static_assert(kStepBlocks<Avx2> == 16, "what leaving() and move_on() are written for");

template <unsigned Rounds>
XtsFunctions functions() {
    return {crypt_run<Avx2, Rounds, XtsDirection::Encrypt>,
            crypt_run<Avx2, Rounds, XtsDirection::Decrypt>};
}

}  // namespace

}  // namespace remora::services::crypto
#pragma clang attribute pop

namespace remora::services::crypto {

bool has_vaes256() {
    return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("vaes") != 0 &&
           __builtin_cpu_supports("vpclmulqdq") != 0;
}

XtsFunctions vaes256_functions(unsigned rounds) {
    return rounds == kRounds128 ? functions<kRounds128>() : functions<kRounds256>();
}

}  // namespace remora::services::crypto

#else

namespace remora::services::crypto {

bool has_vaes256() {
    return false;
}
XtsFunctions vaes256_functions(unsigned /*rounds*/) {
    CHECK(false);
}

}  // namespace remora::services::crypto

#endif
