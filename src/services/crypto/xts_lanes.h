// SPDX-License-Identifier: Apache-2.0
// XTS-AES (IEEE 1619-2018 section 5.3) written once for any width of register. A kernel's file
// gives `V`: a register of V::kBlocks AES blocks and the instructions on it; it includes this
// header inside the pragma that allows them.
//
//   a step = 8 registers, so that the AES units, with 4 cycles of latency and two results a cycle,
//   always have work:   C[i] = AES(P[i] ^ T[i]) ^ T[i]   T[i + step] = T[i] * x^step
//
// Tweaks of as many sectors as a step has blocks are encrypted together, too.
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

template <class V>
REMORA_XTS_INLINE void load_step(XtsStep<V>& step, const std::byte* from) {
#pragma clang loop unroll(full)
    for (std::size_t i = 0; i < kLanes; ++i) {
        step.lane[i] = V::load(from + i * sizeof(step.lane[i]));
    }
}

template <class V>
REMORA_XTS_INLINE void store_step(const XtsStep<V>& step, std::byte* to) {
#pragma clang loop unroll(full)
    for (std::size_t i = 0; i < kLanes; ++i) {
        V::store(to + i * sizeof(step.lane[i]), step.lane[i]);
    }
}

template <class V>
REMORA_XTS_INLINE void add_step(XtsStep<V>& step, const XtsStep<V>& other) {
#pragma clang loop unroll(full)
    for (std::size_t i = 0; i < kLanes; ++i) {
        step.lane[i] = V::add(step.lane[i], other.lane[i]);
    }
}

/// AES over all lanes, a round at a time.
template <class V, unsigned Rounds, XtsDirection Direction, std::size_t Lanes>
REMORA_XTS_INLINE void cipher_step(XtsStep<V, Lanes>& step, const RoundKeys& keys) {
    constexpr bool kEncrypt = Direction == XtsDirection::Encrypt;
    const auto first = V::broadcast(keys[0].data());
#pragma clang loop unroll(full)
    for (std::size_t i = 0; i < Lanes; ++i) {
        step.lane[i] = V::add(step.lane[i], first);
    }
#pragma clang loop unroll(full)
    for (unsigned round = 1; round < Rounds; ++round) {
        const auto key = V::broadcast(keys[round].data());
#pragma clang loop unroll(full)
        for (std::size_t i = 0; i < Lanes; ++i) {
            step.lane[i] = kEncrypt ? V::encrypt_round(step.lane[i], key)
                                    : V::decrypt_round(step.lane[i], key);
        }
    }
    const auto last = V::broadcast(keys[Rounds].data());
#pragma clang loop unroll(full)
    for (std::size_t i = 0; i < Lanes; ++i) {
        step.lane[i] =
            kEncrypt ? V::encrypt_last(step.lane[i], last) : V::decrypt_last(step.lane[i], last);
    }
}

/// The tweaks of a sector's first step: `tweak` times x^0, x^1, ... in GF(2^128) modulo
/// x^128 + x^7 + x^2 + x + 1. Per 64 bits: shifted, plus what the lower half has shifted out, plus
/// what the upper half has shifted out, reduced.
template <class V>
REMORA_XTS_INLINE void first_tweaks(XtsStep<V>& tweaks, typename V::Register tweak) {
#pragma clang loop unroll(full)
    for (std::size_t i = 0; i < kLanes; ++i) {
        const auto carry = V::shift_out(tweak, i);
        tweaks.lane[i] =
            V::add(V::add(V::shift(tweak, i), V::lower_to_upper(carry)), V::reduce_upper(carry));
    }
}

/// Each tweak times x^(blocks of a step): whole bytes move, and what leaves at the top is reduced.
template <class V>
REMORA_XTS_INLINE void next_tweaks(XtsStep<V>& tweaks) {
#pragma clang loop unroll(full)
    for (std::size_t i = 0; i < kLanes; ++i) {
        const auto leaving = V::reduce_upper(V::leaving(tweaks.lane[i]));
        tweaks.lane[i] = V::add(V::move_on(tweaks.lane[i]), leaving);
    }
}

template <class V, unsigned Rounds, XtsDirection Direction>
REMORA_XTS_INLINE void crypt_sector(const RoundKeys& keys,
                                    const std::byte* tweak,
                                    const std::byte* in,
                                    std::byte* out,
                                    std::size_t bytes) {
    XtsStep<V> tweaks;
    first_tweaks<V>(tweaks, V::broadcast(tweak));
    for (;;) {
        XtsStep<V> data;
        load_step<V>(data, in);
        add_step<V>(data, tweaks);
        cipher_step<V, Rounds, Direction>(data, keys);
        add_step<V>(data, tweaks);
        store_step<V>(data, out);
        bytes -= kStepBytes<V>;
        if (bytes == 0) {
            return;
        }
        in += kStepBytes<V>;
        out += kStepBytes<V>;
        next_tweaks<V>(tweaks);
    }
}

/// Encrypted numbers of as many sectors as `Lanes` have blocks. The numbers are made in registers:
/// what is stored in halves cannot be forwarded to a load of the whole.
template <class V, unsigned Rounds, std::size_t Lanes>
REMORA_XTS_INLINE void sector_tweaks(const RoundKeys& keys,
                                     std::uint64_t first,
                                     std::uint64_t by,
                                     std::byte* to) {
    XtsStep<V, Lanes> step;
#pragma clang loop unroll(full)
    for (std::size_t i = 0; i < Lanes; ++i) {
        step.lane[i] = V::numbers(first + i * V::kBlocks * by, by);
    }
    cipher_step<V, Rounds, XtsDirection::Encrypt>(step, keys);
#pragma clang loop unroll(full)
    for (std::size_t i = 0; i < Lanes; ++i) {
        V::store(to + i * sizeof(step.lane[i]), step.lane[i]);
    }
}

template <class V, unsigned Rounds, XtsDirection Direction>
void crypt_run(const XtsSchedule& schedule, const XtsRun& run) {
    static_assert(512 % kStepBytes<V> == 0, "a sector is whole steps");
    const RoundKeys& keys =
        Direction == XtsDirection::Encrypt ? schedule.encrypt : schedule.decrypt;
    alignas(64) std::byte tweaks[kStepBytes<V>];
    const std::byte* in = run.in;
    std::byte* out = run.out;
    for (std::size_t done = 0; done < run.sectors;) {
        const std::size_t count = std::min(run.sectors - done, kStepBlocks<V>);
        const std::uint64_t first = run.first_tweak + done * run.tweak_step;
        if (count <= V::kBlocks) {
            sector_tweaks<V, Rounds, 1>(schedule.tweak, first, run.tweak_step, tweaks);
        } else {
            sector_tweaks<V, Rounds, kLanes>(schedule.tweak, first, run.tweak_step, tweaks);
        }
        for (std::size_t i = 0; i < count; ++i) {
            crypt_sector<V, Rounds, Direction>(keys, tweaks + i * kAesBlock, in, out,
                                               run.sector_size);
            in += run.sector_size;
            out += run.sector_size;
        }
        done += count;
    }
}

}  // namespace remora::services::crypto
