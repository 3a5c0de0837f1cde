// SPDX-License-Identifier: Apache-2.0
// The in-flight region as bytes: a process dies at each step, the next one reads what it left.
#include "virtio/vhost_user/inflight.h"

#include <array>
#include <cstring>

#include <gtest/gtest.h>

namespace remora::virtio::vhost_user {
namespace {

using Heads = std::vector<std::uint16_t>;

class InflightTest : public testing::Test {
  public:
    static constexpr std::uint16_t kSize = 8;

    InflightTest() { attach(0); }

    /// A new process attaches to the same memory.
    InflightQueue::Recovery attach(std::uint16_t used_index) {
        queue = InflightQueue{};
        auto recovery = queue.attach(memory, kSize, used_index);
        EXPECT_TRUE(recovery.has_value());
        return recovery ? *recovery : InflightQueue::Recovery{};
    }
    template <typename T>
    T at(std::size_t offset) {
        T value;
        std::memcpy(&value, memory.data() + offset, sizeof(value));
        return value;
    }
    template <typename T>
    void put(std::size_t offset, T value) {
        std::memcpy(memory.data() + offset, &value, sizeof(value));
    }

    alignas(64) std::array<std::byte, InflightQueue::bytes_for(kSize)> memory{};
    InflightQueue queue;
};

TEST_F(InflightTest, Attach_newMemory_isMadeAsTheSpecLaysItOut) {
    EXPECT_EQ(at<std::uint16_t>(8), 1);       // version
    EXPECT_EQ(at<std::uint16_t>(10), kSize);  // desc_num
    EXPECT_EQ(at<std::uint16_t>(14), 0);      // used_idx
    const auto recovery = attach(0);
    EXPECT_TRUE(recovery.resumed);
    EXPECT_TRUE(recovery.in_flight.empty());
}

TEST_F(InflightTest, Taken_marksTheEntryWithItsCounter) {
    queue.taken(5);
    EXPECT_EQ(at<std::uint8_t>(16 + 16 * 5), 1);
    EXPECT_EQ(at<std::uint64_t>(16 + 16 * 5 + 8), 1U);
}

TEST_F(InflightTest, Attach_afterCrashWithWorkTaken_givesItInOrder) {
    for (const std::uint16_t head : Heads{6, 1, 4}) {
        queue.taken(head);
    }
    EXPECT_EQ(attach(0).in_flight, (Heads{6, 1, 4}));
}

TEST_F(InflightTest, Attach_afterPublish_leavesOnlyWhatIsOpen) {
    for (const std::uint16_t head : Heads{6, 1, 4}) {
        queue.taken(head);
    }
    queue.used(1);
    queue.published(1);
    EXPECT_EQ(at<std::uint16_t>(14), 1);
    EXPECT_EQ(attach(1).in_flight, (Heads{6, 4}));
}

TEST_F(InflightTest, Attach_crashBetweenUsedIndexAndClearing_lastBatchIsDone) {
    for (const std::uint16_t head : Heads{0, 1, 2, 3}) {
        queue.taken(head);
    }
    queue.used(2);
    queue.used(0);
    // The ring's used index became 2, and the process died before published().
    EXPECT_EQ(attach(2).in_flight, (Heads{1, 3}));
    EXPECT_EQ(at<std::uint16_t>(14), 2);
}

TEST_F(InflightTest, Attach_crashBeforeUsedIndex_allIsRunAgain) {
    for (const std::uint16_t head : Heads{0, 1, 2}) {
        queue.taken(head);
    }
    queue.used(1);
    EXPECT_EQ(attach(0).in_flight, (Heads{0, 1, 2}));
}

TEST_F(InflightTest, Attach_twice_newWorkComesAfterOld) {
    queue.taken(3);
    attach(0);
    queue.taken(1);
    EXPECT_EQ(attach(0).in_flight, (Heads{3, 1}));
}

TEST_F(InflightTest, Attach_otherVersionOrSize_isRefused) {
    put<std::uint16_t>(8, 2);
    EXPECT_FALSE(queue.attach(memory, kSize, 0).has_value());
    EXPECT_FALSE(queue.attached());
    put<std::uint16_t>(8, 1);
    put<std::uint16_t>(10, 4);
    EXPECT_FALSE(queue.attach(memory, kSize, 0).has_value());
    EXPECT_FALSE(queue.attach(std::span(memory).first(64), kSize, 0).has_value());
}

TEST_F(InflightTest, Attach_memoryLies_staysInside) {
    queue.taken(0);
    put<std::uint16_t>(12, 0xffff);  // last_batch_head
    put<std::uint16_t>(14, 0x8000);  // used_idx far off
    EXPECT_EQ(attach(5).in_flight, (Heads{0}));
    put<std::uint16_t>(12, 0);
    put<std::uint16_t>(14, 0);
    put<std::uint16_t>(16 + 6, 0);  // next of entry 0 is entry 0
    EXPECT_TRUE(attach(7).in_flight.empty());
}

}  // namespace
}  // namespace remora::virtio::vhost_user
