// SPDX-License-Identifier: Apache-2.0
// Reservations over real connections: who is told of what, and what survives a restart.
#include "nvme/spec/identify.h"
#include "tests/unit/nvme_tcp_target/reservation_fixture.h"

namespace remora::test {
namespace {

using Type = ReservationType;

class TargetReservationEvents : public TargetReservation {
  public:
    static Task<spec::ReservationNotificationLog> read_log(RawHost& admin) {
        const Outcome outcome = co_await admin.log_page(LogPage::ReservationNotification, 0,
                                                        sizeof(spec::ReservationNotificationLog));
        EXPECT_EQ(outcome.status, 0);
        co_return as<spec::ReservationNotificationLog>(outcome.data);
    }
    static Task<> expect_event(RawHost& admin, std::uint16_t cid) {
        const Outcome event = co_await admin.finish(cid);
        EXPECT_EQ(event.status, 0);
        EXPECT_EQ(event.completion.dw0, spec::kNoticeReservation);
    }
    static Task<Outcome> feature(RawHost& admin,
                                 spec::AdminOpcode opcode,
                                 spec::Feature which,
                                 std::uint32_t nsid,
                                 std::uint32_t value = 0) {
        spec::Command command = make_command(static_cast<std::uint8_t>(opcode), nsid, 0, false);
        command.cdw10 = static_cast<std::uint8_t>(which);
        command.cdw11 = value;
        Outcome outcome = co_await admin.perform(command);
        co_return outcome;
    }
};

TEST_F(TargetReservationEvents, Preempt_tellsThePreemptedHostOnEachController_andNobodyElse) {
    run([&]() -> Task<> {
        co_await start();
        TestHost victim = co_await connect_host(1);
        TestHost path = co_await connect_host(1);
        TestHost doer = co_await connect_host(2);
        TestHost third = co_await connect_host(3);
        const Outcome a = co_await enroll(*victim.io, 0xa);
        const Outcome b = co_await enroll(*doer.io, 0xb);
        const Outcome c = co_await acquire(*victim.io, 0xa, Type::WriteExclusive);
        EXPECT_EQ(a.status | b.status | c.status, 0);
        post_event_request(*victim.admin, 0x7001);
        post_event_request(*path.admin, 0x7002);
        post_event_request(*doer.admin, 0x7003);
        post_event_request(*third.admin, 0x7004);
        const Outcome preempted = co_await preempt(*doer.io, 0xb, 0xa, Type::WriteExclusive);
        EXPECT_EQ(preempted.status, 0);
        co_await expect_event(*victim.admin, 0x7001);
        co_await expect_event(*path.admin, 0x7002);
        const auto page = co_await read_log(*victim.admin);
        EXPECT_EQ(page.count, 1U);
        EXPECT_EQ(page.type, 1);
        EXPECT_EQ(page.nsid, 1U);
        EXPECT_EQ(page.available, 0);
        const auto empty = co_await read_log(*victim.admin);
        EXPECT_EQ(empty.count, 0U);
        EXPECT_EQ(empty.type, 0);
        const auto none = co_await read_log(*doer.admin);
        EXPECT_EQ(none.count, 0U);
        const auto stranger = co_await read_log(*third.admin);
        EXPECT_EQ(stranger.count, 0U);
        EXPECT_TRUE(doer.admin->others.empty());
        EXPECT_TRUE(third.admin->others.empty());
        co_await stop();
    });
}

TEST_F(TargetReservationEvents, Notices_wait_areReadInOrder_andTellAgainWhenRead) {
    run([&]() -> Task<> {
        co_await start();
        TestHost listener = co_await connect_host(1);
        TestHost doer = co_await connect_host(2);
        const Outcome a = co_await enroll(*listener.io, 0xa);
        const Outcome b = co_await enroll(*doer.io, 0xb);
        EXPECT_EQ(a.status | b.status, 0);
        const auto only = Type::WriteExclusiveRegistrantsOnly;
        for (int i = 0; i < 2; ++i) {
            const Outcome taken = co_await acquire(*doer.io, 0xb, only);
            const Outcome given = co_await release(*doer.io, 0xb, only);
            EXPECT_EQ(taken.status | given.status, 0);
        }
        const Outcome cleared = co_await clear(*doer.io, 0xb);
        EXPECT_EQ(cleared.status, 0);
        post_event_request(*listener.admin, 0x7001);  // after all that
        co_await expect_event(*listener.admin, 0x7001);
        post_event_request(*listener.admin, 0x7002);
        // With Retain the page stays, and with it the event.
        spec::Command retained = make_command(0x02, spec::kBroadcastNsid, 64, false);
        spec::set_log_page_range(retained, LogPage::ReservationNotification, 0, 64);
        retained.cdw10 = retained.cdw10 | spec::kRetainAsyncEvent;
        const Outcome peek = co_await listener.admin->perform(retained);
        EXPECT_EQ(as<spec::ReservationNotificationLog>(peek.data).count, 1U);
        EXPECT_TRUE(listener.admin->others.empty());
        std::vector<std::uint8_t> types;
        for (std::uint64_t i = 1; i <= 3; ++i) {
            const auto page = co_await read_log(*listener.admin);
            EXPECT_EQ(page.count, i);
            EXPECT_EQ(page.available, 3 - i);
            types.push_back(page.type);
        }
        EXPECT_EQ(types, (std::vector<std::uint8_t>{2, 2, 3}));
        EXPECT_TRUE(listener.admin->others.empty());
        // Read to the end: the next one is told.
        const Outcome again = co_await enroll(*listener.io, 0xa);
        const Outcome back = co_await enroll(*doer.io, 0xb);
        EXPECT_EQ(again.status | back.status, 0);
        const Outcome cleared_again = co_await clear(*doer.io, 0xb);
        EXPECT_EQ(cleared_again.status, 0);
        co_await expect_event(*listener.admin, 0x7002);
        co_await stop();
    });
}

TEST_F(TargetReservationEvents, Mask_isOfTheControllerTheNamespaceAndTheKind) {
    run([&]() -> Task<> {
        using spec::AdminOpcode;
        using spec::Feature;
        co_await start();
        TestHost listener = co_await connect_host(1);
        TestHost path = co_await connect_host(1);
        TestHost doer = co_await connect_host(2);
        const auto which = Feature::ReservationNotificationMask;
        RawHost& admin = *listener.admin;
        const Outcome set = co_await feature(admin, AdminOpcode::SetFeatures, which, 1, 1U << 3U);
        EXPECT_EQ(set.status, 0);
        const Outcome got = co_await feature(admin, AdminOpcode::GetFeatures, which, 1);
        EXPECT_EQ(got.completion.dw0, 1U << 3U);
        const Outcome a = co_await enroll(*listener.io, 0xa);
        const Outcome b = co_await enroll(*doer.io, 0xb);
        const Outcome c = co_await clear(*doer.io, 0xb);  // Reservation Preempted
        EXPECT_EQ(a.status | b.status | c.status, 0);
        const auto masked = co_await read_log(admin);
        EXPECT_EQ(masked.count, 0U);
        const auto open = co_await read_log(*path.admin);
        EXPECT_EQ(open.type, 3);
        const Outcome all = co_await feature(admin, AdminOpcode::SetFeatures, which,
                                             spec::kBroadcastNsid, 1U << 1U);
        EXPECT_EQ(all.status, 0);
        const Outcome now = co_await feature(admin, AdminOpcode::GetFeatures, which, 1);
        EXPECT_EQ(now.completion.dw0, 1U << 1U);
        const Outcome broadcast =
            co_await feature(admin, AdminOpcode::GetFeatures, which, spec::kBroadcastNsid);
        EXPECT_EQ(broadcast.code(), StatusCode::InvalidField);
        const Outcome missing = co_await feature(admin, AdminOpcode::SetFeatures, which, 5, 0);
        EXPECT_EQ(missing.code(), StatusCode::InvalidNamespace);
        co_await stop();
    });
}

// --- Persistence ---

TEST_F(TargetReservationEvents, Persistence_isKeptBeforeTheAnswer_andComesBack) {
    run([&]() -> Task<> {
        using spec::AdminOpcode;
        using spec::Feature;
        co_await start_kept();
        TestHost host = co_await connect_host(1);
        TestHost other = co_await connect_host(2);
        const Outcome quiet = co_await enroll(*other.io, 0xb);
        EXPECT_EQ(quiet.status, 0);
        EXPECT_EQ(keeper_.calls, 0);
        const Outcome registered = co_await enroll(*host.io, 0xa, kSetPersist);
        EXPECT_EQ(registered.status, 0);
        const Outcome acquired = co_await acquire(*host.io, 0xa, Type::WriteExclusive);
        EXPECT_EQ(acquired.status, 0);
        const nvme::ReservationRecord record = keeper_.kept.at({kSubsystem, 1});
        EXPECT_TRUE(record.persist);
        EXPECT_EQ(record.type, Type::WriteExclusive);
        EXPECT_EQ(record.registrants.size(), 2U);
        EXPECT_EQ(record.generation, 2U);
        const Outcome got = co_await feature(*other.admin, AdminOpcode::GetFeatures,
                                             Feature::ReservationPersistence, 1);
        EXPECT_EQ(got.completion.dw0, 1U);
        const Outcome space = co_await host.admin->identify(0, 1);
        EXPECT_EQ(as<spec::IdentifyNamespace>(space.data).rescap, 0xff);

        // The namespace comes anew with what was kept.
        const auto removed = co_await target_->remove_namespace(kSubsystem, 1);
        EXPECT_TRUE(removed.has_value());
        co_await add_namespace(record);
        const Outcome refused = co_await write_block(*other.io, 1);
        EXPECT_EQ(refused.code(), StatusCode::ReservationConflict);
        const Outcome written = co_await write_block(*host.io, 1);
        EXPECT_EQ(written.status, 0);
        const Report back = co_await report(*other.io);
        EXPECT_EQ(back.header.generation, 2U);
        EXPECT_EQ(back.header.persist, 1);
        EXPECT_EQ(back.header.type, 1);

        // Taken back, by the feature: nothing is found after a restart.
        const Outcome cleared =
            co_await feature(*other.admin, AdminOpcode::SetFeatures,
                             Feature::ReservationPersistence, spec::kBroadcastNsid, 0);
        EXPECT_EQ(cleared.status, 0);
        EXPECT_EQ((keeper_.kept.at({kSubsystem, 1})), nvme::ReservationRecord{});
        const Report now = co_await report(*other.io);
        EXPECT_EQ(now.header.persist, 0);
        EXPECT_EQ(now.header.type, 1);
        co_await stop();
    });
}

TEST_F(TargetReservationEvents, Persistence_thatCannotBeKept_changesNothing) {
    run([&]() -> Task<> {
        using spec::AdminOpcode;
        co_await start_kept();
        TestHost host = co_await connect_host(1);
        TestHost other = co_await connect_host(2);
        const Outcome registered = co_await enroll(*host.io, 0xa, kSetPersist);
        EXPECT_EQ(registered.status, 0);
        keeper_.refuse = true;
        const Outcome acquired = co_await acquire(*host.io, 0xa, Type::ExclusiveAccess);
        EXPECT_EQ(acquired.code(), StatusCode::InternalError);
        EXPECT_EQ(acquired.status & spec::kDoNotRetry, 0);
        const Outcome read = co_await read_block(*other.io);
        EXPECT_EQ(read.status, 0);
        const Outcome feature_set = co_await feature(*host.admin, AdminOpcode::SetFeatures,
                                                     spec::Feature::ReservationPersistence, 1, 0);
        EXPECT_EQ(feature_set.code(), StatusCode::InternalError);
        const Report now = co_await report(*host.io);
        EXPECT_EQ(now.header.persist, 1);
        EXPECT_EQ(now.header.type, 0);
        keeper_.refuse = false;
        const Outcome again = co_await acquire(*host.io, 0xa, Type::ExclusiveAccess);
        EXPECT_EQ(again.status, 0);
        co_await stop();
    });
}

TEST_F(TargetReservationEvents, Persistence_withoutAKeeper_isRefused) {
    run([&]() -> Task<> {
        using spec::AdminOpcode;
        using spec::Feature;
        co_await start();
        TestHost host = co_await connect_host(1);
        for (const AdminOpcode opcode : {AdminOpcode::SetFeatures, AdminOpcode::GetFeatures}) {
            const Outcome outcome =
                co_await feature(*host.admin, opcode, Feature::ReservationPersistence, 1, 1);
            EXPECT_EQ(outcome.code(), StatusCode::InvalidField);
        }
        const Outcome registered = co_await enroll(*host.io, 0xa, kSetPersist);
        EXPECT_EQ(registered.code(), StatusCode::InvalidField);
        const Outcome cleared = co_await enroll(*host.io, 0xa, kClearPersist);
        EXPECT_EQ(cleared.status, 0);
        co_await stop();
    });
}

}  // namespace
}  // namespace remora::test
