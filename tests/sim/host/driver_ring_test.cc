// SPDX-License-Identifier: Apache-2.0
// A checker that never complains is none: each wrong answer of a device is noticed.
#include "tests/sim/host/driver_ring.h"

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/reactor_fixture.h"

namespace remora::sim {

namespace {

class DriverRingTest : public test::ReactorFixture {
  public:
    DriverRingTest() {
        GuestRamOptions options;
        options.bytes = 65536;
        ram.emplace(reactor().io(), options);
        ring.emplace(*ram, 0, std::uint16_t{8},
                     [this](const std::string& what) { violations.push_back(what); });
    }
    std::uint16_t offer() {
        const std::array<ChainPart, 2> parts{ChainPart{32768, 16, false},
                                             ChainPart{40960, 5, true}};
        const auto head = ring->offer(parts, std::nullopt);
        (void)ring->publish();
        return *head;
    }
    /// What the device says.
    void use(std::uint32_t head, std::uint32_t length) {
        const std::array<std::uint32_t, 2> words{head, length};
        std::memcpy(ram->at(ring->used_offset() + 4 + std::uint64_t{8} * (used_ % 8)), words.data(),
                    sizeof(words));
        set_used_index(static_cast<std::uint16_t>(used_ + 1));
    }
    void set_used_index(std::uint16_t index) {
        used_ = index;
        virtio::store16_release(ram->at(ring->used_offset() + 2), index);
    }

    std::optional<GuestRam> ram;
    std::optional<DriverRing> ring;
    std::vector<std::string> violations;

  private:
    std::uint16_t used_ = 0;
};

TEST_F(DriverRingTest, TakeUsed_inOrder_noViolation) {
    for (int i = 0; i < 70000; ++i) {  // past the wrap of the indices
        const std::uint16_t head = offer();
        use(head, 5);
        const auto used = ring->take_used();
        ASSERT_TRUE(used && used->head == head && used->length == 5);
    }
    EXPECT_FALSE(ring->take_used());
    EXPECT_EQ(ring->free_descriptors(), 8U);
    EXPECT_TRUE(violations.empty());
}

TEST_F(DriverRingTest, Offer_noDescriptorsLeft_refused) {
    for (int i = 0; i < 4; ++i) {
        offer();
    }
    const ChainPart part{32768, 16, false};
    EXPECT_FALSE(ring->offer({&part, 1}, std::nullopt));
}

TEST_F(DriverRingTest, TakeUsed_twice_isAViolation) {
    const std::uint16_t head = offer();
    offer();
    use(head, 1);
    use(head, 1);
    EXPECT_TRUE(ring->take_used());
    EXPECT_FALSE(ring->take_used());
    EXPECT_EQ(violations.size(), 1U);
}

TEST_F(DriverRingTest, TakeUsed_neverOffered_isAViolation) {
    offer();
    use(6, 1);
    EXPECT_FALSE(ring->take_used());
    EXPECT_EQ(violations.size(), 1U);
}

TEST_F(DriverRingTest, TakeUsed_pastTheRing_isAViolation) {
    offer();
    use(8, 1);
    EXPECT_FALSE(ring->take_used());
    EXPECT_EQ(violations.size(), 1U);
}

TEST_F(DriverRingTest, TakeUsed_tooLong_isAViolation) {
    use(offer(), 6);
    EXPECT_TRUE(ring->take_used());
    EXPECT_EQ(violations.size(), 1U);
}

TEST_F(DriverRingTest, TakeUsed_indexAhead_isAViolationOnce) {
    offer();
    set_used_index(2);
    EXPECT_FALSE(ring->take_used());
    EXPECT_FALSE(ring->take_used());
    EXPECT_TRUE(ring->broken());
    EXPECT_EQ(violations.size(), 1U);
}

}  // namespace

}  // namespace remora::sim
