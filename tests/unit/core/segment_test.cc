// SPDX-License-Identifier: Apache-2.0
#include "core/segment.h"

#include <array>
#include <sys/uio.h>
#include <vector>

#include <gtest/gtest.h>

#include "core/prng.h"

namespace remora::core {
namespace {

// A list of segments is handed to the kernel as it is.
static_assert(sizeof(Segment) == sizeof(iovec));
static_assert(offsetof(Segment, data) == offsetof(iovec, iov_base));
static_assert(offsetof(Segment, size) == offsetof(iovec, iov_len));

/// Memory cut into segments of the given sizes, numbered bytes inside.
class Cut {
  public:
    explicit Cut(const std::vector<std::size_t>& sizes) {
        std::size_t total = 0;
        for (const std::size_t size : sizes) {
            total += size;
        }
        bytes_.resize(total);
        for (std::size_t i = 0; i < total; ++i) {
            bytes_[i] = static_cast<std::byte>(i);
        }
        std::size_t at = 0;
        for (const std::size_t size : sizes) {
            segments_.push_back({bytes_.data() + at, size});
            at += size;
        }
    }
    [[nodiscard]] const std::vector<Segment>& segments() const { return segments_; }
    [[nodiscard]] const std::vector<std::byte>& bytes() const { return bytes_; }

  private:
    std::vector<std::byte> bytes_;
    std::vector<Segment> segments_;
};

TEST(Segment, TotalSize_sumsAll) {
    EXPECT_EQ(total_size(Cut({3, 0, 4}).segments()), 7U);
    EXPECT_EQ(total_size({}), 0U);
}

TEST(SegmentCursor, Peek_emptyList_isEmpty) {
    const SegmentCursor cursor;
    EXPECT_EQ(cursor.peek(10).size, 0U);
}

TEST(SegmentCursor, Peek_givesTheContiguousRunUpToTheLimit) {
    const Cut cut({4, 8});
    SegmentCursor cursor(cut.segments());
    EXPECT_EQ(cursor.peek(3).size, 3U);
    EXPECT_EQ(cursor.peek(100).size, 4U);
    cursor.advance(1);
    EXPECT_EQ(cursor.peek(100).data, cut.bytes().data() + 1);
    EXPECT_EQ(cursor.peek(100).size, 3U);
}

TEST(SegmentCursor, EmptySegments_areSkippedEverywhere) {
    const Cut cut({0, 0, 2, 0, 3, 0});
    SegmentCursor cursor(cut.segments());
    EXPECT_EQ(cursor.peek(100).size, 2U);
    cursor.advance(2);
    EXPECT_EQ(cursor.peek(100).size, 3U);
    cursor.advance(3);
    EXPECT_EQ(cursor.peek(100).size, 0U);
}

TEST(SegmentCursor, Advance_pastTheEnd_stopsThere) {
    const Cut cut({2, 2});
    SegmentCursor cursor(cut.segments());
    cursor.advance(1000);
    EXPECT_EQ(cursor.peek(1).size, 0U);
    cursor.advance(1);
    EXPECT_EQ(cursor.peek(1).size, 0U);
}

TEST(SegmentCursor, CopyIn_longerThanTheList_copiesWhatFits) {
    const Cut cut({2, 3});
    SegmentCursor cursor(cut.segments());
    const std::array<std::byte, 9> from{std::byte{9}};

    EXPECT_EQ(cursor.copy_in(from), 5U);

    EXPECT_EQ(cut.bytes()[0], std::byte{9});
    EXPECT_EQ(cut.bytes()[4], std::byte{0});
}

TEST(SegmentCursor, Zero_acrossSegments_touchesNothingElse) {
    const Cut cut({3, 3, 3});
    SegmentCursor cursor(cut.segments());
    cursor.advance(2);

    cursor.zero(5);

    for (std::size_t i = 0; i < 9; ++i) {
        const auto expected = i >= 2 && i < 7 ? std::byte{0} : static_cast<std::byte>(i);
        EXPECT_EQ(cut.bytes()[i], expected) << i;
    }
}

TEST(SegmentCursor, CopyOut_randomCutsAndSteps_givesAllBytesInOrder) {
    Prng prng(31);
    for (int round = 0; round < 200; ++round) {
        std::vector<std::size_t> sizes;
        for (std::uint64_t i = prng.below(8); i > 0; --i) {
            sizes.push_back(prng.below(20));
        }
        const Cut cut(sizes);
        SegmentCursor cursor(cut.segments());
        std::vector<std::byte> out;
        while (cursor.peek(1).size != 0) {
            std::vector<std::byte> part(1 + prng.below(30));
            part.resize(cursor.copy_out(part));
            out.insert(out.end(), part.begin(), part.end());
        }
        ASSERT_EQ(out, cut.bytes()) << "round " << round;
    }
}

}  // namespace
}  // namespace remora::core
