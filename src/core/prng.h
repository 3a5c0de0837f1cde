// SPDX-License-Identifier: Apache-2.0
// Random numbers behind a seam: the daemon seeds one from the machine, a simulation from its seed.
#pragma once

#include <cstdint>

namespace remora::core {

/// xoshiro256** generator. Fast, good enough for jitter, ids and simulation; not for keys.
/// Value type; not thread safe: each owner forks its own.
class Prng {
  public:
    explicit Prng(std::uint64_t seed) {
        for (auto& word : state_) {
            // splitmix64, the usual way to fill the state from one word.
            seed += 0x9e3779b97f4a7c15ULL;
            std::uint64_t mixed = seed;
            mixed = (mixed ^ (mixed >> 30U)) * 0xbf58476d1ce4e5b9ULL;
            mixed = (mixed ^ (mixed >> 27U)) * 0x94d049bb133111ebULL;
            word = mixed ^ (mixed >> 31U);
        }
    }

    std::uint64_t next() {
        const std::uint64_t result = rotl(state_[1] * 5, 7) * 9;
        const std::uint64_t shifted = state_[1] << 17U;
        state_[2] ^= state_[0];
        state_[3] ^= state_[1];
        state_[1] ^= state_[2];
        state_[0] ^= state_[3];
        state_[2] ^= shifted;
        state_[3] = rotl(state_[3], 45);
        return result;
    }

    /// Uniform in [0, bound); 0 for bound 0.
    std::uint64_t below(std::uint64_t bound) {
        __extension__ using Wide = unsigned __int128;
        return static_cast<std::uint64_t>((static_cast<Wide>(next()) * bound) >> 64U);
    }

    /// An independent generator, so that a draw added here does not shift the draws there.
    Prng fork() { return Prng(next()); }

  private:
    static std::uint64_t rotl(std::uint64_t value, unsigned bits) {
        return (value << bits) | (value >> (64U - bits));
    }
    std::uint64_t state_[4] = {};
};

}  // namespace remora::core
