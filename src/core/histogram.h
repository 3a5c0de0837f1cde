// SPDX-License-Identifier: Apache-2.0
// Log-linear latency histogram: powers of two with linear steps in each, 16 of them by default, so
// a percentile is within 1/16 of the truth. Plain counters of one reactor; sums are made by
// message.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace remora::core {

template <unsigned StepBits, unsigned Powers>
class BasicHistogram {
  public:
    static constexpr std::size_t kBuckets = std::size_t{Powers} << StepBits;

    void record(std::uint64_t value) {
        ++counts_[index_of(value)];
        ++total_;
        max_ = value > max_ ? value : max_;
    }

    void add(const BasicHistogram& other) {
        for (std::size_t i = 0; i < kBuckets; ++i) {
            counts_[i] += other.counts_[i];
        }
        total_ += other.total_;
        max_ = other.max_ > max_ ? other.max_ : max_;
    }

    [[nodiscard]] std::uint64_t count() const { return total_; }
    [[nodiscard]] std::uint64_t max() const { return max_; }

    /// Upper edge of the bucket that holds the given part (0..1) of the values; 0 when empty.
    [[nodiscard]] std::uint64_t percentile(double part) const {
        const auto wanted = static_cast<std::uint64_t>(static_cast<double>(total_) * part);
        std::uint64_t seen = 0;
        for (std::size_t i = 0; i < kBuckets; ++i) {
            seen += counts_[i];
            if (seen > wanted || (seen == total_ && seen != 0)) {
                const std::uint64_t edge = i + 1 < kBuckets ? upper_edge(i) : max_;
                return edge < max_ ? edge : max_;
            }
        }
        return max_;
    }

  private:
    /// The last bucket also has what is beyond it.
    static std::size_t index_of(std::uint64_t value) {
        constexpr std::uint64_t kLinear = std::uint64_t{1} << StepBits;
        if (value < kLinear) {
            return value;
        }
        const auto log2 = static_cast<unsigned>(std::bit_width(value)) - 1;
        const std::uint64_t step = (value >> (log2 - StepBits)) & (kLinear - 1);
        const std::size_t index =
            ((static_cast<std::size_t>(log2) - StepBits + 1) << StepBits) + step;
        return index < kBuckets ? index : kBuckets - 1;
    }
    static std::uint64_t upper_edge(std::size_t index) {
        constexpr std::uint64_t kLinear = std::uint64_t{1} << StepBits;
        if (index < kLinear) {
            return index;
        }
        const auto shift = static_cast<unsigned>((index >> StepBits) - 1);
        return ((kLinear + (index & (kLinear - 1)) + 1) << shift) - 1;
    }

    std::array<std::uint64_t, kBuckets> counts_{};
    std::uint64_t total_ = 0;
    std::uint64_t max_ = 0;
};

/// 8 KiB, any value.
using Histogram = BasicHistogram<4, 64>;
/// 1.3 KiB, to be kept for each volume and reactor: within 1/4, up to 2^40 (18 minutes of
/// nanoseconds).
using CoarseHistogram = BasicHistogram<2, 40>;

}  // namespace remora::core
