// SPDX-License-Identifier: Apache-2.0
// RingTest: a driver's ring and the device's queue on the same small guest memory, on one thread.
#pragma once

#include <array>
#include <vector>

#include <gtest/gtest.h>

#include "memory/guest_memory.h"
#include "tests/support/vhost_front_end.h"
#include "virtio/split_queue.h"

namespace remora::test {

class RingTest : public testing::Test {
  public:
    static constexpr std::uint16_t kSize = 8;
    static constexpr std::uint16_t kMaxChain = 16;
    static constexpr std::uint64_t kData = 0x8000;  // offset of free memory behind the ring

    RingTest() { start(true); }

    /// Both sides anew.
    void start(bool event_index, std::uint16_t base = 0) {
        driver = DriverRing(ram, 0, kSize, event_index);
        driver.reset();
        const memory::GuestMemory::Region region{.guest_address = GuestRam::kGuestBase,
                                                 .user_address = GuestRam::kUserBase,
                                                 .bytes = ram.bytes()};
        ASSERT_TRUE(memory.set_regions({&region, 1}).has_value());
        ASSERT_TRUE(queue.start(options(event_index, base)).has_value());
    }

    virtio::SplitQueue::Options options(bool event_index, std::uint16_t base) {
        const auto at = driver.addresses(0);
        virtio::SplitQueue::Options made;
        made.rings.descriptors = memory.whole_at_user(at.descriptors, 16 * kSize);
        made.rings.available = memory.whole_at_user(at.available, 6 + 2 * kSize);
        made.rings.used = memory.whole_at_user(at.used, 6 + 8 * kSize);
        made.size = kSize;
        made.last_avail = base;
        made.max_chain = kMaxChain;
        made.event_index = event_index;
        made.indirect = true;
        return made;
    }

    /// Offers `head` and takes it on the device's side.
    void offer_and_take(std::uint16_t head) {
        driver.offer(head);
        driver.publish();
        std::array<std::uint16_t, 4> heads{};
        ASSERT_EQ(queue.take_heads(heads), 1U);
        ASSERT_EQ(heads[0], head);
    }

    [[nodiscard]] bool walk(std::uint16_t head) {
        chain.storage = segments;
        return queue.walk(memory, head, chain);
    }

    GuestRam ram{std::size_t{1} << 20U};
    DriverRing driver{ram, 0, kSize, true};
    memory::GuestMemory memory;
    virtio::SplitQueue queue;
    std::array<core::Segment, kMaxChain + 2> segments;
    virtio::Chain chain;
};

}  // namespace remora::test
