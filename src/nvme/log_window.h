// SPDX-License-Identifier: Apache-2.0
// LogWindow: the part of a log page that a host reads. A page is written record by record from its
// start; what lies in the part is kept, so a page needs no memory of its own.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "core/byte_reader.h"

namespace remora::nvme {

class LogWindow {
  public:
    /// `to` is zeroed: it keeps zeros behind the page's end.
    LogWindow(std::uint64_t offset, std::span<std::byte> to) : offset_(offset), to_(to) {
        std::ranges::fill(to_, std::byte{0});
    }

    template <typename T>
    void append(const T& record) {
        const std::span<const std::byte> bytes = core::as_bytes_of(record);
        const std::uint64_t begin = std::max(at_, offset_);
        const std::uint64_t end = std::min(at_ + bytes.size(), offset_ + to_.size());
        if (begin < end) {
            std::memcpy(to_.data() + (begin - offset_), bytes.data() + (begin - at_), end - begin);
        }
        at_ += bytes.size();
    }
    /// A record of so many bytes that needs not be made.
    void skip(std::uint64_t bytes) { at_ += bytes; }
    /// Whether any of the next `bytes` is in the part.
    [[nodiscard]] bool wants(std::uint64_t bytes) const {
        return at_ + bytes > offset_ && at_ < offset_ + to_.size();
    }
    /// Bytes of the page so far.
    [[nodiscard]] std::uint64_t size() const { return at_; }

  private:
    std::uint64_t offset_;
    std::span<std::byte> to_;
    std::uint64_t at_ = 0;
};

}  // namespace remora::nvme
