// SPDX-License-Identifier: Apache-2.0
// PackedRingTest: a driver's packed ring and the device's on the same small guest memory, on one
// thread. The size is no power of two, so that nothing can lean on that.
#pragma once

#include <array>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "memory/guest_memory.h"
#include "tests/support/driver_ring.h"
#include "virtio/packed_queue.h"

namespace remora::test {

class PackedRingTest : public testing::Test {
  public:
    static constexpr std::uint16_t kSize = 7;
    static constexpr std::uint16_t kMaxChain = 16;
    static constexpr std::uint64_t kData = 0x8000;  // offset of free memory behind the ring
    using Heads = std::vector<std::uint16_t>;

    PackedRingTest() { start(true); }

    /// Both sides anew.
    void start(bool event_index) {
        driver = DriverRing(ram, 0, kSize, event_index, RingKind::Packed);
        driver.reset();
        const memory::GuestMemory::Region region{.guest_address = GuestRam::kGuestBase,
                                                 .user_address = GuestRam::kUserBase,
                                                 .bytes = ram.bytes()};
        ASSERT_TRUE(memory.set_regions({&region, 1}).has_value());
        ASSERT_TRUE(queue.start(options(event_index)).has_value());
    }

    virtio::PackedQueue::Options options(bool event_index) {
        const auto at = driver.addresses(0);
        virtio::PackedQueue::Options made;
        made.rings.descriptors = memory.whole_at_user(at.descriptors, std::uint64_t{16} * kSize);
        made.rings.available = memory.whole_at_user(at.available, 4);
        made.rings.used = memory.whole_at_user(at.used, 4);
        made.size = kSize;
        made.max_chain = kMaxChain;
        made.event_index = event_index;
        made.indirect = true;
        return made;
    }

    /// Describes a chain of `length` one-byte descriptors from `head` on and offers it.
    void offer(std::uint16_t head, std::uint16_t length = 1) {
        using namespace virtio::descriptor_flags;
        for (std::uint16_t i = 0; i < length; ++i) {
            const bool last = i + 1 == length;
            driver.describe(static_cast<std::uint16_t>((head + i) % kSize),
                            GuestRam::guest(kData + std::uint64_t{64} * head + i), 1,
                            static_cast<std::uint16_t>(last ? kWrite : kNext | kWrite),
                            static_cast<std::uint16_t>((head + i + 1) % kSize));
        }
        driver.offer(head);
    }
    std::optional<Heads> take(std::size_t most = kSize) {
        Heads heads(most);
        const auto count = queue.take_heads(heads);
        if (!count) {
            return std::nullopt;
        }
        heads.resize(*count);
        return heads;
    }
    /// Offers `head` and takes it on the device's side.
    void offer_and_take(std::uint16_t head, std::uint16_t length = 1) {
        offer(head, length);
        static_cast<void>(driver.publish());
        ASSERT_EQ(take(), Heads{head});
    }
    bool give_back(std::uint16_t head) {
        queue.push_used(head, 1);
        return queue.publish();
    }
    [[nodiscard]] bool walk(std::uint16_t head) {
        chain.storage = segments;
        return queue.walk(memory, head, chain);
    }

    GuestRam ram{std::size_t{1} << 20U};
    DriverRing driver{ram, 0, kSize, true, RingKind::Packed};
    memory::GuestMemory memory;
    virtio::PackedQueue queue;
    std::array<core::Segment, kMaxChain + 2> segments;
    virtio::Chain chain;
};

}  // namespace remora::test
