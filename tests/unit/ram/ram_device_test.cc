// SPDX-License-Identifier: Apache-2.0
// What only a RAM volume does: it takes its share of a turn and no more. What every device does is
// in tests/contract.
#include "backends/ram/ram_device.h"

#include <gtest/gtest.h>

#include "reactor/call.h"
#include "tests/support/block_client.h"
#include "tests/support/reactor_fixture.h"

namespace remora::backends::ram {
namespace {

using block::Opcode;
using block::Status;
using reactor::Task;

using RamDeviceTest = test::ReactorFixture;

constexpr std::uint32_t kBlock = 4096;
constexpr std::size_t kMiB = std::size_t{1} << 20U;

// A guest may ask for 64 MiB at once: its neighbours' turns come in between.
TEST_F(RamDeviceTest, Write_moreThanATurnsShare_goesOnInTheNextTurns) {
    run([this]() -> Task<> {
        auto device = RamDevice::create("r", {}, kBlock, 64 * kMiB / kBlock);
        auto channel = (*device)->open_channel();
        test::BlockClient client(**channel);
        std::vector<std::byte> data = test::pattern(64 * kMiB, 1);
        const core::Segment whole{data.data(), data.size()};
        const std::uint64_t before = reactor().stats().turns;

        const Status written =
            co_await client.perform(Opcode::Write, 0, 64 * kMiB / kBlock, std::span(&whole, 1));

        EXPECT_EQ(written, Status::Ok);
        // 16 shares of 4 MiB, the first in the turn of the submit.
        EXPECT_GE(reactor().stats().turns - before, 15U);
        std::vector<std::byte> back(data.size());
        const core::Segment into{back.data(), back.size()};
        const Status read =
            co_await client.perform(Opcode::Read, 0, 64 * kMiB / kBlock, std::span(&into, 1));
        EXPECT_EQ(read, Status::Ok);
        EXPECT_TRUE(back == data);
        channel->reset();
    });
}

TEST_F(RamDeviceTest, Discard_partlyWritten_readsAsZeros) {
    run([]() -> Task<> {
        auto device = RamDevice::create("r", {}, kBlock, 16 * kMiB / kBlock);
        auto channel = (*device)->open_channel();
        test::BlockClient client(**channel);
        std::vector<std::byte> data = test::pattern(kMiB, 2);
        const core::Segment whole{data.data(), data.size()};
        const Status written =
            co_await client.perform(Opcode::Write, 1000, kMiB / kBlock, std::span(&whole, 1));
        EXPECT_EQ(written, Status::Ok);

        const Status gone = co_await client.perform(Opcode::Discard, 0, 16 * kMiB / kBlock);

        EXPECT_EQ(gone, Status::Ok);
        const Status read =
            co_await client.perform(Opcode::Read, 1000, kMiB / kBlock, std::span(&whole, 1));
        EXPECT_EQ(read, Status::Ok);
        EXPECT_EQ(data, std::vector<std::byte>(kMiB));
        channel->reset();
    });
}

}  // namespace
}  // namespace remora::backends::ram
