// SPDX-License-Identifier: Apache-2.0
// XTS-AES (IEEE 1619-2018 section 5.3) written once for any width of register. A kernel's file
// gives `V`: a register of V::kBlocks AES blocks and the instructions on it; it includes this
// header inside the pragma that allows them.
//
//   a step = 8 registers:   C[i] = AES(P[i] ^ T[i]) ^ T[i]   T[i + step] = T[i] * x^step
//
// The ports that run AES are the limit, so that they must do nothing else and never wait:
// - Eight lanes go through each round together: a round waits 3 or 4 cycles for the one before it.
// - Tweaks are made of carry-less products and moves of whole bytes, which other ports run; shifts
//   of bits share the port of 512-bit AES on Intel's processors and cost a fifth at 512 bytes.
// - Whitening is folded into AES: the first round key is added with data and tweak, and the last
//   one is added to the tweak while the rounds run.
// - Tweaks are encrypted a register, V::kBlocks sectors, at a time, and the next before the data of
//   the present: a chain of rounds that is long but narrow, and so fills gaps and makes none.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "services/crypto/xts_schedule.h"

#define REMORA_XTS_INLINE __attribute__((always_inline)) inline

namespace remora::services::crypto {

constexpr std::size_t kLanes = 8;
template <class V>
constexpr std::size_t kStepBlocks = kLanes * V::kBlocks;
template <class V>
constexpr std::size_t kStepBytes = kStepBlocks<V> * kAesBlock;

template <class V, std::size_t Lanes = kLanes>
struct XtsStep {
    typename V::Register lane[Lanes];
};

/// x^128 = x^7 + x^2 + x + 1: what goes beyond 128 bits comes back as a product with it.
constexpr long long kReduction = 0x87;

/// In GF(2^128). `powers` are below x^64: only their lower halves count.
template <class V>
REMORA_XTS_INLINE typename V::Register times(typename V::Register tweak,
                                             typename V::Register powers) {
    const auto upper = V::product_of_upper(tweak, powers);
    const auto beyond = V::product_of_upper(upper, V::fill(kReduction));
    return V::add(V::product_of_lower(tweak, powers), V::template move_up<8>(upper), beyond);
}

/// Times x^(8 * Bytes): bytes move up, and what leaves at the top is reduced.
template <class V, int Bytes>
REMORA_XTS_INLINE typename V::Register times_bytes(typename V::Register tweak) {
    static_assert(Bytes <= 8, "what leaves is in the lower half");
    const auto leaving = V::template move_down<16 - Bytes>(tweak);
    return V::add(V::template move_up<Bytes>(tweak),
                  V::product_of_lower(leaving, V::fill(kReduction)));
}

/// The tweaks of a sector's first step: `tweak`, which all blocks hold, times x^0, x^1, ...
template <class V>
REMORA_XTS_INLINE void first_tweaks(XtsStep<V>& tweaks, typename V::Register tweak) {
    constexpr std::size_t kLanesPerByte = 8 / V::kBlocks;  // after so many it is x^8 more
#pragma clang loop unroll(full)
    for (std::size_t i = 0; i < kLanes; ++i) {
        tweaks.lane[i] = i < kLanesPerByte ? times<V>(tweak, V::powers(i * V::kBlocks))
                                           : times_bytes<V, 1>(tweaks.lane[i - kLanesPerByte]);
    }
}

/// Each tweak times x^(blocks of a step).
template <class V>
REMORA_XTS_INLINE void next_tweaks(XtsStep<V>& tweaks) {
    static_assert(kStepBlocks<V> % 8 == 0, "whole bytes");
#pragma clang loop unroll(full)
    for (std::size_t i = 0; i < kLanes; ++i) {
        tweaks.lane[i] = times_bytes<V, kStepBlocks<V> / 8>(tweaks.lane[i]);
    }
}

/// One round over all lanes.
template <class V, XtsDirection Direction, std::size_t Lanes>
REMORA_XTS_INLINE void round_of(XtsStep<V, Lanes>& step, typename V::Register key) {
#pragma clang loop unroll(full)
    for (std::size_t i = 0; i < Lanes; ++i) {
        step.lane[i] = Direction == XtsDirection::Encrypt ? V::encrypt_round(step.lane[i], key)
                                                          : V::decrypt_round(step.lane[i], key);
    }
}

template <class V, XtsDirection Direction>
REMORA_XTS_INLINE typename V::Register last_round(typename V::Register a,
                                                  typename V::Register key) {
    return Direction == XtsDirection::Encrypt ? V::encrypt_last(a, key) : V::decrypt_last(a, key);
}

template <class V, unsigned Rounds, XtsDirection Direction>
REMORA_XTS_INLINE void crypt_step(const RoundKeys& keys,
                                  const XtsStep<V>& tweaks,
                                  const std::byte* in,
                                  std::byte* out) {
    XtsStep<V> data;
    const auto first = V::broadcast(keys[0].data());
#pragma clang loop unroll(full)
    for (std::size_t i = 0; i < kLanes; ++i) {
        data.lane[i] = V::add(tweaks.lane[i], first, V::load(in + i * sizeof(data.lane[i])));
    }
#pragma clang loop unroll(full)
    for (unsigned round = 1; round < Rounds; ++round) {
        round_of<V, Direction>(data, V::broadcast(keys[round].data()));
    }
    const auto last = V::broadcast(keys[Rounds].data());
#pragma clang loop unroll(full)
    for (std::size_t i = 0; i < kLanes; ++i) {
        const auto key = V::add(tweaks.lane[i], last);
        V::store(out + i * sizeof(data.lane[i]), last_round<V, Direction>(data.lane[i], key));
    }
}

template <class V, unsigned Rounds, XtsDirection Direction>
REMORA_XTS_INLINE void crypt_sector(const RoundKeys& keys,
                                    typename V::Register tweak,
                                    const std::byte* in,
                                    std::byte* out,
                                    std::size_t bytes) {
    XtsStep<V> tweaks;
    first_tweaks<V>(tweaks, tweak);
    for (;;) {
        crypt_step<V, Rounds, Direction>(keys, tweaks, in, out);
        bytes -= kStepBytes<V>;
        if (bytes == 0) {
            return;
        }
        in += kStepBytes<V>;
        out += kStepBytes<V>;
        next_tweaks<V>(tweaks);
    }
}

/// The encrypted numbers of V::kBlocks sectors.
template <class V, unsigned Rounds>
REMORA_XTS_INLINE typename V::Register sector_tweaks(const RoundKeys& keys,
                                                     std::uint64_t first,
                                                     std::uint64_t by) {
    XtsStep<V, 1> step{V::add(V::numbers(first, by), V::broadcast(keys[0].data()))};
#pragma clang loop unroll(full)
    for (unsigned round = 1; round < Rounds; ++round) {
        round_of<V, XtsDirection::Encrypt>(step, V::broadcast(keys[round].data()));
    }
    return V::encrypt_last(step.lane[0], V::broadcast(keys[Rounds].data()));
}

template <class V, unsigned Rounds, XtsDirection Direction>
void crypt_run(const XtsSchedule& schedule, const XtsRun& run) {
    static_assert(512 % kStepBytes<V> == 0, "a sector is whole steps");
    const RoundKeys& keys =
        Direction == XtsDirection::Encrypt ? schedule.encrypt : schedule.decrypt;
    const std::byte* in = run.in;
    std::byte* out = run.out;
    std::uint64_t number = run.first_tweak;
    // Kept in memory for their turn: a block is loaded into all of a register in one go.
    alignas(64) std::byte tweaks[V::kBlocks * kAesBlock];
    auto next = sector_tweaks<V, Rounds>(schedule.tweak, number, run.tweak_step);
    for (std::size_t left = run.sectors; left > 0;) {
        V::store(tweaks, next);
        const std::size_t count = std::min(left, V::kBlocks);
        left -= count;
        if (left > 0) {
            number += V::kBlocks * run.tweak_step;
            next = sector_tweaks<V, Rounds>(schedule.tweak, number, run.tweak_step);
        }
        for (std::size_t i = 0; i < count; ++i) {
            crypt_sector<V, Rounds, Direction>(keys, V::broadcast(tweaks + i * kAesBlock), in, out,
                                               run.sector_size);
            in += run.sector_size;
            out += run.sector_size;
        }
    }
}

}  // namespace remora::services::crypto
