// SPDX-License-Identifier: Apache-2.0
// What the tests of Write Uncorrectable share: its commands, and who keeps the marks.
#pragma once

#include <array>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "nvme/uncorrectable_keeper.h"
#include "tests/unit/nvme_tcp_target/fused_fixture.h"

namespace remora::test {

using nvme::BlockRange;
using Ranges = std::vector<BlockRange>;

/// Keeps in memory what a target wants kept; refuses, or takes its time, when told to.
class MemoryMarkKeeper final : public nvme::UncorrectableKeeper {
  public:
    Task<core::Result<void>> keep(std::string nqn,
                                  std::uint32_t nsid,
                                  nvme::UncorrectableBlocks marks) override {
        ++calls;
        while (hold) {
            co_await reactor::sleep_for(std::chrono::milliseconds(1));
        }
        if (refuse) {
            co_return core::fail(core::ErrorKind::ResourceExhausted, "the disk is full");
        }
        kept[{nqn, nsid}] = marks.ranges();
        co_return core::Result<void>();
    }
    std::map<std::pair<std::string, std::uint32_t>, Ranges> kept;
    bool refuse = false;
    bool hold = false;
    int calls = 0;
};

constexpr std::uint16_t kUnreadable = spec::status_field(StatusCode::UnrecoveredReadError, true);

/// A command that names blocks and moves no data.
inline spec::Command bare(IoOpcode opcode,
                          std::uint64_t lba,
                          std::uint32_t blocks,
                          std::uint32_t nsid = 1) {
    spec::Command command = make_rw(opcode, lba, blocks, false, nsid);
    command.sgl = {};
    return command;
}
inline spec::Command mark_command(std::uint64_t lba, std::uint32_t blocks, std::uint32_t nsid = 1) {
    return bare(IoOpcode::WriteUncorrectable, lba, blocks, nsid);
}
inline Task<std::uint16_t> mark(RawHost& io,
                                std::uint64_t lba,
                                std::uint32_t blocks = 1,
                                std::uint32_t nsid = 1) {
    const Outcome outcome = co_await io.perform(mark_command(lba, blocks, nsid));
    co_return outcome.status;
}
inline Task<std::uint16_t> read(RawHost& io,
                                std::uint64_t lba,
                                std::uint32_t blocks = 1,
                                std::uint32_t nsid = 1) {
    const Outcome outcome = co_await io.perform(make_rw(IoOpcode::Read, lba, blocks, false, nsid));
    EXPECT_EQ(outcome.data.size(), outcome.status == 0 ? blocks * 512U : 0U);
    co_return outcome.status;
}
inline Task<std::uint16_t> write(RawHost& io,
                                 std::uint64_t lba,
                                 std::uint64_t value,
                                 std::uint32_t nsid = 1) {
    const Outcome outcome =
        co_await io.perform(make_rw(IoOpcode::Write, lba, 1, true, nsid), block_of(value));
    co_return outcome.status;
}
inline Task<std::uint16_t> zero(RawHost& io, std::uint64_t lba, std::uint32_t blocks) {
    const Outcome outcome = co_await io.perform(bare(IoOpcode::WriteZeroes, lba, blocks));
    co_return outcome.status;
}

class TargetUncorrectable : public TargetReservation {
  public:
    /// Start, with somebody to keep marks; host_ with queues 1 and 2.
    Task<> start_marked() {
        co_await start();
        target_->set_uncorrectable_keeper(&marks_);
        admin_ = co_await admin_queue();
        io_ = co_await io_queue(admin_->cntlid, 1);
        other_ = co_await io_queue(admin_->cntlid, 2);
    }
    Task<> stop_marked() {
        co_await stop();
        io_.reset();
        other_.reset();
        admin_.reset();
    }
    const Ranges& kept() { return marks_.kept[{kSubsystem, 1}]; }
    std::vector<std::byte> on_disk(std::uint64_t lba, std::size_t bytes = 512) {
        const auto at = device_.memory().begin() + static_cast<std::ptrdiff_t>(lba * 512);
        return {at, at + static_cast<std::ptrdiff_t>(bytes)};
    }
    Task<> wait_held(std::size_t count) {
        while (device_.held_count() != count) {
            co_await reactor::sleep_for(std::chrono::milliseconds(1));
        }
    }
    Task<> wait_kept(int calls) {
        while (marks_.calls < calls) {
            co_await reactor::sleep_for(std::chrono::milliseconds(1));
        }
    }
    static void send_write(RawHost& io, std::uint16_t cid, std::uint64_t lba, std::uint64_t value) {
        spec::Command command = make_rw(IoOpcode::Write, lba, 1, true);
        command.cid = cid;
        send_command(io, command, block_of(value));
    }
    static void send_mark(RawHost& io, std::uint16_t cid, std::uint64_t lba) {
        spec::Command command = mark_command(lba, 1);
        command.cid = cid;
        send_command(io, command);
    }
    /// Nothing comes for a while.
    static Task<> expect_silence(RawHost& io) {
        const auto early = co_await io.next(std::chrono::milliseconds(20));
        EXPECT_FALSE(early.has_value());
    }

    MemoryMarkKeeper marks_;
    std::unique_ptr<RawHost> admin_;
    std::unique_ptr<RawHost> io_;
    std::unique_ptr<RawHost> other_;
};

/// What of a command's status says why.
inline StatusCode code_of(std::uint16_t status) {
    return spec::status_code(status);
}

}  // namespace remora::test
