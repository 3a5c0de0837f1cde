// SPDX-License-Identifier: Apache-2.0
#include "core/crc32c_fold.h"

#include "core/check.h"

#if defined(__x86_64__)

#include <cstring>
#include <immintrin.h>

#define REMORA_FOLD __attribute__((target("avx2,vpclmulqdq,pclmul,sse4.2")))

namespace remora::core {

namespace {

/// x^exponent modulo the Castagnoli polynomial, bit 31 being x^0 as in all of CRC32C.
consteval std::uint64_t power(unsigned exponent) {
    constexpr std::uint32_t kReflected = 0x82f63b78U;
    std::uint32_t value = 0x80000000U;
    for (unsigned i = 0; i < exponent; ++i) {
        value = (value & 1U) != 0 ? (value >> 1U) ^ kReflected : value >> 1U;
    }
    return value;
}

/// What moves 128 bits by `bytes` towards the end of the message: their first half times `first`
/// plus their second half times `second` is congruent to them there. The product of two reflected
/// numbers lies one bit low, which the shift makes up for (Gopal et al., "Fast CRC Computation for
/// Generic Polynomials Using PCLMULQDQ Instruction", 2009).
struct Move {
    std::uint64_t first;
    std::uint64_t second;
};
consteval Move move_by(unsigned bytes) {
    return {power(8 * bytes + 32) << 1U, power(8 * bytes - 32) << 1U};
}
constexpr Move kBy128 = move_by(128);
constexpr Move kBy32 = move_by(32);
constexpr Move kBy16 = move_by(16);

constexpr std::size_t kLane = 32;
constexpr std::size_t kLanes = 4;
constexpr std::size_t kStep = kLane * kLanes;

/// Where bytes are read, each once and in order.
struct Reader {
    const std::byte* at;
    REMORA_FOLD __m256i next() {
        const __m256i lane = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
        at += kLane;
        return lane;
    }
};

/// The same, and where they are copied to.
struct CopyingReader {
    const std::byte* at;
    std::byte* to;
    REMORA_FOLD __m256i next() {
        const __m256i lane = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), lane);
        at += kLane;
        to += kLane;
        return lane;
    }
};

REMORA_FOLD __m256i both(const Move& move) {
    const auto first = static_cast<long long>(move.first);
    const auto second = static_cast<long long>(move.second);
    return _mm256_set_epi64x(second, first, second, first);
}

/// `lane` moved on to where `next` lies, and added to it.
REMORA_FOLD __m256i fold(__m256i lane, __m256i move, __m256i next) {
    const __m256i first = _mm256_clmulepi64_epi128(lane, move, 0x00);
    const __m256i second = _mm256_clmulepi64_epi128(lane, move, 0x11);
    return _mm256_xor_si256(_mm256_xor_si256(first, second), next);
}

/// The state after 32 bytes, to which everything before them has been added.
REMORA_FOLD std::uint64_t reduce(__m256i lane) {
    const __m256i second_half = _mm256_permute2x128_si256(lane, lane, 0x81);  // then zeros
    const __m128i last = _mm256_castsi256_si128(fold(lane, both(kBy16), second_half));
    const auto first = static_cast<std::uint64_t>(_mm_extract_epi64(last, 0));
    const auto second = static_cast<std::uint64_t>(_mm_extract_epi64(last, 1));
    return _mm_crc32_u64(_mm_crc32_u64(0, first), second);
}

/// Takes `size` bytes, a multiple of kStep and not zero.
template <typename From>
REMORA_FOLD std::uint64_t fold_steps(std::uint32_t state, From& from, std::size_t size) {
    const __m256i before = _mm256_set_epi64x(0, 0, 0, static_cast<long long>(state));
    __m256i a = _mm256_xor_si256(from.next(), before);
    __m256i b = from.next();
    __m256i c = from.next();
    __m256i d = from.next();
    const __m256i by_step = both(kBy128);
    for (std::size_t left = size - kStep; left > 0; left -= kStep) {
        a = fold(a, by_step, from.next());
        b = fold(b, by_step, from.next());
        c = fold(c, by_step, from.next());
        d = fold(d, by_step, from.next());
    }
    const __m256i by_lane = both(kBy32);
    return reduce(fold(fold(fold(a, by_lane, b), by_lane, c), by_lane, d));
}

/// The last bytes, less than kStep of them.
REMORA_FOLD std::uint32_t take_rest(std::uint64_t crc, std::span<const std::byte> bytes) {
    while (bytes.size() >= sizeof(std::uint64_t)) {
        std::uint64_t next = 0;
        std::memcpy(&next, bytes.data(), sizeof(next));
        crc = _mm_crc32_u64(crc, next);
        bytes = bytes.subspan(sizeof(next));
    }
    auto last = static_cast<std::uint32_t>(crc);
    for (const std::byte byte : bytes) {
        last = _mm_crc32_u8(last, static_cast<unsigned char>(byte));
    }
    return last;
}

}  // namespace

bool crc32c_can_fold() {
    return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("vpclmulqdq") != 0 &&
           __builtin_cpu_supports("pclmul") != 0 && __builtin_cpu_supports("sse4.2") != 0;
}

REMORA_FOLD std::uint32_t crc32c_fold(std::uint32_t state, std::span<const std::byte> bytes) {
    const std::size_t whole = bytes.size() / kStep * kStep;
    std::uint64_t crc = state;
    if (whole > 0) {
        Reader from{bytes.data()};
        crc = fold_steps(state, from, whole);
    }
    return take_rest(crc, bytes.subspan(whole));
}

REMORA_FOLD std::uint32_t crc32c_fold_and_copy(std::uint32_t state,
                                               std::span<const std::byte> bytes,
                                               std::byte* to) {
    const std::size_t whole = bytes.size() / kStep * kStep;
    std::uint64_t crc = state;
    if (whole > 0) {
        CopyingReader from{bytes.data(), to};
        crc = fold_steps(state, from, whole);
    }
    const auto rest = bytes.subspan(whole);
    if (!rest.empty()) {
        std::memcpy(to + whole, rest.data(), rest.size());
    }
    return take_rest(crc, rest);
}

}  // namespace remora::core

#else

namespace remora::core {

bool crc32c_can_fold() {
    return false;
}
std::uint32_t crc32c_fold(std::uint32_t /*state*/, std::span<const std::byte> /*bytes*/) {
    CHECK(false);
}
std::uint32_t crc32c_fold_and_copy(std::uint32_t /*state*/,
                                   std::span<const std::byte> /*bytes*/,
                                   std::byte* /*to*/) {
    CHECK(false);
}

}  // namespace remora::core

#endif
