// SPDX-License-Identifier: Apache-2.0
// The reservation state machine against the specification: preempting, releasing, clearing.
#include <algorithm>

#include "tests/unit/nvme/reservation_fixture.h"

namespace remora::nvme::reservation_test {
namespace {

// --- Preempt ---

TEST_F(ReservationTest, Preempt_ofTheHolder_takesTheReservation) {
    for (const Type type : kTypes) {
        for (const Type asked : kTypes) {
            if (is_all(type)) {
                continue;
            }
            SCOPED_TRACE(static_cast<int>(type) * 10 + static_cast<int>(asked));
            three(type);
            EXPECT_EQ(send(kB, preempt(kKeyB, kKeyA, asked)), 0);
            EXPECT_FALSE(registered(kA));
            EXPECT_TRUE(registered(kC));
            EXPECT_TRUE(state_.holds(kB));
            EXPECT_EQ(state_.record().type, asked);
            EXPECT_TRUE(told(kA, Notice::RegistrationPreempted));
            EXPECT_EQ(told(kC, Notice::ReservationReleased), asked != type);
            EXPECT_EQ(last_.notices.size(), asked != type ? 2U : 1U);
            EXPECT_TRUE(last_.aborted.empty());
        }
    }
}

TEST_F(ReservationTest, PreemptAndAbort_namesTheHostsWhoseCommandsEnd) {
    three(Type::WriteExclusive);
    EXPECT_EQ(send(kB, preempt(kKeyB, kKeyA, Type::WriteExclusive, Action::PreemptAndAbort)), 0);
    EXPECT_EQ(last_.aborted, std::vector<HostId>{kA});
}

TEST_F(ReservationTest, Preempt_ofAKeyThatHasNotTheReservation_unregistersOnly) {
    for (const Type type : kTypes) {
        SCOPED_TRACE(static_cast<int>(type));
        three(type);
        EXPECT_EQ(send(kB, preempt(kKeyB, kKeyC, Type::ExclusiveAccess)), 0);
        EXPECT_FALSE(registered(kC));
        EXPECT_TRUE(registered(kA));
        EXPECT_EQ(state_.record().type, type);
        EXPECT_TRUE(state_.holds(kA));
        EXPECT_TRUE(told(kC, Notice::RegistrationPreempted));
        EXPECT_EQ(last_.notices.size(), 1U);
    }
}

TEST_F(ReservationTest, Preempt_withoutAReservation_unregistersOnly) {
    three(Type::None);
    EXPECT_EQ(send(kB, preempt(kKeyB, kKeyA, Type::ExclusiveAccess)), 0);
    EXPECT_FALSE(registered(kA));
    EXPECT_EQ(state_.record().type, Type::None);
}

TEST_F(ReservationTest, Preempt_ofAKeyThatNobodyHas_conflicts) {
    for (const Type type : {Type::None, Type::WriteExclusive, Type::WriteExclusiveAllRegistrants}) {
        three(type);
        EXPECT_EQ(code(kB, preempt(kKeyB, 0x99, Type::WriteExclusive)),
                  StatusCode::ReservationConflict);
    }
}

TEST_F(ReservationTest, Preempt_withKeyZero_isForAllRegistrantsTypesOnly) {
    for (const Type type : kTypes) {
        SCOPED_TRACE(static_cast<int>(type));
        three(type);
        const auto command = preempt(kKeyB, 0, Type::ExclusiveAccess);
        if (!is_all(type)) {
            EXPECT_EQ(code(kB, command), StatusCode::InvalidField);
            continue;
        }
        EXPECT_EQ(send(kB, command), 0);
        EXPECT_EQ(state_.record().registrants.size(), 1U);
        EXPECT_EQ(state_.record().type, Type::ExclusiveAccess);
        EXPECT_TRUE(state_.holds(kB));
        EXPECT_TRUE(told(kA, Notice::RegistrationPreempted));
        EXPECT_TRUE(told(kC, Notice::RegistrationPreempted));
        EXPECT_EQ(last_.notices.size(), 2U);
    }
    three(Type::None);
    EXPECT_EQ(code(kB, preempt(kKeyB, 0, Type::ExclusiveAccess)), StatusCode::InvalidField);
}

TEST_F(ReservationTest, Preempt_byTheHolderOfItself_changesTheTypeAndKeepsItRegistered) {
    three(Type::WriteExclusive);
    EXPECT_EQ(send(kA, preempt(kKeyA, kKeyA, Type::ExclusiveAccess)), 0);
    EXPECT_TRUE(registered(kA));
    EXPECT_TRUE(state_.holds(kA));
    EXPECT_EQ(state_.record().type, Type::ExclusiveAccess);
    EXPECT_TRUE(told(kB, Notice::ReservationReleased));
    EXPECT_TRUE(told(kC, Notice::ReservationReleased));
}

TEST_F(ReservationTest, Preempt_ofSeveralWithOneKey_takesAllOfThem) {
    EXPECT_EQ(send(kA, enroll(kKeyA)), 0);
    EXPECT_EQ(send(kB, enroll(kKeyA)), 0);
    EXPECT_EQ(send(kC, enroll(kKeyC)), 0);
    EXPECT_EQ(send(kA, acquire(kKeyA, Type::WriteExclusive)), 0);
    EXPECT_EQ(send(kC, preempt(kKeyC, kKeyA, Type::WriteExclusive, Action::PreemptAndAbort)), 0);
    EXPECT_EQ(state_.record().registrants, (std::vector<Registrant>{{kC, kKeyC}}));
    EXPECT_EQ(last_.aborted, (std::vector<HostId>{kA, kB}));
}

TEST_F(ReservationTest, Preempt_withTheHoldersKeyBeingTheOwnToo_takesItAndStays) {
    EXPECT_EQ(send(kA, enroll(kKeyA)), 0);
    EXPECT_EQ(send(kB, enroll(kKeyA)), 0);
    EXPECT_EQ(send(kA, acquire(kKeyA, Type::WriteExclusive)), 0);
    EXPECT_EQ(send(kB, preempt(kKeyA, kKeyA, Type::WriteExclusive)), 0);
    EXPECT_TRUE(state_.holds(kB));
    EXPECT_FALSE(registered(kA));
}

TEST_F(ReservationTest, Preempt_ofTheOwnKeyByANonHolder_unregistersItself) {
    three(Type::WriteExclusive);
    EXPECT_EQ(send(kB, preempt(kKeyB, kKeyB, Type::WriteExclusive)), 0);
    EXPECT_FALSE(registered(kB));
    EXPECT_TRUE(last_.notices.empty());
    EXPECT_TRUE(state_.holds(kA));
}

TEST_F(ReservationTest, Preempt_ofTheLastOfAllRegistrants_releases) {
    EXPECT_EQ(send(kA, enroll(kKeyA)), 0);
    EXPECT_EQ(send(kA, acquire(kKeyA, Type::WriteExclusiveAllRegistrants)), 0);
    EXPECT_EQ(send(kA, preempt(kKeyA, kKeyA, Type::WriteExclusive)), 0);
    EXPECT_EQ(state_.record().type, Type::None);
}

// --- Release ---

TEST_F(ReservationTest, Release_byTheHolder_tellsWhereOthersDependedOnIt) {
    for (const Type type : kTypes) {
        SCOPED_TRACE(static_cast<int>(type));
        three(type);
        EXPECT_EQ(send(kA, release(kKeyA, type)), 0);
        EXPECT_EQ(state_.record().type, Type::None);
        EXPECT_EQ(state_.record().registrants.size(), 3U);
        const bool tells = is_only(type) || is_all(type);
        EXPECT_EQ(last_.notices.size(), tells ? 2U : 0U);
        EXPECT_EQ(told(kB, Notice::ReservationReleased), tells);
    }
}

TEST_F(ReservationTest, Release_byAnother_hasNoEffect_orReleasesForAll) {
    for (const Type type : kTypes) {
        SCOPED_TRACE(static_cast<int>(type));
        three(type);
        EXPECT_EQ(send(kB, release(kKeyB, type)), 0);
        EXPECT_EQ(state_.record().type, is_all(type) ? Type::None : type);
    }
}

TEST_F(ReservationTest, Release_ofAnotherType_isAnInvalidField) {
    three(Type::WriteExclusive);
    EXPECT_EQ(code(kA, release(kKeyA, Type::ExclusiveAccess)), StatusCode::InvalidField);
}

TEST_F(ReservationTest, Release_needsRegistrationAndKey_andNothingToRelease) {
    three(Type::None);
    EXPECT_EQ(code(host(9), release(kKeyA, Type::WriteExclusive)), StatusCode::ReservationConflict);
    EXPECT_EQ(code(kA, release(kKeyB, Type::WriteExclusive)), StatusCode::ReservationConflict);
    EXPECT_EQ(send(kA, release(kKeyA, Type::WriteExclusive)), 0);
}

TEST_F(ReservationTest, Clear_byAnyRegistrant_removesAllAndTellsThem) {
    three(Type::ExclusiveAccess);
    EXPECT_EQ(code(host(9), clear(kKeyA)), StatusCode::ReservationConflict);
    EXPECT_EQ(code(kB, clear(kKeyA)), StatusCode::ReservationConflict);
    EXPECT_EQ(send(kB, clear(kKeyB)), 0);
    EXPECT_TRUE(state_.record().registrants.empty());
    EXPECT_EQ(state_.record().type, Type::None);
    EXPECT_TRUE(told(kA, Notice::ReservationPreempted));
    EXPECT_TRUE(told(kC, Notice::ReservationPreempted));
    EXPECT_EQ(last_.notices.size(), 2U);
}

}  // namespace
}  // namespace remora::nvme::reservation_test
