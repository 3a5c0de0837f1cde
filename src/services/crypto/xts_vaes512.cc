// SPDX-License-Identifier: Apache-2.0
// The kernel for VAES over AVX-512: registers of four blocks, so a step is a sector of 512 bytes.
#include "core/check.h"
#include "services/crypto/xts_kernel.h"

#if defined(__x86_64__)

#include <algorithm>
#include <cstring>
#include <immintrin.h>

#pragma clang attribute push(                                                    \
    __attribute__((target("avx512f,avx512bw,avx2,aes,vaes,pclmul,vpclmulqdq"))), \
    apply_to = function)
#include "services/crypto/xts_lanes.h"

namespace remora::services::crypto {

namespace {

struct Avx512 {
    using Register = __m512i;
    static constexpr std::size_t kBlocks = 4;

    static Register load(const std::byte* from) { return _mm512_loadu_si512(from); }
    static void store(std::byte* to, Register value) { _mm512_storeu_si512(to, value); }
    static Register broadcast(const std::byte* block) {
        return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(block)));
    }
    /// Sector numbers as tweaks (plain64): the number, and zeros above.
    static Register numbers(std::uint64_t first, std::uint64_t by) {
        const std::uint64_t second = first + by;
        const std::uint64_t third = second + by;
        const std::uint64_t fourth = third + by;
        return _mm512_setr_epi64(static_cast<long long>(first), 0, static_cast<long long>(second),
                                 0, static_cast<long long>(third), 0,
                                 static_cast<long long>(fourth), 0);
    }
    static Register add(Register a, Register b) { return _mm512_xor_si512(a, b); }
    static Register add(Register a, Register b, Register c) {
        return _mm512_ternarylogic_epi64(a, b, c, 0x96);
    }
    static Register encrypt_round(Register a, Register key) { return _mm512_aesenc_epi128(a, key); }
    static Register encrypt_last(Register a, Register key) {
        return _mm512_aesenclast_epi128(a, key);
    }
    static Register decrypt_round(Register a, Register key) { return _mm512_aesdec_epi128(a, key); }
    static Register decrypt_last(Register a, Register key) {
        return _mm512_aesdeclast_epi128(a, key);
    }

    static Register fill(long long value) { return _mm512_set1_epi64(value); }
    /// x^first, x^(first + 1), ... in the lower halves.
    static Register powers(std::size_t first) {
        return _mm512_setr_epi64(1LL << first, 0, 2LL << first, 0, 4LL << first, 0, 8LL << first,
                                 0);
    }
    static Register product_of_lower(Register a, Register b) {
        return _mm512_clmulepi64_epi128(a, b, 0x00);
    }
    /// Of `a`; the lower half of `b`.
    static Register product_of_upper(Register a, Register b) {
        return _mm512_clmulepi64_epi128(a, b, 0x01);
    }
    template <int Bytes>
    static Register move_up(Register a) {
        return _mm512_bslli_epi128(a, Bytes);
    }
    template <int Bytes>
    static Register move_down(Register a) {
        return _mm512_bsrli_epi128(a, Bytes);
    }
};

template <unsigned Rounds>
XtsFunctions functions() {
    return {crypt_run<Avx512, Rounds, XtsDirection::Encrypt>,
            crypt_run<Avx512, Rounds, XtsDirection::Decrypt>};
}

}  // namespace

}  // namespace remora::services::crypto
#pragma clang attribute pop

namespace remora::services::crypto {

bool has_vaes512() {
    return __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
           __builtin_cpu_supports("vaes") != 0 && __builtin_cpu_supports("vpclmulqdq") != 0;
}

XtsFunctions vaes512_functions(unsigned rounds) {
    return rounds == kRounds128 ? functions<kRounds128>() : functions<kRounds256>();
}

}  // namespace remora::services::crypto

#else

namespace remora::services::crypto {

bool has_vaes512() {
    return false;
}
XtsFunctions vaes512_functions(unsigned /*rounds*/) {
    CHECK(false);
}

}  // namespace remora::services::crypto

#endif
