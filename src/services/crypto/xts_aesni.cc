// SPDX-License-Identifier: Apache-2.0
// The kernel for AES-NI, a block a register, and the key expansion of all kernels.
#include "core/check.h"
#include "services/crypto/xts_kernel.h"

#if defined(__x86_64__)

#include <algorithm>
#include <cstring>
#include <immintrin.h>

#pragma clang attribute push(__attribute__((target("sse4.1,aes,pclmul"))), apply_to = function)
#include "services/crypto/xts_lanes.h"

namespace remora::services::crypto {

namespace {

struct Sse {
    using Register = __m128i;
    static constexpr std::size_t kBlocks = 1;

    static Register load(const std::byte* from) {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    }
    static void store(std::byte* to, Register value) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to), value);
    }
    static Register broadcast(const std::byte* block) {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(block));
    }
    /// Sector numbers as tweaks (plain64): the number, and zeros above.
    static Register numbers(std::uint64_t first, std::uint64_t /*by*/) {
        return _mm_set_epi64x(0, static_cast<long long>(first));
    }
    static Register add(Register a, Register b) { return _mm_xor_si128(a, b); }
    static Register add(Register a, Register b, Register c) { return add(add(a, b), c); }
    static Register encrypt_round(Register a, Register key) { return _mm_aesenc_si128(a, key); }
    static Register encrypt_last(Register a, Register key) { return _mm_aesenclast_si128(a, key); }
    static Register decrypt_round(Register a, Register key) { return _mm_aesdec_si128(a, key); }
    static Register decrypt_last(Register a, Register key) { return _mm_aesdeclast_si128(a, key); }

    static Register fill(long long value) { return _mm_set1_epi64x(value); }
    /// x^first in the lower half.
    static Register powers(std::size_t first) { return _mm_set_epi64x(0, 1LL << first); }
    static Register product_of_lower(Register a, Register b) {
        return _mm_clmulepi64_si128(a, b, 0x00);
    }
    /// Of `a`; the lower half of `b`.
    static Register product_of_upper(Register a, Register b) {
        return _mm_clmulepi64_si128(a, b, 0x01);
    }
    template <int Bytes>
    static Register move_up(Register a) {
        return _mm_slli_si128(a, Bytes);
    }
    template <int Bytes>
    static Register move_down(Register a) {
        return _mm_srli_si128(a, Bytes);
    }
};

template <unsigned Rounds>
XtsFunctions functions() {
    return {crypt_run<Sse, Rounds, XtsDirection::Encrypt>,
            crypt_run<Sse, Rounds, XtsDirection::Decrypt>};
}

// Key expansion (FIPS 197 section 5.2). AESKEYGENASSIST takes its round constant as an immediate.

__m128i load(const AesBlock& block) {
    return Sse::load(block.data());
}

/// Each word plus all words before it.
__m128i sum_up(__m128i words) {
    words = _mm_xor_si128(words, _mm_slli_si128(words, 4));
    return _mm_xor_si128(words, _mm_slli_si128(words, 8));
}

/// The round key `back` before the one at `to`, and the word of the one just before it that
/// `Shuffle` picks.
template <int Constant, int Shuffle>
void next_key(RoundKeys& keys, std::size_t to, std::size_t back) {
    const __m128i assist = _mm_aeskeygenassist_si128(load(keys[to - 1]), Constant);
    const __m128i word = _mm_shuffle_epi32(assist, Shuffle);
    Sse::store(keys[to].data(), _mm_xor_si128(sum_up(load(keys[to - back])), word));
}

constexpr int kRotated = 0xff;      // SubWord(RotWord(w)) + Rcon
constexpr int kSubstituted = 0xaa;  // SubWord(w)

void expand_128(RoundKeys& keys) {
    next_key<0x01, kRotated>(keys, 1, 1);
    next_key<0x02, kRotated>(keys, 2, 1);
    next_key<0x04, kRotated>(keys, 3, 1);
    next_key<0x08, kRotated>(keys, 4, 1);
    next_key<0x10, kRotated>(keys, 5, 1);
    next_key<0x20, kRotated>(keys, 6, 1);
    next_key<0x40, kRotated>(keys, 7, 1);
    next_key<0x80, kRotated>(keys, 8, 1);
    next_key<0x1b, kRotated>(keys, 9, 1);
    next_key<0x36, kRotated>(keys, 10, 1);
}

template <int Constant>
void next_pair(RoundKeys& keys, std::size_t to) {
    next_key<Constant, kRotated>(keys, to, 2);
    if (to < kRounds256) {
        next_key<0, kSubstituted>(keys, to + 1, 2);
    }
}

void expand_256(RoundKeys& keys) {
    next_pair<0x01>(keys, 2);
    next_pair<0x02>(keys, 4);
    next_pair<0x04>(keys, 6);
    next_pair<0x08>(keys, 8);
    next_pair<0x10>(keys, 10);
    next_pair<0x20>(keys, 12);
    next_pair<0x40>(keys, 14);
}

}  // namespace

void expand_key(std::span<const std::byte> key, RoundKeys& encrypt) {
    CHECK(key.size() == 16 || key.size() == 32);
    std::memcpy(encrypt.data(), key.data(), key.size());
    if (key.size() == 16) {
        expand_128(encrypt);
    } else {
        expand_256(encrypt);
    }
}

void invert_key(const RoundKeys& encrypt, unsigned rounds, RoundKeys& decrypt) {
    decrypt[0] = encrypt[rounds];
    for (unsigned round = 1; round < rounds; ++round) {
        Sse::store(decrypt[round].data(), _mm_aesimc_si128(load(encrypt[rounds - round])));
    }
    decrypt[rounds] = encrypt[0];
}

}  // namespace remora::services::crypto
#pragma clang attribute pop

namespace remora::services::crypto {

bool has_aesni() {
    return __builtin_cpu_supports("sse4.1") != 0 && __builtin_cpu_supports("aes") != 0 &&
           __builtin_cpu_supports("pclmul") != 0;
}

XtsFunctions aesni_functions(unsigned rounds) {
    return rounds == kRounds128 ? functions<kRounds128>() : functions<kRounds256>();
}

}  // namespace remora::services::crypto

#else

namespace remora::services::crypto {

bool has_aesni() {
    return false;
}
XtsFunctions aesni_functions(unsigned /*rounds*/) {
    CHECK(false);
}

void expand_key(std::span<const std::byte> /*key*/, RoundKeys& /*encrypt*/) {
    CHECK(false);
}
void invert_key(const RoundKeys& /*encrypt*/, unsigned /*rounds*/, RoundKeys& /*decrypt*/) {
    CHECK(false);
}

}  // namespace remora::services::crypto

#endif
