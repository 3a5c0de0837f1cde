// SPDX-License-Identifier: Apache-2.0
// Input: a fuzzer's bytes taken front to back as numbers and runs. When they run out it gives
// zeros and empty runs, so a script always ends.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

namespace remora::fuzz {

class Input {
  public:
    Input(const std::uint8_t* data, std::size_t size)
        : bytes_(std::as_bytes(std::span(data, size))) {}

    template <typename T>
    T take() {
        static_assert(std::is_trivially_copyable_v<T>);
        T out{};
        const auto run = take_run(sizeof(T));
        if (!run.empty()) {
            std::memcpy(&out, run.data(), run.size());
        }
        return out;
    }
    std::uint8_t u8() { return take<std::uint8_t>(); }
    std::uint16_t u16() { return take<std::uint16_t>(); }
    std::uint32_t u32() { return take<std::uint32_t>(); }
    std::uint64_t u64() { return take<std::uint64_t>(); }
    bool flag() { return (u8() & 1U) != 0; }
    /// 0 .. count-1, of one byte.
    std::uint32_t below(std::uint32_t count) { return u8() % count; }

    /// At most `size` bytes: what is left when that is less.
    std::span<const std::byte> take_run(std::size_t size) {
        const auto run = bytes_.first(std::min(size, bytes_.size()));
        bytes_ = bytes_.subspan(run.size());
        return run;
    }
    /// A run in memory of exactly its own size, so that reading past its end is seen.
    std::vector<std::byte> take_bytes(std::size_t size) {
        const auto run = take_run(size);
        return {run.begin(), run.end()};
    }
    std::string take_text(std::size_t size) {
        const auto run = take_run(size);
        return {reinterpret_cast<const char*>(run.data()), run.size()};
    }
    std::span<const std::byte> rest() { return take_run(bytes_.size()); }

    [[nodiscard]] bool empty() const { return bytes_.empty(); }
    [[nodiscard]] std::size_t size() const { return bytes_.size(); }

  private:
    std::span<const std::byte> bytes_;
};

/// Overwrites a part of `page`: where (two bytes), how much (one byte), with what.
inline void patch(Input& input, std::span<std::byte> page) {
    const std::size_t at = page.empty() ? 0 : input.u16() % page.size();
    const auto run = input.take_run(std::min<std::size_t>(input.u8(), page.size() - at));
    if (!run.empty()) {
        std::memcpy(page.data() + at, run.data(), run.size());
    }
}

}  // namespace remora::fuzz
