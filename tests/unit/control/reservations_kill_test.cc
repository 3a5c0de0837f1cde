// SPDX-License-Identifier: Apache-2.0
// A host's reservations over a kill of the daemon.
#include "nvme/spec/reservation.h"
#include "tests/unit/control/kill_fixture.h"

namespace remora::test {
namespace {

class ReservationKillTest : public KillFixture {
  public:
    static Task<Outcome> reserve(
        RawHost& io, IoOpcode opcode, std::uint32_t cdw10, std::uint64_t key, std::uint64_t other) {
        const spec::ReservationRegisterData keys{key, other};
        spec::Command command = make_command(static_cast<std::uint8_t>(opcode), 1, 16, true);
        command.cdw10 = cdw10;
        Outcome outcome = co_await io.perform(command, core::as_bytes_of(keys));
        co_return outcome;
    }
    static Task<spec::ReservationStatus> status(RawHost& io) {
        spec::Command command =
            make_command(static_cast<std::uint8_t>(IoOpcode::ReservationReport), 1, 64, false);
        command.cdw10 = 15U;
        command.cdw11 = 1U;
        const Outcome outcome = co_await io.perform(command);
        spec::ReservationStatus header;
        CHECK(outcome.status == 0 && outcome.data.size() == sizeof(header));
        std::memcpy(&header, outcome.data.data(), sizeof(header));
        co_return header;
    }
};

TEST_F(ReservationKillTest, Reservation_ofAHostThatWantsIt_survives_anothersDoesNot) {
    run([&]() -> Task<> {
        constexpr std::uint32_t kPersist = 3U << 30U;
        constexpr std::uint32_t kForget = 2U << 30U;
        constexpr std::uint32_t kWriteExclusive = 1U << 8U;
        co_await start("first");
        co_await make_namespace();
        {
            const Host one = co_await connect(1);
            const Outcome registered =
                co_await reserve(*one.io, IoOpcode::ReservationRegister, kPersist, 0, 0xa);
            const Outcome acquired =
                co_await reserve(*one.io, IoOpcode::ReservationAcquire, kWriteExclusive, 0xa, 0);
            EXPECT_EQ(registered.status | acquired.status, 0);
            snapshot("first", "second");
            const Outcome released =
                co_await reserve(*one.io, IoOpcode::ReservationRelease, kWriteExclusive, 0xa, 0);
            EXPECT_EQ(released.status, 0);
            snapshot("first", "third");
            const Outcome forgotten =
                co_await reserve(*one.io, IoOpcode::ReservationRegister, kForget, 0, 0xa);
            const Outcome again =
                co_await reserve(*one.io, IoOpcode::ReservationAcquire, kWriteExclusive, 0xa, 0);
            EXPECT_EQ(forgotten.status | again.status, 0);
            snapshot("first", "fourth");
        }
        co_await stop();
        struct Life {
            const char* name;
            bool conflict;
            std::uint8_t type;
            std::uint16_t controllers;
            std::uint32_t generation;
        };
        constexpr Life kLives[] = {
            {"second", true, 1, 1, 1}, {"third", false, 0, 1, 1}, {"fourth", false, 0, 0, 0}};
        for (const Life& life : kLives) {
            SCOPED_TRACE(life.name);
            co_await start(life.name);
            {
                const Host two = co_await connect(2);
                const spec::ReservationStatus found = co_await status(*two.io);
                EXPECT_EQ(found.type, life.type);
                EXPECT_EQ(found.registered_controllers, life.controllers);
                EXPECT_EQ(found.generation, life.generation);
                const Outcome tried = co_await write(*two.io);
                EXPECT_EQ(tried.code(),
                          life.conflict ? StatusCode::ReservationConflict : StatusCode::Success);
                const Host one = co_await connect(1);
                const Outcome mine = co_await write(*one.io);
                EXPECT_EQ(mine.status, 0);
            }
            co_await stop();
        }
    });
}

}  // namespace
}  // namespace remora::test
