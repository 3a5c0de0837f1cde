// SPDX-License-Identifier: Apache-2.0
// What the tests of the reservation state machine share: hosts, commands, and what every command
// must keep to.
#pragma once

#include <algorithm>

#include <gtest/gtest.h>

#include "nvme/reservation.h"

namespace remora::nvme::reservation_test {

using spec::StatusCode;
using Action = ReservationCommand::Action;
using Type = ReservationType;
using Notice = spec::ReservationNotice;

constexpr std::uint64_t kKeyA = 0xa;
constexpr std::uint64_t kKeyB = 0xb;
constexpr std::uint64_t kKeyC = 0xc;

inline HostId host(std::uint8_t number) {
    HostId id{};
    id[15] = number;
    return id;
}
inline const HostId kA = host(1);
inline const HostId kB = host(2);
inline const HostId kC = host(3);

constexpr Type kTypes[] = {Type::WriteExclusive,
                           Type::ExclusiveAccess,
                           Type::WriteExclusiveRegistrantsOnly,
                           Type::ExclusiveAccessRegistrantsOnly,
                           Type::WriteExclusiveAllRegistrants,
                           Type::ExclusiveAccessAllRegistrants};

inline bool is_all(Type type) {
    return type == Type::WriteExclusiveAllRegistrants ||
           type == Type::ExclusiveAccessAllRegistrants;
}
inline bool is_only(Type type) {
    return type == Type::WriteExclusiveRegistrantsOnly ||
           type == Type::ExclusiveAccessRegistrantsOnly;
}

class ReservationTest : public testing::Test {
  public:
    std::uint16_t send(const HostId& from, ReservationCommand command) {
        const ReservationRecord before = state_.record();
        last_ = state_.apply(command, from);
        EXPECT_TRUE(is_consistent(state_.record()));
        if (last_.status != 0) {
            EXPECT_EQ(state_.record(), before) << "a refused command changed something";
            EXPECT_TRUE(last_.notices.empty());
        }
        for (const HostNotice& notice : last_.notices) {
            EXPECT_NE(notice.host, from) << "a host was told what it did itself";
        }
        return last_.status;
    }
    StatusCode code(const HostId& from, const ReservationCommand& command) {
        return spec::status_code(send(from, command));
    }

    static ReservationCommand enroll(std::uint64_t key) {
        return {.action = Action::Register, .other_key = key};
    }
    static ReservationCommand unregister(std::uint64_t key, bool ignore = false) {
        return {.action = Action::Unregister, .ignore_key = ignore, .key = key};
    }
    static ReservationCommand replace(std::uint64_t key, std::uint64_t next, bool ignore = false) {
        return {.action = Action::Replace, .ignore_key = ignore, .key = key, .other_key = next};
    }
    static ReservationCommand acquire(std::uint64_t key, Type type) {
        return {.action = Action::Acquire, .type = type, .key = key};
    }
    static ReservationCommand preempt(std::uint64_t key,
                                      std::uint64_t victim,
                                      Type type,
                                      Action action = Action::Preempt) {
        return {.action = action, .type = type, .key = key, .other_key = victim};
    }
    static ReservationCommand release(std::uint64_t key, Type type) {
        return {.action = Action::Release, .type = type, .key = key};
    }
    static ReservationCommand clear(std::uint64_t key) {
        return {.action = Action::Clear, .key = key};
    }

    /// A, B and C registered; A has it reserved unless `type` is None.
    void three(Type type) {
        state_ = {};
        ASSERT_EQ(send(kA, enroll(kKeyA)), 0);
        ASSERT_EQ(send(kB, enroll(kKeyB)), 0);
        ASSERT_EQ(send(kC, enroll(kKeyC)), 0);
        if (type != Type::None) {
            ASSERT_EQ(send(kA, acquire(kKeyA, type)), 0);
        }
    }
    [[nodiscard]] bool registered(const HostId& who) const {
        return std::ranges::count(state_.record().registrants, who, &Registrant::host) == 1;
    }
    [[nodiscard]] bool told(const HostId& who, Notice what) const {
        return std::ranges::count(last_.notices, HostNotice{who, what}) == 1;
    }

    Reservation state_;
    ReservationOutcome last_;
};

}  // namespace remora::nvme::reservation_test
