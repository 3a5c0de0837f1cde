// SPDX-License-Identifier: Apache-2.0
// Blocks that a host marked uncorrectable, over a kill of the daemon after each answer.
#include "tests/unit/control/kill_fixture.h"

namespace remora::test {
namespace {

class UncorrectableKillTest : public KillFixture {
  public:
    static Task<std::uint16_t> bare(RawHost& io, IoOpcode opcode, std::uint64_t lba, unsigned n) {
        spec::Command command = make_rw(opcode, lba, n);
        command.sgl = {};
        const Outcome outcome = co_await io.perform(command);
        co_return outcome.status;
    }
    /// Of the first eight blocks those that cannot be read, as a mask.
    static Task<unsigned> unreadable(RawHost& io) {
        unsigned mask = 0;
        for (unsigned lba = 0; lba < 8; ++lba) {
            const Outcome outcome = co_await io.perform(make_rw(IoOpcode::Read, lba, 1));
            if (outcome.code() == StatusCode::UnrecoveredReadError) {
                mask |= 1U << lba;
            } else {
                EXPECT_EQ(outcome.status, 0);
            }
        }
        co_return mask;
    }
};

TEST_F(UncorrectableKillTest, AfterEachAnswer_marksAreAsItSaid) {
    run([&]() -> Task<> {
        struct Life {
            const char* name;
            unsigned marked;
        };
        constexpr Life kLives[] = {{"second", 0xfe}, {"third", 0xf6}, {"fourth", 0}};
        co_await start("first");
        co_await make_namespace();
        {
            const Host host = co_await connect(1);
            const auto marked = co_await bare(*host.io, IoOpcode::WriteUncorrectable, 1, 20);
            EXPECT_EQ(marked, 0);
            snapshot("first", "second");
            const Outcome written = co_await write(*host.io, 3);
            EXPECT_EQ(written.status, 0);
            snapshot("first", "third");
            const auto zeroed = co_await bare(*host.io, IoOpcode::WriteZeroes, 0, 64);
            EXPECT_EQ(zeroed, 0);
            snapshot("first", "fourth");
        }
        co_await stop();
        for (const Life& life : kLives) {
            SCOPED_TRACE(life.name);
            co_await start(life.name);
            {
                const Host host = co_await connect(1);
                const unsigned found = co_await unreadable(*host.io);
                EXPECT_EQ(found, life.marked);
                // It goes on from there.
                const auto zeroed = co_await bare(*host.io, IoOpcode::WriteZeroes, 0, 64);
                const auto again = co_await bare(*host.io, IoOpcode::WriteUncorrectable, 2, 1);
                EXPECT_EQ(zeroed | again, 0);
                snapshot(life.name, std::string("after-") + life.name);
            }
            co_await stop();
            co_await start(std::string("after-") + life.name);
            {
                const Host host = co_await connect(1);
                const unsigned found = co_await unreadable(*host.io);
                EXPECT_EQ(found, 4U);
            }
            co_await stop();
        }
    });
}

}  // namespace
}  // namespace remora::test
