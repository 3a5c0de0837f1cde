// SPDX-License-Identifier: Apache-2.0
// What only a RAM volume does: it takes its share of a turn and no more. What every device does is
// in tests/contract.
#include "backends/ram/ram_device.h"

#include <array>
#include <vector>

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

// The system clears 2 MiB at a time for them, if it has huge pages.
TEST_F(RamDeviceTest, Writes_ofUntouchedMemory_areOneATurn) {
    run([this]() -> Task<> {
        auto device = RamDevice::create("r", {}, kBlock, 64 * kMiB / kBlock);
        auto channel = (*device)->open_channel();
        test::BlockClient client(**channel);
        std::vector<std::byte> data = test::pattern(kBlock, 1);
        const core::Segment whole{data.data(), data.size()};
        std::array<std::uint64_t, 2> turns{};
        for (std::uint64_t& took : turns) {
            std::array<test::AwaitedRequest, 32> writes;
            const std::uint64_t before = reactor().stats().turns;
            for (std::size_t i = 0; i < writes.size(); ++i) {
                writes[i].opcode = Opcode::Write;
                writes[i].lba = i * 2 * kMiB / kBlock;
                writes[i].block_count = 1;
                writes[i].data = std::span(&whole, 1);
                client.start(writes[i]);
            }
            for (test::AwaitedRequest& write : writes) {
                const Status written = co_await test::BlockClient::finish(write);
                EXPECT_EQ(written, Status::Ok);
            }
            took = reactor().stats().turns - before;
        }
        EXPECT_GE(turns[0], 31U);
        EXPECT_LT(turns[1], 4U) << "nothing is left to clear";
        channel->reset();
    });
}

// Requests lie across the places where it grew, and what was there before stays.
TEST_F(RamDeviceTest, Grow_again_keepsItsContentAndTakesRequestsAcross) {
    run([]() -> Task<> {
        auto device = RamDevice::create("r", {}, kBlock, 16);
        auto channel = (*device)->open_channel();
        test::BlockClient client(**channel);
        std::vector<std::byte> data = test::pattern(std::size_t{16} * kBlock, 3);
        core::Segment whole{data.data(), data.size()};
        Status status = co_await client.perform(Opcode::Write, 0, 16, std::span(&whole, 1));
        EXPECT_EQ(status, Status::Ok);
        for (std::uint64_t blocks = 24; blocks <= 64; blocks += 8) {
            EXPECT_TRUE((*device)->grow(blocks));
            status = co_await client.perform(Opcode::Read, blocks - 16, 16, std::span(&whole, 1));
            EXPECT_EQ(status, Status::OutOfRange) << "not shown yet";
            (*device)->show_growth();
            EXPECT_EQ((*device)->geometry().block_count, blocks);
        }
        std::vector<std::byte> back(std::size_t{64} * kBlock, std::byte{0xee});
        core::Segment into{back.data(), back.size()};
        status = co_await client.perform(Opcode::Read, 0, 64, std::span(&into, 1));
        EXPECT_EQ(status, Status::Ok);
        EXPECT_TRUE(std::equal(data.begin(), data.end(), back.begin()));
        EXPECT_TRUE(std::all_of(back.begin() + 16 * kBlock, back.end(),
                                [](std::byte byte) { return byte == std::byte{0}; }));

        data = test::pattern(std::size_t{64} * kBlock, 4);
        whole = {data.data(), data.size()};
        status = co_await client.perform(Opcode::Write, 0, 64, std::span(&whole, 1));
        EXPECT_EQ(status, Status::Ok);
        status = co_await client.perform(Opcode::Read, 0, 64, std::span(&into, 1));
        EXPECT_EQ(status, Status::Ok);
        EXPECT_TRUE(back == data);
        channel->reset();
    });
}

TEST_F(RamDeviceTest, Grow_shrinkingOrTooOften_isRefused) {
    run([]() -> Task<> {
        auto device = RamDevice::create("r", {}, kBlock, 16);
        EXPECT_EQ((*device)->grow(15).error().kind, core::ErrorKind::FailedPrecondition);
        EXPECT_EQ((*device)->grow(~std::uint64_t{0}).error().kind,
                  core::ErrorKind::InvalidArgument);
        for (std::size_t i = 1; i < RamDevice::kMaxExtents; ++i) {
            EXPECT_TRUE((*device)->grow(16 + i));
        }
        EXPECT_EQ((*device)->grow(100).error().kind, core::ErrorKind::ResourceExhausted);
        EXPECT_TRUE((*device)->grow(15 + RamDevice::kMaxExtents)) << "the size it has";
        co_return;
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
