// SPDX-License-Identifier: Apache-2.0
// Compare, Verify and Copy: what is carried out piece by piece, on the target's own memory.
#include "reactor/call.h"
#include "tests/unit/nvme_tcp_target/target_fixture.h"

namespace remora::test {
namespace {

struct Source {
    std::uint64_t lba = 0;
    std::uint32_t blocks = 1;
};

class TargetPieces : public TargetFixture {
  public:
    std::span<std::byte> blocks(std::uint64_t lba, std::size_t count) {
        return std::span(device_.memory()).subspan(lba * 512, count * 512);
    }
    void fill(std::uint64_t lba, std::size_t count, std::uint64_t seed) {
        std::ranges::copy(pattern(count * 512, seed), blocks(lba, count).begin());
    }
    static std::vector<std::byte> list_of(const std::vector<Source>& sources) {
        std::vector<std::byte> list;
        for (const Source& source : sources) {
            spec::CopyRange range;
            range.lba = source.lba;
            range.block_count = static_cast<std::uint16_t>(source.blocks - 1);
            const auto bytes = core::as_bytes_of(range);
            list.insert(list.end(), bytes.begin(), bytes.end());
        }
        return list;
    }
    static spec::Command copy_command(std::uint64_t to, std::size_t ranges, std::uint32_t flags) {
        spec::Command command = make_rw(IoOpcode::Copy, to, 1, true);
        command.sgl.length = static_cast<std::uint32_t>(ranges * sizeof(spec::CopyRange));
        command.cdw12 = static_cast<std::uint32_t>(ranges - 1) | flags;
        return command;
    }
    static Task<Outcome> copy(RawHost& io,
                              std::uint64_t to,
                              std::vector<Source> sources,
                              std::uint32_t flags = 0) {
        const auto list = list_of(sources);
        co_return co_await io.perform(copy_command(to, sources.size(), flags), list);
    }
    static std::uint16_t refused(StatusCode code) { return spec::status_field(code, true); }
};

TEST_F(TargetPieces, Compare_equalAndNot_overEveryPiece) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid, 1);
        fill(10, 512, 4);
        auto data = pattern(std::size_t{512} * 512, 4);  // 256 KiB: two pieces
        const Outcome same = co_await io->perform(make_rw(IoOpcode::Compare, 10, 512), data);
        EXPECT_EQ(same.status, 0);
        for (const std::size_t at : {std::size_t{0}, std::size_t{128} * 1024, data.size() - 1}) {
            data[at] ^= std::byte{1};
            const Outcome other = co_await io->perform(make_rw(IoOpcode::Compare, 10, 512), data);
            EXPECT_EQ(other.status, refused(StatusCode::CompareFailure)) << at;
            data[at] ^= std::byte{1};
        }
        const Outcome small = co_await io->perform(make_rw(IoOpcode::Compare, 10, 1, true),
                                                   std::span(data).first(512));
        EXPECT_EQ(small.status, 0);
        co_await stop();
    });
}

TEST_F(TargetPieces, Verify_readsAllOfTheRangeAndSendsNothing) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid, 1);
        spec::Command command = make_rw(IoOpcode::Verify, 0, 8192);
        command.sgl = {};
        const int before = device_.batches;
        const Outcome verified = co_await io->perform(command);
        EXPECT_EQ(verified.status, 0);
        EXPECT_TRUE(verified.data.empty());
        EXPECT_EQ(device_.batches - before, 8192 * 512 / (128 * 1024));
        device_.fail_with = block::Status::IoError;
        const Outcome failed = co_await io->perform(command);
        EXPECT_EQ(failed.status & spec::kStatusCodeMask,
                  static_cast<std::uint16_t>(StatusCode::UnrecoveredReadError));
        command.cdw12 = 8192U;  // one block too many
        const Outcome outside = co_await io->perform(command);
        EXPECT_EQ(outside.status, refused(StatusCode::LbaOutOfRange));
        co_await stop();
    });
}

TEST_F(TargetPieces, Copy_severalRanges_landOneBehindTheOther) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid, 1);
        fill(100, 300, 1);  // more than a piece
        fill(500, 1, 2);
        fill(600, 7, 3);
        const Outcome done =
            co_await copy(*io, 4000, {{100, 300}, {500, 1}, {600, 7}}, spec::kCdw12ForceUnitAccess);
        EXPECT_EQ(done.status, 0);
        EXPECT_TRUE(std::ranges::equal(blocks(4000, 300), blocks(100, 300)));
        EXPECT_TRUE(std::ranges::equal(blocks(4300, 1), blocks(500, 1)));
        EXPECT_TRUE(std::ranges::equal(blocks(4301, 7), blocks(600, 7)));
        EXPECT_EQ(device_.durable_writes, 4);
        co_await stop();
    });
}

TEST_F(TargetPieces, Copy_anyRangeBad_writesNothingAndNamesIt) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid, 1);
        fill(0, 8, 1);
        const auto before = device_.memory();
        const Outcome source = co_await copy(*io, 4000, {{0, 1}, {8191, 2}});
        EXPECT_EQ(source.status, refused(StatusCode::LbaOutOfRange));
        EXPECT_EQ(source.completion.dw0, 1U);
        const Outcome target = co_await copy(*io, 8190, {{0, 1}, {1, 2}});
        EXPECT_EQ(target.status, refused(StatusCode::LbaOutOfRange));
        EXPECT_EQ(target.completion.dw0, 1U);
        const Outcome longest = co_await copy(*io, 0, {{0, 8193}});
        EXPECT_EQ(longest.status, refused(StatusCode::CommandSizeLimitExceeded));
        const Outcome format = co_await copy(*io, 4000, {{0, 1}}, 1U << 8U);
        EXPECT_EQ(format.status, refused(StatusCode::InvalidField));
        EXPECT_EQ(device_.memory(), before);
        co_await stop();
    });
}

TEST_F(TargetPieces, Copy_sourceFails_namesTheRangeItReached) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid, 1);
        fill(0, 1, 7);
        device_.hold = true;
        spec::Command command = copy_command(4000, 2, 0);
        command.cid = 6;
        io->send(io->capsule(command, list_of({{0, 1}, {1, 2}})));
        while (device_.held_count() < 1) {
            co_await reactor::sleep_for(std::chrono::milliseconds(1));
        }
        device_.release();  // the first range is read and, within this call, written
        device_.fail_with = block::Status::IoError;
        const Outcome failed = co_await io->finish(6);
        EXPECT_EQ(failed.status & spec::kStatusCodeMask,
                  static_cast<std::uint16_t>(StatusCode::UnrecoveredReadError));
        EXPECT_EQ(failed.completion.dw0, 1U);
        EXPECT_TRUE(std::ranges::equal(blocks(4000, 1), blocks(0, 1)));
        co_await stop();
    });
}

TEST_F(TargetPieces, ScratchMemory_isGivenBackAndAShareOfThePool) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        ConnectOptions options;
        options.sqsize = 127;
        auto io = co_await io_queue(admin->cntlid, 1, 0, options);
        device_.hold = true;
        spec::Command command = make_rw(IoOpcode::Verify, 0, 256);
        command.sgl = {};
        std::vector<std::byte> all;
        for (std::uint16_t i = 0; i < 120; ++i) {
            command.cid = static_cast<std::uint16_t>(1000 + i);
            const auto bytes = io->capsule(command);
            all.insert(all.end(), bytes.begin(), bytes.end());
        }
        io->send(all);
        // 120 of 128 KiB are more than this connection's half of the pool: the rest comes back at
        // once, to be tried again.
        std::size_t interrupted = 0;
        const std::size_t fit = pool_->capacity() / 2 / (128 * 1024);
        for (; interrupted + fit < 120; ++interrupted) {
            const auto pdu = co_await io->next();
            EXPECT_EQ(pdu->as<tcp::CapsuleResp>().completion.status(),
                      spec::status_field(StatusCode::CommandInterrupted));
        }
        EXPECT_GT(interrupted, 0U);
        EXPECT_LE(pool_->in_use(), pool_->capacity() / 2);
        device_.release();
        for (std::size_t i = 0; i < fit; ++i) {
            const auto pdu = co_await io->next();
            EXPECT_EQ(pdu->as<tcp::CapsuleResp>().completion.status(), 0);
        }
        EXPECT_EQ(pool_->in_use(), 0U);
        co_await stop();
    });
}

}  // namespace
}  // namespace remora::test
