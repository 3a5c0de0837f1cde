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
    static Register add(Register a, Register b, Register c) { return add(add(a, b), c); }
    static Register encrypt_round(Register a, Register key) { return _mm256_aesenc_epi128(a, key); }
    static Register encrypt_last(Register a, Register key) {
        return _mm256_aesenclast_epi128(a, key);
    }
    static Register decrypt_round(Register a, Register key) { return _mm256_aesdec_epi128(a, key); }
    static Register decrypt_last(Register a, Register key) {
        return _mm256_aesdeclast_epi128(a, key);
    }

    static Register fill(long long value) { return _mm256_set1_epi64x(value); }
    /// x^first and x^(first + 1) in the lower halves.
    static Register powers(std::size_t first) {
        return _mm256_setr_epi64x(1LL << first, 0, 2LL << first, 0);
    }
    static Register product_of_lower(Register a, Register b) {
        return _mm256_clmulepi64_epi128(a, b, 0x00);
    }
    /// Of `a`; the lower half of `b`.
    static Register product_of_upper(Register a, Register b) {
        return _mm256_clmulepi64_epi128(a, b, 0x01);
    }
    template <int Bytes>
    static Register move_up(Register a) {
        return _mm256_slli_si256(a, Bytes);
    }
    template <int Bytes>
    static Register move_down(Register a) {
        return _mm256_srli_si256(a, Bytes);
    }
};

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
