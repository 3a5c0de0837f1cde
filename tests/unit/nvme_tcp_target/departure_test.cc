// SPDX-License-Identifier: Apache-2.0
// A host that was killed with I/O under way, and what its successor's Connect waits for.
#include "reactor/call.h"
#include "tests/unit/nvme_tcp_target/target_fixture.h"

namespace remora::test {
namespace {

constexpr core::Nanos kMoment = std::chrono::milliseconds(50);

/// With a pool of 1 MiB, so that a test can take all of it.
class TargetDeparture : public TargetFixture {
  public:
    TargetDeparture() : TargetFixture(std::size_t{1} << 20U) {}

    /// A write of 16 KiB in its capsule.
    static void send_write(RawHost& io, std::uint64_t lba, std::span<const std::byte> data) {
        spec::Command command = make_rw(IoOpcode::Write, lba, 32, true);
        command.cid = io.next_cid();
        io.send(io.capsule(command, data));
    }

    Task<> wait_held(std::size_t count) {
        while (device_.held_count() < count) {
            co_await reactor::sleep_for(std::chrono::milliseconds(1));
        }
    }

    [[nodiscard]] bool on_disk(std::uint64_t lba, std::span<const std::byte> data) {
        return std::memcmp(device_.memory().data() + lba * 512, data.data(), data.size()) == 0;
    }

    /// A host that has sent its admin Connect, whose cid is 0.
    Task<std::unique_ptr<RawHost>> connecting(ConnectOptions options = {}) {
        auto host = co_await RawHost::open(endpoint_);
        const bool greeted = co_await host->handshake();
        CHECK(greeted);
        const auto data = RawHost::connect_data(options);
        host->send(host->capsule(RawHost::connect_command(options), core::as_bytes_of(data)));
        co_return host;
    }

    const std::vector<std::byte> first_ = pattern(16384, 1);
    const std::vector<std::byte> second_ = pattern(16384, 2);
};

TEST_F(TargetDeparture, Connect_afterTheHostWasKilled_waitsForItsIo) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid);
        device_.hold = true;
        send_write(*io, 0, first_);
        co_await wait_held(1);
        admin.reset();
        io.reset();
        auto next = co_await connecting();
        auto after = co_await connecting();
        const auto early = co_await next->next(kMoment);
        EXPECT_FALSE(early.has_value());
        device_.release();
        const Outcome connected = co_await next->finish(0);
        EXPECT_EQ(connected.status, 0);
        EXPECT_TRUE(on_disk(0, first_));
        const Outcome also = co_await after->finish(0);
        EXPECT_EQ(also.status, 0);
        co_await stop();
    });
}

TEST_F(TargetDeparture, Connect_onlyTheQueueEndedSoFar_waitsForWhatItStillHasToRead) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();  // the target does not know of its end yet
        auto io = co_await io_queue(admin->cntlid);
        const auto whole = pool_->allocate(std::size_t{1} << 20U);
        CHECK(!whole.empty());
        device_.hold = true;
        send_write(*io, 0, first_);    // has the reserve
        send_write(*io, 64, second_);  // cannot be read yet
        co_await wait_held(1);
        io.reset();
        auto next = co_await connecting();
        const auto early = co_await next->next(kMoment);
        EXPECT_FALSE(early.has_value());
        EXPECT_EQ(device_.held_count(), 1U);
        device_.release();
        const Outcome connected = co_await next->finish(0);
        EXPECT_EQ(connected.status, 0);
        EXPECT_TRUE(on_disk(0, first_));
        const int batches = device_.batches;
        pool_->release(whole);
        co_await stop();
        EXPECT_EQ(device_.batches, batches);  // the second one came before, or never
    });
}

TEST_F(TargetDeparture, Connect_ioDoesNotEnd_isBusyForNow) {
    run([&]() -> Task<> {
        limits_.hold = kMoment;
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid);
        device_.hold = true;
        send_write(*io, 0, first_);
        co_await wait_held(1);
        admin.reset();
        io.reset();
        auto next = co_await connecting();
        const Outcome busy = co_await next->finish(0);
        EXPECT_EQ(busy.status, spec::status_field(StatusCode::ConnectControllerBusy));
        device_.release();
        const Outcome again = co_await next->connect({});  // the connection is as good as before
        EXPECT_EQ(again.status, 0);
        co_await stop();
    });
}

TEST_F(TargetDeparture, Connect_ofAnotherHostOrPath_doesNotWait) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid);
        device_.hold = true;
        send_write(*io, 0, first_);
        co_await wait_held(1);
        auto other_path = co_await connecting();
        const Outcome second = co_await other_path->finish(0);
        EXPECT_EQ(second.status, 0);
        admin.reset();
        io.reset();
        ConnectOptions options;
        options.host_id = 2;
        auto other_id = co_await connecting(options);
        const Outcome third = co_await other_id->finish(0);
        EXPECT_EQ(third.status, 0);
        options = {};
        options.hostnqn = "nqn.2026-01.test:other";
        auto other_host = co_await connecting(options);
        const Outcome fourth = co_await other_host->finish(0);
        EXPECT_EQ(fourth.status, 0);
        EXPECT_EQ(device_.held_count(), 1U);
        device_.release();
        co_await stop();
    });
}

TEST_F(TargetDeparture, Connect_givenUpWhileHeld_endsQuietly) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid);
        device_.hold = true;
        send_write(*io, 0, first_);
        co_await wait_held(1);
        admin.reset();
        io.reset();
        auto impatient = co_await connecting();
        const auto early = co_await impatient->next(kMoment);
        EXPECT_FALSE(early.has_value());
        impatient.reset();
        auto liar = co_await connecting();  // goes on before its Connect is answered
        liar->send(liar->capsule(make_rw(IoOpcode::Read, 0, 1)));
        const std::uint16_t fes = co_await liar->wait_termination();
        EXPECT_EQ(fes, 2);
        auto last = co_await connecting();
        device_.release();
        const Outcome connected = co_await last->finish(0);
        EXPECT_EQ(connected.status, 0);
        co_await stop();
    });
}

}  // namespace
}  // namespace remora::test
