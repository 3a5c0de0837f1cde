// SPDX-License-Identifier: Apache-2.0
// Reads that are lent the volume's memory, and the writers that wait for them.
#include <algorithm>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "backends/ram/ram_device.h"
#include "reactor/call.h"
#include "tests/support/block_client.h"
#include "tests/support/reactor_fixture.h"

namespace remora::backends::ram {
namespace {

using block::Opcode;
using block::Status;
using reactor::Task;
using test::AwaitedRequest;

constexpr std::size_t kBlock = 512;
constexpr std::size_t kPage = PageLocks::kPageBytes;
constexpr std::uint32_t kPageBlocks = kPage / kBlock;

/// A request for blocks of one segment that can do without a copy, if it is a read.
struct Io : AwaitedRequest {
    Io(Opcode what, std::uint64_t at, std::uint32_t blocks, std::byte fill = std::byte{0xee})
        : bytes(blocks * kBlock, fill), whole{bytes.data(), bytes.size()} {
        opcode = what;
        lba = at;
        block_count = blocks;
        data = std::span(&whole, 1);
        takes_in_place = what == Opcode::Read;
    }
    [[nodiscard]] bool holds(std::byte value) const {
        return std::ranges::all_of(bytes, [value](std::byte byte) { return byte == value; });
    }
    std::vector<std::byte> bytes;
    core::Segment whole;
};

class RamLending : public test::ReactorFixture {
  public:
    /// 1 MiB full of 11h.
    Task<> start() {
        device_ = std::move(*RamDevice::create("r", {}, kBlock, 2048));
        channel_ = std::move(*device_->open_channel());
        client_ = std::make_unique<test::BlockClient>(*channel_);
        Io fill(Opcode::Write, 0, 2048, std::byte{0x11});
        client_->start(fill);
        const Status filled = co_await test::BlockClient::finish(fill);
        CHECK(filled == Status::Ok);
    }
    Task<> stop() {
        channel_.reset();
        device_.reset();
        co_return;
    }
    Task<> expect_ok(Io& io) {
        const Status status = co_await test::BlockClient::finish(io);
        EXPECT_EQ(status, Status::Ok);
    }

    std::unique_ptr<RamDevice> device_;
    std::unique_ptr<block::Channel> channel_;
    std::unique_ptr<test::BlockClient> client_;
};

TEST_F(RamLending, Read_withinAPage_isLent) {
    run([this]() -> Task<> {
        co_await start();
        for (const std::uint32_t blocks : {1U, 3U, kPageBlocks}) {
            Io read(Opcode::Read, kPageBlocks, blocks);
            client_->start(read);
            co_await expect_ok(read);
            EXPECT_TRUE(read.holds(std::byte{0xee})) << "the segments are left alone";
            CHECK(read.loan);
            EXPECT_TRUE(std::all_of(read.loan.data(), read.loan.data() + blocks * kBlock,
                                    [](std::byte byte) { return byte == std::byte{0x11}; }));
            read.loan.give_back();
            EXPECT_FALSE(read.loan);
        }
        co_await stop();
    });
}

TEST_F(RamLending, Read_acrossPagesOrWithoutLeave_isCopied) {
    run([this]() -> Task<> {
        co_await start();
        Io across(Opcode::Read, kPageBlocks - 1, 2);
        Io large(Opcode::Read, 0, 2 * kPageBlocks);
        Io plain(Opcode::Read, 0, 1);
        plain.takes_in_place = false;
        for (Io* read : {&across, &large, &plain}) {
            client_->start(*read);
            co_await expect_ok(*read);
            EXPECT_FALSE(read->loan);
            EXPECT_TRUE(read->holds(std::byte{0x11}));
        }
        co_await stop();
    });
}

// The pieces of a copy end where pages, segments and fetched lines do not.
TEST_F(RamLending, Read_intoUnevenSegments_copiesAll) {
    run([this]() -> Task<> {
        co_await start();
        Io write(Opcode::Write, 5, 40);
        write.bytes = test::pattern(write.bytes.size(), 7);
        write.whole = {write.bytes.data(), write.bytes.size()};
        client_->start(write);
        co_await expect_ok(write);
        Io read(Opcode::Read, 5, 40);
        std::vector<core::Segment> parts;
        for (std::size_t at = 0, size = 1; at < read.bytes.size(); at += size, size += 37) {
            parts.push_back({read.bytes.data() + at, std::min(size, read.bytes.size() - at)});
        }
        read.data = parts;
        client_->start(read);
        co_await expect_ok(read);
        EXPECT_FALSE(read.loan);
        EXPECT_EQ(read.bytes, write.bytes);
        co_await stop();
    });
}

TEST_F(RamLending, Write_ofWhatIsLent_waitsForItAndGoesFirstThen) {
    run([this]() -> Task<> {
        co_await start();
        for (const Opcode opcode : {Opcode::Write, Opcode::WriteZeroes, Opcode::Discard}) {
            Io lent(Opcode::Read, 8, 1);
            client_->start(lent);
            co_await expect_ok(lent);
            CHECK(lent.loan);
            const std::byte before = *lent.loan.data();
            Io change(opcode, 9, 1, std::byte{0x22});  // another block of the same page
            if (opcode != Opcode::Write) {
                change.data = {};
            }
            client_->start(change);
            co_await reactor::sleep_for(std::chrono::milliseconds(2));
            EXPECT_FALSE(change.finished);

            auto second = std::move(*device_->open_channel());
            test::BlockClient other(*second);
            Io copied(Opcode::Read, 8, 2);
            other.start(copied);
            co_await expect_ok(copied);
            EXPECT_FALSE(copied.loan) << "nobody gets it on loan while a writer waits";
            EXPECT_EQ(copied.bytes.front(), before);

            lent.loan.give_back();
            co_await expect_ok(change);
            Io after(Opcode::Read, 9, 1);
            other.start(after);
            co_await expect_ok(after);
            CHECK(after.loan);
            EXPECT_EQ(*after.loan.data(), opcode == Opcode::Write ? std::byte{0x22} : std::byte{0});
            after.loan.give_back();
            second.reset();
        }
        co_await stop();
    });
}

// What waits for one page does not keep another channel from the others.
TEST_F(RamLending, Write_ofAnotherPage_doesNotWait) {
    run([this]() -> Task<> {
        co_await start();
        Io lent(Opcode::Read, 0, kPageBlocks);
        client_->start(lent);
        co_await expect_ok(lent);
        Io write(Opcode::Write, kPageBlocks, kPageBlocks, std::byte{0x33});
        client_->start(write);
        co_await expect_ok(write);
        EXPECT_EQ(*lent.loan.data(), std::byte{0x11});
        lent.loan.give_back();
        co_await stop();
    });
}

}  // namespace
}  // namespace remora::backends::ram
