// SPDX-License-Identifier: Apache-2.0
// Reservations over real connections: who may do what, reports, refusals.
#include <algorithm>

#include "nvme/spec/identify.h"
#include "tests/unit/nvme_tcp_target/reservation_fixture.h"

namespace remora::test {
namespace {

using Type = ReservationType;

constexpr Type kTypes[] = {Type::WriteExclusive,
                           Type::ExclusiveAccess,
                           Type::WriteExclusiveRegistrantsOnly,
                           Type::ExclusiveAccessRegistrantsOnly,
                           Type::WriteExclusiveAllRegistrants,
                           Type::ExclusiveAccessAllRegistrants};

/// Whether the command was let by; anything but success and a conflict fails the test.
Task<bool> passes(RawHost& io, IoOpcode opcode) {
    std::vector<std::byte> data(512, std::byte{0});
    spec::Command command = one_block(opcode);
    if (opcode == IoOpcode::DatasetManagement || opcode == IoOpcode::Copy) {
        const bool copy = opcode == IoOpcode::Copy;
        data.assign(copy ? 32 : 16, std::byte{0});
        if (copy) {
            command.cdw10 = 100;
        } else {
            data[4] = std::byte{1};
            command.cdw10 = 0;
            command.cdw11 = spec::kDsmDeallocate;
        }
        command.cdw12 = 0;
        command.sgl.length = static_cast<std::uint32_t>(data.size());
    } else if (opcode != IoOpcode::Write && opcode != IoOpcode::Compare) {
        data.clear();
        command.sgl = opcode == IoOpcode::Read ? command.sgl : spec::SglDescriptor{};
    }
    const Outcome outcome = co_await io.perform(command, data);
    EXPECT_TRUE(outcome.status == 0 || outcome.code() == StatusCode::ReservationConflict)
        << "opcode " << static_cast<int>(opcode) << " status " << outcome.status;
    if (outcome.code() == StatusCode::ReservationConflict) {
        EXPECT_NE(outcome.status & spec::kDoNotRetry, 0);
    }
    co_return outcome.status == 0;
}

TEST_F(TargetReservation, EveryType_letsBy_whatItsTableSays) {
    run([&]() -> Task<> {
        co_await start();
        TestHost holder = co_await connect_host(1);
        TestHost registrant = co_await connect_host(2);
        TestHost stranger = co_await connect_host(3);
        const Outcome first = co_await enroll(*holder.io, 0xa);
        EXPECT_EQ(first.status, 0);
        const Outcome second = co_await enroll(*registrant.io, 0xb);
        EXPECT_EQ(second.status, 0);
        for (const Type type : kTypes) {
            SCOPED_TRACE(static_cast<int>(type));
            const Outcome acquired = co_await acquire(*holder.io, 0xa, type);
            EXPECT_EQ(acquired.status, 0);
            const bool exclusive_access = static_cast<int>(type) % 2 == 0;
            const bool registrants_too = type >= Type::WriteExclusiveRegistrantsOnly;
            for (const IoOpcode opcode : {IoOpcode::Read, IoOpcode::Compare, IoOpcode::Verify,
                                          IoOpcode::Write, IoOpcode::WriteZeroes, IoOpcode::Flush,
                                          IoOpcode::DatasetManagement, IoOpcode::Copy}) {
                const bool reads = opcode == IoOpcode::Read || opcode == IoOpcode::Compare ||
                                   opcode == IoOpcode::Verify;
                const bool own = co_await passes(*holder.io, opcode);
                EXPECT_TRUE(own);
                const bool other = co_await passes(*registrant.io, opcode);
                EXPECT_EQ(other, registrants_too || (reads && !exclusive_access));
                const bool none = co_await passes(*stranger.io, opcode);
                EXPECT_EQ(none, reads && !exclusive_access);
            }
            const Outcome released = co_await release(*holder.io, 0xa, type);
            EXPECT_EQ(released.status, 0);
            const bool free = co_await passes(*stranger.io, IoOpcode::Write);
            EXPECT_TRUE(free);
        }
        co_await stop();
    });
}

TEST_F(TargetReservation, Registration_isTheHosts_onAllItsControllers) {
    run([&]() -> Task<> {
        co_await start();
        TestHost one = co_await connect_host(1);
        TestHost path = co_await connect_host(1);  // another controller of the same host
        TestHost other = co_await connect_host(2);
        const Outcome registered = co_await enroll(*one.io, 0xa);
        EXPECT_EQ(registered.status, 0);
        const Outcome acquired = co_await acquire(*path.io, 0xa, Type::ExclusiveAccess);
        EXPECT_EQ(acquired.status, 0);
        const Outcome written = co_await write_block(*one.io, 7);
        EXPECT_EQ(written.status, 0);
        const Outcome refused = co_await read_block(*other.io);
        EXPECT_EQ(refused.code(), StatusCode::ReservationConflict);

        const Report both = co_await report(*other.io);
        EXPECT_EQ(both.header.type, 2);
        EXPECT_EQ(both.controllers.size(), 2U);
        std::vector<std::uint16_t> ids;
        for (const auto& entry : both.controllers) {
            ids.push_back(entry.cntlid);
            EXPECT_EQ(entry.key, 0xaU);
            EXPECT_EQ(entry.status, spec::kHoldsReservation);
            EXPECT_EQ(entry.host_id[0], 1);
            EXPECT_EQ(entry.host_id[15], 1);
        }
        EXPECT_EQ(std::ranges::count(ids, one.admin->cntlid), 1);
        EXPECT_EQ(std::ranges::count(ids, path.admin->cntlid), 1);

        // The host leaves; its registration and reservation stay.
        one = {};
        path = {};
        Report left = co_await report(*other.io);
        while (left.controllers.size() != 1 || left.controllers[0].cntlid != spec::kNoController) {
            left = co_await report(*other.io);
        }
        EXPECT_EQ(left.controllers[0].key, 0xaU);
        const Outcome still = co_await read_block(*other.io);
        EXPECT_EQ(still.code(), StatusCode::ReservationConflict);
        TestHost back = co_await connect_host(1);
        const Outcome again = co_await write_block(*back.io, 8);
        EXPECT_EQ(again.status, 0);
        co_await stop();
    });
}

TEST_F(TargetReservation, Report_hasTheSizeAskedFor_andOnlyTheExtendedForm) {
    run([&]() -> Task<> {
        co_await start();
        TestHost host = co_await connect_host(1);
        const Outcome registered = co_await enroll(*host.io, 0x1234);
        EXPECT_EQ(registered.status, 0);
        const Outcome brief = co_await host.io->perform(report_command(64 + 16));
        EXPECT_EQ(brief.status, 0);
        EXPECT_EQ(brief.data.size(), 80U);
        EXPECT_EQ(as<spec::ReservationStatus>(brief.data).registered_controllers, 1U);
        const Outcome tiny = co_await host.io->perform(report_command(4));
        EXPECT_EQ(tiny.data, (std::vector<std::byte>{std::byte{1}, {}, {}, {}}));
        const Outcome large = co_await host.io->perform(report_command(256 * 1024));
        EXPECT_EQ(large.data.size(), 256U * 1024);
        EXPECT_TRUE(std::all_of(large.data.begin() + 128, large.data.end(),
                                [](std::byte byte) { return byte == std::byte{0}; }));
        const Outcome beyond = co_await host.io->perform(report_command(256 * 1024 + 4));
        EXPECT_EQ(beyond.code(), StatusCode::InvalidField);
        const Outcome small = co_await host.io->perform(report_command(4096, false));
        EXPECT_EQ(small.code(), StatusCode::HostIdInconsistent);
        co_await stop();
    });
}

TEST_F(TargetReservation, Identify_saysThatReservationsAreThere) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        const Outcome controller = co_await admin->identify(1);
        EXPECT_NE(as<spec::IdentifyController>(controller.data).oncs & spec::kOncsReservations, 0);
        const Outcome space = co_await admin->identify(0, 1);
        EXPECT_EQ(as<spec::IdentifyNamespace>(space.data).rescap, 0xfe);
        EXPECT_EQ(as<spec::IdentifyNamespace>(space.data).nmic, spec::kNmicShared);
        const Outcome independent = co_await admin->identify(8, 1);
        EXPECT_EQ(as<spec::IdentifyIndependentNamespace>(independent.data).rescap, 0xfe);
        const Outcome effects = co_await admin->log_page(LogPage::CommandEffects, 0, 4096);
        const auto log = as<spec::CommandEffectsLog>(effects.data);
        for (const unsigned opcode : {0x0dU, 0x0eU, 0x11U, 0x15U}) {
            EXPECT_EQ(log.io[opcode], spec::kEffectSupported);
        }
        co_await stop();
    });
}

TEST_F(TargetReservation, HostileCommands_areRefused_andChangeNothing) {
    run([&]() -> Task<> {
        co_await start();
        TestHost host = co_await connect_host(1);
        TestHost other = co_await connect_host(2);
        const Outcome registered = co_await enroll(*host.io, 0xa);
        EXPECT_EQ(registered.status, 0);
        const Report before = co_await report(*host.io);
        struct Case {
            IoOpcode opcode;
            std::uint32_t cdw10;
            std::uint64_t key;
            StatusCode code;
        };
        const Case cases[] = {
            {IoOpcode::ReservationRegister, 3, 0xa, StatusCode::InvalidField},
            {IoOpcode::ReservationRegister, 7, 0xa, StatusCode::InvalidField},
            {IoOpcode::ReservationRegister, 1U << 30U, 0xa, StatusCode::InvalidField},
            {IoOpcode::ReservationRegister, kSetPersist, 0xa, StatusCode::InvalidField},
            {IoOpcode::ReservationRegister, 1, 0xb, StatusCode::ReservationConflict},
            {IoOpcode::ReservationRegister, 2, 0xb, StatusCode::ReservationConflict},
            {IoOpcode::ReservationAcquire, 0, 0xa, StatusCode::InvalidField},
            {IoOpcode::ReservationAcquire, 7U << 8U, 0xa, StatusCode::InvalidField},
            {IoOpcode::ReservationAcquire, 3U | (1U << 8U), 0xa, StatusCode::InvalidField},
            {IoOpcode::ReservationAcquire, 8U | (1U << 8U), 0xa, StatusCode::InvalidField},
            {IoOpcode::ReservationAcquire, 1U << 8U, 0xb, StatusCode::ReservationConflict},
            {IoOpcode::ReservationAcquire, 1U | (1U << 8U), 0xa, StatusCode::ReservationConflict},
            {IoOpcode::ReservationRelease, 2U | (1U << 8U), 0xa, StatusCode::InvalidField},
            {IoOpcode::ReservationRelease, 0, 0xa, StatusCode::InvalidField},
            {IoOpcode::ReservationRelease, 1, 0xb, StatusCode::ReservationConflict},
        };
        for (const Case& one : cases) {
            SCOPED_TRACE(static_cast<int>(one.opcode) * 1000 + static_cast<int>(one.cdw10 & 0xfff));
            const Outcome mine =
                co_await reservation(*host.io, one.opcode, one.cdw10, one.key, 0x77);
            EXPECT_EQ(mine.code(), one.code);
            if (one.code == StatusCode::InvalidField) {
                continue;
            }
            const Outcome strangers =
                co_await reservation(*other.io, one.opcode, one.cdw10, one.key, 0x77);
            EXPECT_EQ(strangers.code(), StatusCode::ReservationConflict);
        }
        const Report after = co_await report(*host.io);
        EXPECT_EQ(before.header.generation, after.header.generation);
        EXPECT_EQ(after.header.registered_controllers, 1U);
        co_await stop();
    });
}

TEST_F(TargetReservation, DataAndNamespaces_thatAreWrong_areRefused) {
    run([&]() -> Task<> {
        co_await start();
        TestHost host = co_await connect_host(1);
        const std::vector<std::byte> data(24, std::byte{1});
        for (const std::uint32_t bytes : {0U, 8U, 15U, 24U}) {
            const Outcome outcome = co_await host.io->perform(make_command(0x0d, 1, bytes, true),
                                                              std::span(data).first(bytes));
            EXPECT_EQ(outcome.code(), StatusCode::DataSglLengthInvalid) << bytes;
        }
        const Outcome wide = co_await host.io->perform(make_command(0x15, 1, 24, true), data);
        EXPECT_EQ(wide.code(), StatusCode::DataSglLengthInvalid);
        for (const std::uint32_t nsid : {0U, 2U, spec::kBroadcastNsid}) {
            for (const int opcode : {0x0d, 0x0e, 0x11, 0x15}) {
                const Outcome outcome = co_await host.io->perform(
                    make_command(static_cast<std::uint8_t>(opcode), nsid, 16, true),
                    std::span(data).first(16));
                EXPECT_EQ(outcome.code(), StatusCode::InvalidNamespace);
            }
        }
        // By R2T the keys come as well.
        const spec::ReservationRegisterData keys{0U, 0x5U};
        const Outcome late =
            co_await host.io->perform(make_command(0x0d, 1, 16, false), core::as_bytes_of(keys));
        EXPECT_EQ(late.status, 0);
        EXPECT_EQ(late.r2ts, 1U);
        // Not of the admin queue.
        const Outcome admin = co_await host.admin->perform(make_command(0x0d, 1, 16, true),
                                                           std::span(data).first(16));
        EXPECT_EQ(admin.code(), StatusCode::InvalidOpcode);
        co_await stop();
    });
}

TEST_F(TargetReservation, Registrants_beyondTheLimit_areRefused) {
    run([&]() -> Task<> {
        limits_.controllers = 256;
        co_await start();
        for (std::uint8_t number = 1; number <= nvme::kMaxRegistrants; ++number) {
            TestHost host = co_await connect_host(number);
            const Outcome registered = co_await enroll(*host.io, number);
            EXPECT_EQ(registered.status, 0);
        }
        TestHost late = co_await connect_host(200);
        const Outcome refused = co_await enroll(*late.io, 200);
        EXPECT_EQ(refused.code(), StatusCode::InternalError);
        const Report all = co_await report(*late.io);
        EXPECT_EQ(all.controllers.size(), 63U);  // what 4096 bytes hold
        co_await stop();
    });
}

TEST_F(TargetReservation, Namespace_withARecordThatContradictsItself_isNotMade) {
    run([&]() -> Task<> {
        co_await start();
        NamespaceOptions options;
        options.device = &device_;
        options.reservation.type = Type::WriteExclusive;  // without a holder
        const auto added = co_await target_->add_namespace(kSubsystem, options);
        EXPECT_FALSE(added.has_value());
        co_await stop();
    });
}

}  // namespace
}  // namespace remora::test
