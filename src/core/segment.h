// SPDX-License-Identifier: Apache-2.0
// Segment: one run of bytes of a scatter-gather list, laid out as the kernel's iovec so that a
// list of them can be handed to recvmsg and sendmsg as it is. A Segment owns nothing.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>

namespace remora::core {

struct Segment {
    std::byte* data = nullptr;
    std::size_t size = 0;
};

/// Sum of the sizes, in bytes.
inline std::size_t total_size(std::span<const Segment> segments) {
    std::size_t total = 0;
    for (const Segment& segment : segments) {
        total += segment.size;
    }
    return total;
}

/// Walks a scatter-gather list byte range by byte range. Value type; borrows the list.
class SegmentCursor {
  public:
    SegmentCursor() = default;
    explicit SegmentCursor(std::span<const Segment> segments) : segments_(segments) {
        skip_empty();
    }

    /// Moves on by `bytes`, or to the end if fewer are left.
    void advance(std::size_t bytes) {
        while (bytes > 0 && index_ < segments_.size()) {
            const std::size_t step = std::min(bytes, segments_[index_].size - offset_);
            offset_ += step;
            bytes -= step;
            skip_empty();
        }
    }

    /// The contiguous run at the cursor, at most `limit` bytes; empty at the end.
    [[nodiscard]] Segment peek(std::size_t limit) const {
        if (index_ >= segments_.size()) {
            return {};
        }
        const Segment& at = segments_[index_];
        return {at.data + offset_, std::min(limit, at.size - offset_)};
    }

    /// Copies `from` into the list and moves on. Returns the bytes copied (less at the end).
    std::size_t copy_in(std::span<const std::byte> from) {
        std::size_t done = 0;
        while (done < from.size()) {
            const Segment run = peek(from.size() - done);
            if (run.size == 0) {
                break;
            }
            std::memcpy(run.data, from.data() + done, run.size);
            done += run.size;
            advance(run.size);
        }
        return done;
    }

    /// Copies out of the list into `to` and moves on. Returns the bytes copied (less at the end).
    std::size_t copy_out(std::span<std::byte> to) {
        std::size_t done = 0;
        while (done < to.size()) {
            const Segment run = peek(to.size() - done);
            if (run.size == 0) {
                break;
            }
            std::memcpy(to.data() + done, run.data, run.size);
            done += run.size;
            advance(run.size);
        }
        return done;
    }

    /// Zeroes the next `bytes` of the list and moves on.
    void zero(std::size_t bytes) {
        while (bytes > 0) {
            const Segment run = peek(bytes);
            if (run.size == 0) {
                break;
            }
            std::memset(run.data, 0, run.size);
            bytes -= run.size;
            advance(run.size);
        }
    }

  private:
    void skip_empty() {
        while (index_ < segments_.size() && offset_ == segments_[index_].size) {
            ++index_;
            offset_ = 0;
        }
    }

    std::span<const Segment> segments_;
    std::size_t index_ = 0;
    std::size_t offset_ = 0;
};

}  // namespace remora::core
