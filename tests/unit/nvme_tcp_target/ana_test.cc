// SPDX-License-Identifier: Apache-2.0
// Asymmetric namespace access: what a host learns of its path, and what the path then does.
#include "nvme/spec/ana.h"

#include "tests/unit/nvme_tcp_target/admin_fixture.h"

namespace remora::test {
namespace {

using frontends::nvme_tcp::AnaState;

class TargetAna : public TargetAdmin {
  public:
    Task<> set(const reactor::Endpoint& at, AnaState state) {
        const auto done = co_await target_->set_ana_state(kSubsystem, at, state);
        EXPECT_TRUE(done.has_value());
    }
    static Task<std::uint8_t> told_state(RawHost& admin) {
        Outcome log = co_await admin.log_page(LogPage::Ana, 16, 32);
        EXPECT_EQ(log.status, 0);
        co_return as<spec::AnaGroupDescriptor>(log.data).state;
    }
    static Task<std::uint16_t> read_block(RawHost& io) {
        const Outcome outcome = co_await io.perform(make_rw(IoOpcode::Read, 0, 1));
        co_return outcome.status;
    }
};

TEST_F(TargetAna, Identify_saysWhatIsReported) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        const Outcome identified = co_await admin->identify(0x01);
        const auto controller = as<spec::IdentifyController>(identified.data);
        EXPECT_EQ(controller.cmic & 0x8, 0x8);
        EXPECT_EQ(controller.anacap & 0x1f, 0x1f);
        EXPECT_EQ(controller.anagrpmax, 1U);
        EXPECT_EQ(controller.nanagrpid, 1U);
        EXPECT_GT(controller.anatt, 0);
        EXPECT_NE(controller.oaes & spec::kEventAnaChange, 0U);
        const Outcome space = co_await admin->identify(0x00, 1);
        EXPECT_EQ(as<spec::IdentifyNamespace>(space.data).anagrpid, 1U);
        const Outcome independent = co_await admin->identify(0x08, 1);
        EXPECT_EQ(as<spec::IdentifyIndependentNamespace>(independent.data).anagrpid, 1U);
        co_await stop();
    });
}

TEST_F(TargetAna, Change_isToldAndDecidesOverCommands) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid, 1);
        post_event_request(*admin, 0x7001);
        EXPECT_EQ(co_await told_state(*admin), 1);
        EXPECT_EQ(co_await read_block(*io), 0);

        co_await set(endpoint_, AnaState::Inaccessible);
        const Outcome event = co_await admin->finish(0x7001);
        EXPECT_EQ(event.completion.dw0, spec::kNoticeAna);
        EXPECT_EQ(co_await told_state(*admin), 3);
        EXPECT_EQ(co_await read_block(*io), spec::status_field(StatusCode::AnaInaccessible));
        const Outcome flush = co_await io->perform(
            make_command(static_cast<std::uint8_t>(IoOpcode::Flush), 1, 0, false));
        EXPECT_EQ(flush.status, spec::status_field(StatusCode::AnaInaccessible));

        co_await set(endpoint_, AnaState::PersistentLoss);
        EXPECT_EQ(co_await read_block(*io), spec::status_field(StatusCode::AnaPersistentLoss));
        co_await set(endpoint_, AnaState::Change);
        EXPECT_EQ(co_await read_block(*io), spec::status_field(StatusCode::AnaTransition));
        co_await set(endpoint_, AnaState::NonOptimized);
        EXPECT_EQ(co_await told_state(*admin), 2);
        EXPECT_EQ(co_await read_block(*io), 0);
        co_await stop();
    });
}

TEST_F(TargetAna, WriteData_onARefusedPath_isThrownAwayAndTheQueueGoesOn) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid, 1);
        co_await set(endpoint_, AnaState::Inaccessible);
        const auto data = pattern(4096, 3);
        const Outcome refused = co_await io->perform(make_rw(IoOpcode::Write, 0, 8, true), data);
        EXPECT_EQ(refused.status, spec::status_field(StatusCode::AnaInaccessible));
        co_await set(endpoint_, AnaState::Optimized);
        const Outcome written = co_await io->perform(make_rw(IoOpcode::Write, 0, 8, true), data);
        EXPECT_EQ(written.status, 0);
        co_await stop();
    });
}

TEST_F(TargetAna, OtherPort_hasItsOwnState) {
    run([&]() -> Task<> {
        co_await start();
        const auto second = co_await target_->add_listener(
            kSubsystem, reactor::Endpoint::tcp("127.0.0.1", 0), AnaState::NonOptimized);
        CHECK(second.has_value());
        auto first_admin = co_await admin_queue();
        const reactor::Endpoint first = std::exchange(endpoint_, *second);
        auto second_admin = co_await admin_queue();
        auto second_io = co_await io_queue(second_admin->cntlid, 1);
        EXPECT_EQ(co_await told_state(*first_admin), 1);
        EXPECT_EQ(co_await told_state(*second_admin), 2);
        co_await set(first, AnaState::Inaccessible);
        EXPECT_EQ(co_await told_state(*first_admin), 3);
        EXPECT_EQ(co_await told_state(*second_admin), 2);
        EXPECT_EQ(co_await read_block(*second_io), 0);

        // A queue belongs to its controller's port.
        ConnectOptions connect;
        connect.qid = 1;
        connect.cntlid = first_admin->cntlid;
        const Outcome crossed = co_await try_connect(connect);
        EXPECT_EQ(crossed.code(), StatusCode::ConnectInvalidParameters);

        // Who came through it stays when it closes, and keeps its state.
        const auto removed = co_await target_->remove_listener(kSubsystem, *second);
        EXPECT_TRUE(removed.has_value());
        EXPECT_EQ(co_await read_block(*second_io), 0);
        EXPECT_EQ(co_await told_state(*second_admin), 2);
        const auto gone = co_await target_->set_ana_state(kSubsystem, *second, AnaState::Optimized);
        EXPECT_EQ(gone.error().kind, core::ErrorKind::NotFound);
        co_await stop();
    });
}

TEST_F(TargetAna, Event_isHeldUntilItIsAskedForAndMaskedUntilTheLogIsRead) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        co_await set(endpoint_, AnaState::NonOptimized);
        post_event_request(*admin, 0x7001);
        const Outcome first = co_await admin->finish(0x7001);
        EXPECT_EQ(first.completion.dw0, spec::kNoticeAna);
        post_event_request(*admin, 0x7002);
        co_await set(endpoint_, AnaState::Optimized);
        EXPECT_EQ(co_await told_state(*admin), 1);
        co_await set(endpoint_, AnaState::Inaccessible);
        const Outcome second = co_await admin->finish(0x7002);
        EXPECT_EQ(second.completion.dw0, spec::kNoticeAna);
        // Switched off it is not told.
        const Outcome off = co_await admin->set_feature(0x0b, 0);
        EXPECT_EQ(off.status, 0);
        EXPECT_EQ(co_await told_state(*admin), 3);
        post_event_request(*admin, 0x7003);
        co_await set(endpoint_, AnaState::Optimized);
        spec::Command abort =
            make_command(static_cast<std::uint8_t>(spec::AdminOpcode::Abort), 0, 0, false);
        abort.cdw10 = 0x7003U << 16U;
        const Outcome aborted = co_await admin->perform(abort);
        EXPECT_EQ(aborted.completion.dw0 & 1U, 0U);  // it was still waiting
        co_await stop();
    });
}

}  // namespace
}  // namespace remora::test
