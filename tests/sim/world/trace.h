// SPDX-License-Identifier: Apache-2.0
// Trace: everything that happens in a run, in order, mixed into one hash. Two runs of one seed must
// give the same hash; when they do not, something took time, chance or an address from outside.
#pragma once

#include <bit>
#include <cstdint>
#include <cstdio>
#include <string_view>

#include "core/units.h"

namespace remora::sim {

class Trace {
  public:
    explicit Trace(const core::Nanos& now) : now_(now) {}

    /// Prints each line to `out` from now on.
    void print_to(std::FILE* out) { out_ = out; }
    [[nodiscard]] bool printing() const { return out_ != nullptr; }

    void note(std::string_view what,
              std::string_view who,
              std::uint64_t a = 0,
              std::uint64_t b = 0,
              std::uint64_t c = 0) {
        mix(static_cast<std::uint64_t>(now_.count()));
        for (const char letter : what) {
            hash_ = (hash_ ^ static_cast<unsigned char>(letter)) * kPrime;
        }
        for (const char letter : who) {
            hash_ = (hash_ ^ static_cast<unsigned char>(letter)) * kPrime;
        }
        mix(a);
        mix(b);
        mix(c);
        ++lines_;
        if (out_ != nullptr) {
            print(what, who, a, b, c);
        }
    }

    [[nodiscard]] std::uint64_t hash() const { return hash_; }
    [[nodiscard]] std::uint64_t lines() const { return lines_; }

  private:
    static constexpr std::uint64_t kPrime = 0x100000001b3ULL;  // FNV-1a

    void mix(std::uint64_t value) { hash_ = std::rotl(hash_ ^ value, 27) * 0x9e3779b97f4a7c15ULL; }
    void print(std::string_view what,
               std::string_view who,
               std::uint64_t a,
               std::uint64_t b,
               std::uint64_t c) const {
        constexpr double kMicro = 1e3;
        std::fprintf(out_, "%14.3f us  %-14.*s %-.*s", static_cast<double>(now_.count()) / kMicro,
                     static_cast<int>(who.size()), who.data(), static_cast<int>(what.size()),
                     what.data());
        for (const std::uint64_t value : {a, b, c}) {
            std::fprintf(out_, " %llu", static_cast<unsigned long long>(value));
        }
        std::fputc('\n', out_);
    }

    const core::Nanos& now_;
    std::FILE* out_ = nullptr;
    std::uint64_t hash_ = 0xcbf29ce484222325ULL;
    std::uint64_t lines_ = 0;
};

}  // namespace remora::sim
