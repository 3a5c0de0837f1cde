// SPDX-License-Identifier: Apache-2.0
// Peers that hold buffers and keep busy otherwise: each debt has a deadline of its own.
#include "reactor/call.h"
#include "tests/unit/nvme_tcp_target/target_fixture.h"

namespace remora::test {
namespace {

class TargetStall : public TargetFixture {
  public:
    TargetStall() { limits_.stall = std::chrono::milliseconds(300); }
};

TEST_F(TargetStall, SilentPeers_areDroppedAndGiveTheirBuffersBack) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto owes_data = co_await io_queue(admin->cntlid, 1);
        spec::Command command = make_rw(IoOpcode::Write, 0, 64);
        command.cid = 1;
        owes_data->send(owes_data->capsule(command));
        auto owes_rest = co_await io_queue(admin->cntlid, 2);
        const auto data = pattern(512, 1);
        const auto bytes = owes_rest->capsule(make_rw(IoOpcode::Write, 0, 1, true), data);
        owes_rest->send(std::span(bytes).first(300));
        auto idle = co_await io_queue(admin->cntlid, 3);
        const bool first = co_await owes_data->wait_end();
        EXPECT_TRUE(first);
        const bool second = co_await owes_rest->wait_end();
        EXPECT_TRUE(second);
        const Outcome read = co_await idle->perform(make_rw(IoOpcode::Read, 0, 8));
        EXPECT_EQ(read.status, 0);
        co_await stop();
    });
}

TEST_F(TargetStall, R2tUnanswered_otherCommandsDoNotPutItOff) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid);
        spec::Command owed = make_rw(IoOpcode::Write, 0, 64);
        owed.cid = 900;
        io->send(io->capsule(owed));
        const auto r2t = co_await io->next();
        CHECK(r2t.has_value() && r2t->type() == tcp::PduType::R2t);
        int reads = 0;
        while (!io->ended() && reads < 200) {
            const Outcome read = co_await io->perform(make_rw(IoOpcode::Read, 0, 8));
            EXPECT_TRUE(read.status == 0 || io->ended());
            ++reads;
            co_await reactor::sleep_for(std::chrono::milliseconds(20));
        }
        EXPECT_TRUE(io->ended());
        EXPECT_GT(reads, 5);
        co_await stop();
    });
}

TEST_F(TargetStall, HalfAPdu_aTrickleDoesNotPutItOff) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid);
        const auto data = pattern(4096, 1);
        const auto bytes = io->capsule(make_rw(IoOpcode::Write, 0, 8, true), data);
        std::size_t sent = 0;
        while (!io->ended() && sent < 200) {
            io->send(std::span(bytes).subspan(sent++, 1));
            co_await reactor::sleep_for(std::chrono::milliseconds(20));
        }
        EXPECT_TRUE(io->ended());
        EXPECT_GT(sent, 5U);
        co_await stop();
    });
}

TEST_F(TargetStall, AnswersNotTaken_newCommandsDoNotPutItOff) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        ConnectOptions options;
        options.sqsize = 511;
        auto io = co_await io_queue(admin->cntlid, 1, 0, options);
        io->deaf = true;
        for (std::uint16_t i = 0; i < 200; ++i) {  // 50 MiB, more than any socket takes
            spec::Command command = make_rw(IoOpcode::Read, 0, 512);
            command.cid = i;
            io->send(io->capsule(command));
        }
        std::size_t connections = 2;
        std::uint16_t flushes = 0;
        while (connections == 2 && flushes < 200) {
            spec::Command flush = make_command(0x00, 1, 0, false);
            flush.cid = static_cast<std::uint16_t>(1000 + flushes++);
            io->send(io->capsule(flush));
            co_await reactor::sleep_for(std::chrono::milliseconds(20));
            const TargetStats stats = co_await target_->stats();
            connections = stats.connections.size();
            EXPECT_EQ(stats.protocol_errors, 0U);
        }
        EXPECT_EQ(connections, 1U);
        EXPECT_GT(flushes, 5);
        co_await stop();
    });
}

TEST_F(TargetStall, ManyQuickDebts_areNoStall) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid);
        const auto data = pattern(32768, 1);
        const core::Nanos end = reactor().now() + 4 * limits_.stall;
        while (reactor().now() < end) {
            const Outcome written = co_await io->perform(make_rw(IoOpcode::Write, 0, 64), data);
            EXPECT_EQ(written.status, 0);
        }
        EXPECT_FALSE(io->ended());
        co_await stop();
    });
}

}  // namespace
}  // namespace remora::test
