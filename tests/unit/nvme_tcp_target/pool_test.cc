// SPDX-License-Identifier: Apache-2.0
// The buffer pool: what happens when it is empty, and what one connection may have of it.
#include "reactor/call.h"
#include "tests/unit/nvme_tcp_target/target_fixture.h"

namespace remora::test {
namespace {

/// With a pool of 1 MiB a connection may have one read of 256 KiB at a time.
class TargetSmallPool : public TargetFixture {
  public:
    TargetSmallPool() : TargetFixture(std::size_t{1} << 20U) {}
};

TEST_F(TargetSmallPool, MoreReadsThanBuffers_waitAndAllFinish) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid);
        for (std::uint16_t i = 0; i < 20; ++i) {
            spec::Command command = make_rw(IoOpcode::Read, i, 512);
            command.cid = static_cast<std::uint16_t>(100 + i);
            io->send(io->capsule(command));
        }
        std::size_t bytes = 0;
        std::size_t answers = 0;
        while (answers < 20) {
            const auto pdu = co_await io->next();
            CHECK(pdu.has_value());
            if (pdu->type() == tcp::PduType::C2hData) {
                bytes += pdu->data().size();
            } else {
                ++answers;
            }
        }
        EXPECT_EQ(bytes, std::size_t{20} * 512 * 512);
        const TargetStats stats = co_await target_->stats();
        EXPECT_GT(stats.connections[1].buffer_waits, 0U);
        co_await stop();
    });
}

TEST_F(TargetSmallPool, InCapsuleWritesBehindAnEmptyPool_goOnThroughTheReserve) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid);
        const auto whole = pool_->allocate(std::size_t{1} << 20U);  // somebody else has it all
        CHECK(!whole.empty());
        const auto data = pattern(16384, 4);
        std::vector<std::byte> all;
        for (std::uint16_t i = 0; i < 10; ++i) {
            spec::Command command = make_rw(IoOpcode::Write, i * 32U, 32, true);
            command.cid = static_cast<std::uint16_t>(100 + i);
            const auto bytes = io->capsule(command, data);
            all.insert(all.end(), bytes.begin(), bytes.end());
        }
        io->send(all);
        for (std::uint16_t i = 0; i < 10; ++i) {
            const auto pdu = co_await io->next();
            CHECK(pdu.has_value());
            EXPECT_EQ(pdu->as<tcp::CapsuleResp>().completion.status(), 0);
        }
        EXPECT_EQ(std::memcmp(device_.memory().data() + 9 * 16384, data.data(), 16384), 0);

        // A read has to wait until the other gives back, which nobody tells.
        spec::Command command = make_rw(IoOpcode::Read, 0, 8);
        command.cid = 7;
        io->send(io->capsule(command));
        const auto none = co_await io->next(std::chrono::milliseconds(20));
        EXPECT_FALSE(none.has_value());
        pool_->release(whole);
        const Outcome read = co_await io->finish(7);
        EXPECT_EQ(read.status, 0);
        co_await stop();
    });
}

TEST_F(TargetSmallPool, WritesThatAwaitData_takeAQuarterOfThePoolAtMost) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid);
        for (std::uint16_t i = 0; i < 3; ++i) {
            spec::Command command = make_rw(IoOpcode::Write, i * 512U, 512);
            command.cid = static_cast<std::uint16_t>(100 + i);
            io->send(io->capsule(command));
        }
        const auto data = pattern(262144, 4);
        std::uint16_t tag = 0;
        std::size_t asked = 0;
        std::size_t sent = 0;
        std::size_t answered = 0;
        while (answered < 3) {
            const auto pdu = co_await io->next(std::chrono::milliseconds(asked > sent ? 20 : 5000));
            if (!pdu) {
                // Nothing more comes before the data that was asked for.
                const auto cid = static_cast<std::uint16_t>(100 + sent);
                io->send(io->h2c_data(cid, tag, 0, data, true));
                ++sent;
            } else if (pdu->type() == tcp::PduType::R2t) {
                tag = pdu->as<tcp::R2t>().ttag;
                ++asked;
                EXPECT_EQ(asked, sent + 1);  // one at a time
            } else {
                EXPECT_EQ(pdu->as<tcp::CapsuleResp>().completion.status(), 0);
                ++answered;
            }
        }
        co_await stop();
    });
}

/// With the fixture's pool of 8 MiB.
class TargetShare : public TargetFixture {
  public:
    static constexpr std::size_t kPool = std::size_t{8} << 20U;
    static constexpr std::size_t kRead = 512 * 512;
    static constexpr std::size_t kWrite = 16384;

    /// Until nothing has changed for a moment.
    Task<std::size_t> settled_count() {
        std::size_t before = 0;
        do {
            before = device_.held_count();
            co_await reactor::sleep_for(std::chrono::milliseconds(50));
        } while (device_.held_count() != before);
        co_return before;
    }

    static Task<> expect_answers(RawHost& io, std::size_t count) {
        while (count > 0) {
            const auto pdu = co_await io.next();
            CHECK(pdu.has_value());
            if (pdu->type() == tcp::PduType::CapsuleResp) {
                EXPECT_EQ(pdu->as<tcp::CapsuleResp>().completion.status(), 0);
                --count;
            }
        }
    }
};

TEST_F(TargetShare, Reads_ofOneConnection_takeAQuarterOfThePoolAtMost) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        ConnectOptions options;
        options.sqsize = 63;
        auto greedy = co_await io_queue(admin->cntlid, 1, 0, options);
        auto other = co_await io_queue(admin->cntlid, 2);
        device_.hold = true;
        constexpr std::uint16_t kReads = 40;
        for (std::uint16_t i = 0; i < kReads; ++i) {
            spec::Command command = make_rw(IoOpcode::Read, 0, 512);
            command.cid = i;
            greedy->send(greedy->capsule(command));
        }
        const std::size_t held = co_await settled_count();
        EXPECT_EQ(held, kPool / 4 / kRead);
        EXPECT_EQ(pool_->in_use(), kPool / 4);
        spec::Command read = make_rw(IoOpcode::Read, 0, 512);
        read.cid = 7;
        other->send(other->capsule(read));
        const std::size_t both = co_await settled_count();
        EXPECT_EQ(both, held + 1);
        device_.release();
        co_await expect_answers(*greedy, kReads);
        co_await expect_answers(*other, 1);
        co_await stop();
    });
}

TEST_F(TargetShare, EverythingOfOneConnection_takesHalfOfThePoolAtMost) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        ConnectOptions options;
        options.sqsize = 511;
        auto io = co_await io_queue(admin->cntlid, 1, 0, options);
        device_.hold = true;
        const auto data = pattern(kWrite, 4);
        constexpr std::uint16_t kWrites = 400;  // 6.25 MiB, and the device keeps it all
        for (std::uint16_t i = 0; i < kWrites; ++i) {
            spec::Command command = make_rw(IoOpcode::Write, 0, 32, true);
            command.cid = i;
            io->send(io->capsule(command, data));
        }
        const std::size_t held = co_await settled_count();
        EXPECT_EQ(held, kPool / 2 / kWrite + 1);  // and the reserve
        EXPECT_EQ(pool_->in_use(), kPool / 2);
        device_.release();
        co_await expect_answers(*io, kWrites);
        co_await stop();
    });
}

}  // namespace
}  // namespace remora::test
