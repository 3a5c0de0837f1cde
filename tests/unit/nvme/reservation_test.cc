// SPDX-License-Identifier: Apache-2.0
// The reservation state machine against the specification: access by type, registration, acquiring,
// generation and persistence.
#include <algorithm>

#include "nvme/commands.h"
#include "tests/support/planned_io.h"
#include "tests/unit/nvme/reservation_fixture.h"

namespace remora::nvme::reservation_test {
namespace {

// --- Who may do what ---

// NVM Express Base 2.0, Command Behavior in the Presence of a Reservation: registrants that are not
// the holder, and hosts that are not registered, may read or write.
TEST_F(ReservationTest, Access_isAsTheTableSays) {
    struct Row {
        Type type;
        bool registrant_reads, registrant_writes, other_reads, other_writes;
    };
    constexpr Row kTable[] = {
        {Type::WriteExclusive, true, false, true, false},
        {Type::ExclusiveAccess, false, false, false, false},
        {Type::WriteExclusiveRegistrantsOnly, true, true, true, false},
        {Type::ExclusiveAccessRegistrantsOnly, true, true, false, false},
        {Type::WriteExclusiveAllRegistrants, true, true, true, false},
        {Type::ExclusiveAccessAllRegistrants, true, true, false, false},
    };
    const HostId stranger = host(99);
    for (const Row& row : kTable) {
        SCOPED_TRACE(static_cast<int>(row.type));
        three(row.type);
        const ReservationAccess access(state_.record());
        ASSERT_TRUE(access.reserved());
        EXPECT_TRUE(access.admits(CommandGroup::Read, kA));
        EXPECT_TRUE(access.admits(CommandGroup::Write, kA));
        EXPECT_EQ(access.admits(CommandGroup::Read, kB), row.registrant_reads);
        EXPECT_EQ(access.admits(CommandGroup::Write, kB), row.registrant_writes);
        EXPECT_EQ(access.admits(CommandGroup::Read, stranger), row.other_reads);
        EXPECT_EQ(access.admits(CommandGroup::Write, stranger), row.other_writes);
        EXPECT_EQ(access.admits(CommandGroup::Read, HostId{}), row.other_reads);
        EXPECT_EQ(access.admits(CommandGroup::Write, HostId{}), row.other_writes);
    }
}

TEST_F(ReservationTest, Access_withoutAReservation_isEverybodys) {
    EXPECT_FALSE(ReservationAccess().reserved());
    three(Type::None);
    EXPECT_FALSE(ReservationAccess(state_.record()).reserved());
}

TEST_F(ReservationTest, Groups_areWhatTheCommandsDo) {
    Namespace target;
    target.nsid = 1;
    target.geometry = {
        .block_size = 512, .block_count = 1000, .can_discard = true, .can_write_zeroes = true};
    using spec::IoOpcode;
    const auto group = [&target](IoOpcode opcode) {
        spec::Command command{};
        command.opcode = static_cast<std::uint8_t>(opcode);
        command.nsid = 1;
        const auto plan = test::planned_io(command, target, 1U << 20U);
        EXPECT_TRUE(plan.has_value());
        return group_of(*plan);
    };
    for (const IoOpcode opcode : {IoOpcode::Read, IoOpcode::Compare, IoOpcode::Verify}) {
        EXPECT_EQ(group(opcode), CommandGroup::Read) << static_cast<int>(opcode);
    }
    for (const IoOpcode opcode : {IoOpcode::Write, IoOpcode::WriteZeroes, IoOpcode::Flush,
                                  IoOpcode::DatasetManagement, IoOpcode::Copy}) {
        EXPECT_EQ(group(opcode), CommandGroup::Write) << static_cast<int>(opcode);
    }
}

// --- Register ---

TEST_F(ReservationTest, Register_againWithTheSameKey_isNoError_withAnother_conflicts) {
    EXPECT_EQ(send(kA, enroll(kKeyA)), 0);
    EXPECT_EQ(send(kA, enroll(kKeyA)), 0);
    EXPECT_EQ(code(kA, enroll(kKeyB)), StatusCode::ReservationConflict);
    EXPECT_EQ(state_.record().registrants.size(), 1U);
}

TEST_F(ReservationTest, Register_twoHostsWithOneKey_areTwoRegistrants) {
    EXPECT_EQ(send(kA, enroll(kKeyA)), 0);
    EXPECT_EQ(send(kB, enroll(kKeyA)), 0);
    EXPECT_EQ(state_.record().registrants.size(), 2U);
}

TEST_F(ReservationTest, Register_beyondTheLimit_isRefusedAndTheOthersStay) {
    for (std::size_t i = 0; i < kMaxRegistrants; ++i) {
        ASSERT_EQ(send(host(static_cast<std::uint8_t>(i + 1)), enroll(i + 1)), 0);
    }
    const HostId late = host(200);
    EXPECT_EQ(code(late, enroll(7)), StatusCode::InternalError);
    EXPECT_EQ(code(late, replace(0, 7, true)), StatusCode::InternalError);
    EXPECT_EQ(send(kA, unregister(1)), 0);
    EXPECT_EQ(send(late, enroll(7)), 0);
}

TEST_F(ReservationTest, Register_ofAHostWithoutIdentifier_isRefused) {
    EXPECT_EQ(code(HostId{}, enroll(1)), StatusCode::InvalidField);
    EXPECT_EQ(code(HostId{}, replace(0, 1, true)), StatusCode::InvalidField);
}

TEST_F(ReservationTest, Unregister_needsRegistrationAndItsKey) {
    three(Type::None);
    EXPECT_EQ(code(host(9), unregister(kKeyA)), StatusCode::ReservationConflict);
    EXPECT_EQ(code(host(9), unregister(kKeyA, true)), StatusCode::ReservationConflict);
    EXPECT_EQ(code(kA, unregister(kKeyB)), StatusCode::ReservationConflict);
    EXPECT_EQ(send(kA, unregister(kKeyA)), 0);
    EXPECT_FALSE(registered(kA));
    EXPECT_EQ(send(kB, unregister(0x77, true)), 0);
    EXPECT_FALSE(registered(kB));
}

TEST_F(ReservationTest, Replace_needsTheKey_orIgnoresIt) {
    three(Type::WriteExclusive);
    EXPECT_EQ(code(kA, replace(kKeyB, 0x5)), StatusCode::ReservationConflict);
    EXPECT_EQ(code(host(9), replace(kKeyA, 0x5)), StatusCode::ReservationConflict);
    EXPECT_EQ(send(kA, replace(kKeyA, 0x5)), 0);
    EXPECT_TRUE(state_.holds(kA));  // the reservation is the host's, not the key's
    EXPECT_EQ(send(kA, replace(0x77, 0x6, true)), 0);
    EXPECT_EQ(send(kA, release(0x6, Type::WriteExclusive)), 0);
    EXPECT_EQ(send(host(9), replace(0x77, 0x9, true)), 0);  // registers it
    EXPECT_TRUE(registered(host(9)));
}

TEST_F(ReservationTest, Unregister_ofTheHolder_releases_andTellsWhereOthersDependedOnIt) {
    for (const Type type : kTypes) {
        SCOPED_TRACE(static_cast<int>(type));
        three(type);
        EXPECT_EQ(send(kA, unregister(kKeyA)), 0);
        EXPECT_EQ(state_.record().type, is_all(type) ? type : Type::None);
        EXPECT_EQ(told(kB, Notice::ReservationReleased), is_only(type));
        EXPECT_EQ(last_.notices.size(), is_only(type) ? 2U : 0U);
        EXPECT_EQ(send(kB, unregister(kKeyB)), 0);
        EXPECT_EQ(send(kC, unregister(kKeyC)), 0);
        EXPECT_EQ(state_.record().type, Type::None) << "the last registrant has it no more";
    }
}

TEST_F(ReservationTest, Unregister_ofAnother_leavesTheReservation) {
    for (const Type type : kTypes) {
        SCOPED_TRACE(static_cast<int>(type));
        three(type);
        EXPECT_EQ(send(kB, unregister(kKeyB)), 0);
        EXPECT_EQ(state_.record().type, type);
        EXPECT_TRUE(state_.holds(kA));
        EXPECT_TRUE(last_.notices.empty());
    }
}

// --- Acquire ---

TEST_F(ReservationTest, Acquire_needsRegistrationAndKey) {
    three(Type::None);
    EXPECT_EQ(code(host(9), acquire(kKeyA, Type::WriteExclusive)), StatusCode::ReservationConflict);
    EXPECT_EQ(code(kA, acquire(kKeyB, Type::WriteExclusive)), StatusCode::ReservationConflict);
    EXPECT_EQ(state_.record().type, Type::None);
}

TEST_F(ReservationTest, Acquire_whenHeld_isOnlyTheHoldersWithTheSameType) {
    for (const Type type : kTypes) {
        for (const Type asked : kTypes) {
            SCOPED_TRACE(static_cast<int>(type) * 10 + static_cast<int>(asked));
            three(type);
            EXPECT_EQ(send(kA, acquire(kKeyA, asked)) == 0, asked == type);
            EXPECT_EQ(send(kB, acquire(kKeyB, asked)) == 0, asked == type && is_all(type));
            EXPECT_EQ(state_.record().type, type);
        }
    }
}

TEST_F(ReservationTest, Holders_areOneHost_orAllRegistrants) {
    for (const Type type : kTypes) {
        SCOPED_TRACE(static_cast<int>(type));
        three(type);
        EXPECT_TRUE(state_.holds(kA));
        EXPECT_EQ(state_.holds(kB), is_all(type));
        EXPECT_FALSE(state_.holds(host(9)));
    }
}

// --- Generation and persistence ---

TEST_F(ReservationTest, Generation_countsRegistersPreemptsAndClears) {
    const auto after = [this](const HostId& from, const ReservationCommand& command) {
        const std::uint32_t before = state_.record().generation;
        (void)send(from, command);
        return state_.record().generation - before;
    };
    EXPECT_EQ(after(kA, enroll(kKeyA)), 1U);
    EXPECT_EQ(after(kA, enroll(kKeyA)), 1U);
    EXPECT_EQ(after(kA, enroll(kKeyB)), 0U);  // a conflict
    EXPECT_EQ(after(kB, enroll(kKeyB)), 1U);
    EXPECT_EQ(after(kA, acquire(kKeyA, Type::WriteExclusive)), 0U);
    EXPECT_EQ(after(kB, preempt(kKeyB, kKeyA, Type::WriteExclusive)), 1U);
    EXPECT_EQ(after(kB, release(kKeyB, Type::WriteExclusive)), 0U);
    EXPECT_EQ(after(kB, replace(kKeyB, kKeyC)), 1U);
    EXPECT_EQ(after(kB, clear(kKeyC)), 1U);
    ReservationRecord record;
    record.generation = 0xffffffffU;
    state_ = Reservation(record);
    (void)send(kA, enroll(kKeyA));
    EXPECT_EQ(state_.record().generation, 0U);
}

TEST_F(ReservationTest, Persistence_changesWithARegister_andNotWithARefusedOne) {
    ReservationCommand command = enroll(kKeyA);
    command.persist = true;
    EXPECT_EQ(send(kA, command), 0);
    EXPECT_TRUE(state_.record().persist);
    EXPECT_EQ(send(kA, enroll(kKeyA)), 0);
    EXPECT_TRUE(state_.record().persist);
    command = enroll(kKeyB);
    command.persist = false;
    EXPECT_NE(send(kA, command), 0);
    EXPECT_TRUE(state_.record().persist);
    EXPECT_EQ(send(kB, {.action = Action::SetPersistence, .persist = false}), 0);
    EXPECT_FALSE(state_.record().persist);
}

TEST_F(ReservationTest, Records_thatContradictThemselves_areNotConsistent) {
    three(Type::WriteExclusive);
    const ReservationRecord good = state_.record();
    EXPECT_TRUE(is_consistent(good));
    ReservationRecord bad = good;
    bad.holder = host(9);
    EXPECT_FALSE(is_consistent(bad));
    bad = good;
    bad.type = static_cast<Type>(7);
    EXPECT_FALSE(is_consistent(bad));
    bad = good;
    bad.type = Type::None;
    EXPECT_FALSE(is_consistent(bad));
    bad = good;
    bad.registrants.push_back(bad.registrants.front());
    EXPECT_FALSE(is_consistent(bad));
    bad = good;
    bad.registrants[1].key = 0;
    EXPECT_FALSE(is_consistent(bad));
    bad = good;
    bad.registrants.push_back({HostId{}, 5});
    EXPECT_FALSE(is_consistent(bad));
    bad = good;
    for (std::uint8_t i = 10; bad.registrants.size() <= kMaxRegistrants; ++i) {
        bad.registrants.push_back({host(i), 1});
    }
    EXPECT_FALSE(is_consistent(bad));
    bad = {};
    bad.type = Type::WriteExclusiveAllRegistrants;
    EXPECT_FALSE(is_consistent(bad));
}

/// Every command of three hosts with every argument, from every state within three steps: what
/// send() and the state machine's own checks assert, and that a host's access never grows by what
/// another host's refused command asked for.
TEST_F(ReservationTest, AllSequences_ofThreeCommands_keepTheRules) {
    std::vector<ReservationCommand> commands;
    for (const std::uint64_t key : {kKeyA, kKeyB}) {
        commands.push_back(enroll(key));
        commands.push_back(unregister(key));
        commands.push_back(clear(key));
        for (const Type type : {Type::WriteExclusive, Type::ExclusiveAccessRegistrantsOnly,
                                Type::WriteExclusiveAllRegistrants}) {
            commands.push_back(acquire(key, type));
            commands.push_back(release(key, type));
            for (const std::uint64_t victim : {std::uint64_t{0}, kKeyA, kKeyB}) {
                commands.push_back(preempt(key, victim, type, Action::PreemptAndAbort));
            }
        }
    }
    std::vector<ReservationRecord> states{{}};
    for (int step = 0; step < 4; ++step) {
        std::vector<ReservationRecord> next;
        for (const ReservationRecord& from : states) {
            for (const HostId& who : {kA, kB}) {
                for (const ReservationCommand& command : commands) {
                    state_ = Reservation(from);
                    (void)send(who, command);
                    ReservationRecord reached = state_.record();
                    reached.generation = 0;
                    if (std::ranges::find(next, reached) == next.end()) {
                        next.push_back(std::move(reached));
                    }
                    for (const HostId& one : last_.aborted) {
                        EXPECT_FALSE(registered(one));
                    }
                }
            }
        }
        states = std::move(next);
    }
    EXPECT_GT(states.size(), 20U);
}

}  // namespace
}  // namespace remora::nvme::reservation_test
