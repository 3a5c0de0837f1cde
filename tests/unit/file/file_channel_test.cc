// SPDX-License-Identifier: Apache-2.0
// FileChannel over a file in memory: what reaches the file, in which order, and when it is
// answered.
#include "backends/file/file_channel.h"

#include <algorithm>
#include <ostream>

#include <gtest/gtest.h>

#include "reactor/call.h"
#include "tests/support/block_client.h"
#include "tests/support/reactor_fixture.h"
#include "tests/unit/file/fake_file.h"

namespace remora::backends::file {
namespace {

using block::Opcode;
using block::Status;
using core::Segment;
using reactor::FileOp;
using reactor::Task;
using Kind = FileOp::Kind;
using test::AwaitedRequest;
using test::BlockClient;

constexpr std::uint32_t kBlock = 512;
constexpr std::uint64_t kBlocks = 1024;

class FileChannelTest : public test::ReactorFixture {
  public:
    FileChannelTest() : disk(kBlock * kBlocks) {}

    /// Runs `body(client)` with a channel over the disk.
    template <typename F>
    void with_channel(F body) {
        run([&]() -> Task<> {
            block::Geometry geometry;
            geometry.block_size = kBlock;
            geometry.block_count = kBlocks;
            geometry.can_discard = true;
            geometry.can_write_zeroes = true;
            geometry.volatile_cache = true;
            FileChannel channel(std::make_unique<test::FakeFile>(disk), geometry);
            BlockClient client(channel);
            co_await body(client);
        });
    }
    /// Completes all that waits, and what comes of it, until `request` is answered.
    Task<Status> settle(AwaitedRequest& request) {
        while (!disk.waiting.empty()) {
            disk.complete_one();
        }
        const Status status = co_await BlockClient::finish(request);
        co_return status;
    }
    /// Lets what has been completed be answered.
    static Task<> pass_turns() {
        for (int i = 0; i < 4; ++i) {
            co_await reactor::sleep_for(core::Nanos(1));
        }
    }

    test::FakeDisk disk;
};

/// 512-aligned memory with a pattern, one block longer than asked for.
struct Memory {
    explicit Memory(std::size_t bytes)
        : bytes_(test::pattern(bytes + 2 * std::size_t{kBlock}, 7)),
          base_(bytes_.data() +
                (kBlock - reinterpret_cast<std::uintptr_t>(bytes_.data()) % kBlock)) {}
    [[nodiscard]] std::byte* at(std::size_t offset) const { return base_ + offset; }

  private:
    std::vector<std::byte> bytes_;
    std::byte* base_;
};

void prepare(AwaitedRequest& request,
             Opcode opcode,
             std::uint64_t lba,
             std::uint32_t blocks,
             std::span<const Segment> data) {
    request.opcode = opcode;
    request.lba = lba;
    request.block_count = blocks;
    request.data = data;
}

TEST_F(FileChannelTest, Segments_noneOfALogicalBlock_areBounced) {
    disk.memory_alignment = 4;  // as NVMe drives say
    disk.offset_alignment = kBlock;
    with_channel([this](BlockClient& client) -> Task<> {
        const Memory memory(2 * kBlock);
        const Segment halves[] = {{memory.at(0), 256}, {memory.at(256), kBlock + 256}};
        AwaitedRequest write;
        prepare(write, Opcode::Write, 8, 2, halves);
        client.start(write);
        Status status = co_await settle(write);
        EXPECT_EQ(status, Status::Ok);
        EXPECT_EQ(std::memcmp(disk.written.data() + 8 * kBlock, memory.at(0), 2 * kBlock), 0);

        const Memory other(2 * kBlock);
        std::memset(other.at(0), 0, 2 * kBlock);
        const Segment into[] = {{other.at(0), kBlock + 4}, {other.at(kBlock + 4), kBlock - 4}};
        AwaitedRequest read;
        prepare(read, Opcode::Read, 8, 2, into);
        client.start(read);
        status = co_await settle(read);
        EXPECT_EQ(status, Status::Ok);
        EXPECT_EQ(std::memcmp(other.at(0), memory.at(0), 2 * kBlock), 0);
    });
}

TEST_F(FileChannelTest, Segments_ofWholeBlocksAnywhereAligned_goStraightIn) {
    disk.memory_alignment = 4;
    disk.offset_alignment = kBlock;
    with_channel([this](BlockClient& client) -> Task<> {
        const Memory memory(3 * kBlock);
        const Segment blocks[] = {{memory.at(4), kBlock}, {memory.at(kBlock + 8), kBlock}};
        AwaitedRequest write;
        prepare(write, Opcode::Write, 0, 2, blocks);
        client.start(write);
        EXPECT_EQ(disk.waiting.front()->segments.data(), std::data(blocks));
        const Status status = co_await settle(write);
        EXPECT_EQ(status, Status::Ok);
    });
}

TEST_F(FileChannelTest, Flush_isAnsweredWhenTheFileSaysDurable) {
    with_channel([this](BlockClient& client) -> Task<> {
        const Memory memory(kBlock);
        const Segment one{memory.at(0), kBlock};
        AwaitedRequest write;
        prepare(write, Opcode::Write, 0, 1, std::span(&one, 1));
        client.start(write);
        Status status = co_await settle(write);
        EXPECT_EQ(status, Status::Ok);
        EXPECT_EQ(disk.count(Kind::Flush), 0U);
        EXPECT_NE(disk.durable, disk.written);

        AwaitedRequest flush;
        prepare(flush, Opcode::Flush, 0, 0, {});
        client.start(flush);
        co_await pass_turns();
        EXPECT_FALSE(flush.finished);
        EXPECT_EQ(disk.log, (std::vector{Kind::Write, Kind::Flush}));
        status = co_await settle(flush);
        EXPECT_EQ(status, Status::Ok);
        EXPECT_EQ(disk.durable, disk.written);
    });
}

TEST_F(FileChannelTest, Flush_fails_isToldSo) {
    disk.flush_result = -EIO;
    with_channel([this](BlockClient& client) -> Task<> {
        AwaitedRequest flush;
        prepare(flush, Opcode::Flush, 0, 0, {});
        client.start(flush);
        const Status status = co_await settle(flush);
        EXPECT_EQ(status, Status::IoError);
    });
}

TEST_F(FileChannelTest, Opcodes_becomeTheirOperations) {
    with_channel([this](BlockClient& client) -> Task<> {
        for (const Opcode opcode : {Opcode::WriteZeroes, Opcode::Discard}) {
            AwaitedRequest request;
            prepare(request, opcode, 3, 2, {});
            client.start(request);
            EXPECT_EQ(disk.waiting.front()->offset, 3U * kBlock);
            EXPECT_EQ(disk.waiting.front()->length, 2U * kBlock);
            const Status status = co_await settle(request);
            EXPECT_EQ(status, Status::Ok);
        }
        EXPECT_EQ(disk.log, (std::vector{Kind::ZeroRange, Kind::PunchHole}));
    });
}

/// A change that is to be durable: how it is asked for, and the operation it becomes.
struct Change {
    const char* name;
    Opcode opcode;
    Kind kind;
    bool bounced;
};

/// For the test's name in ctest.
void PrintTo(const Change& change, std::ostream* out) {
    *out << change.name;
}

class ForceUnitAccessTest : public FileChannelTest, public testing::WithParamInterface<Change> {
  public:
    ForceUnitAccessTest() {
        disk.written.assign(disk.written.size(), std::byte{0xee});
        disk.memory_alignment = kBlock;
        disk.offset_alignment = kBlock;
    }
    /// Starts the request of the case, for lba 4..5.
    void start(BlockClient& client, AwaitedRequest& request, bool fua) {
        const bool writes = GetParam().opcode == Opcode::Write;
        run_ = {memory_.at(GetParam().bounced ? 1 : 0), 2 * std::size_t{kBlock}};
        prepare(request, GetParam().opcode, 4, 2,
                writes ? std::span<const Segment>(&run_, 1) : std::span<const Segment>());
        request.force_unit_access = fua;
        client.start(request);
    }

  private:
    Memory memory_{2 * std::size_t{kBlock}};
    Segment run_;
};

TEST_P(ForceUnitAccessTest, Change_isAnsweredAfterAFlushThatFollowsIt) {
    with_channel([this](BlockClient& client) -> Task<> {
        AwaitedRequest request;
        start(client, request, true);
        EXPECT_EQ(disk.log, std::vector{GetParam().kind});
        disk.complete_one();
        co_await pass_turns();
        EXPECT_FALSE(request.finished) << "it is not durable yet";
        EXPECT_EQ(disk.log, (std::vector{GetParam().kind, Kind::Flush}));
        const Status status = co_await settle(request);
        EXPECT_EQ(status, Status::Ok);
        EXPECT_EQ(disk.log.size(), 2U);
        EXPECT_NE(disk.durable[4 * kBlock], std::byte{0xee});
        EXPECT_EQ(disk.durable, disk.written);
    });
}

TEST_P(ForceUnitAccessTest, Flush_fails_theChangeFails) {
    disk.flush_result = -EIO;
    with_channel([this](BlockClient& client) -> Task<> {
        AwaitedRequest request;
        start(client, request, true);
        const Status status = co_await settle(request);
        EXPECT_EQ(status, Status::IoError);
    });
}

TEST_P(ForceUnitAccessTest, NotAskedFor_nothingIsFlushed) {
    with_channel([this](BlockClient& client) -> Task<> {
        AwaitedRequest request;
        start(client, request, false);
        const Status status = co_await settle(request);
        EXPECT_EQ(status, Status::Ok);
        EXPECT_EQ(disk.count(Kind::Flush), 0U);
    });
}

INSTANTIATE_TEST_SUITE_P(Changes,
                         ForceUnitAccessTest,
                         testing::Values(Change{"Write", Opcode::Write, Kind::Write, false},
                                         Change{"BouncedWrite", Opcode::Write, Kind::Write, true},
                                         Change{"WriteZeroes", Opcode::WriteZeroes, Kind::ZeroRange,
                                                false}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace remora::backends::file
