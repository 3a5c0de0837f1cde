// SPDX-License-Identifier: Apache-2.0
// Reservation commands as bytes, the report, and a controller's notification log and features.
#include <cstring>
#include <memory>

#include <gtest/gtest.h>

#include "core/byte_reader.h"
#include "nvme/commands.h"
#include "nvme/reservation.h"
#include "nvme/reservation_log.h"
#include "tests/support/planned_io.h"

namespace remora::nvme {
namespace {

using spec::IoOpcode;
using spec::StatusCode;
using Action = ReservationCommand::Action;

spec::Command command_of(IoOpcode opcode, std::uint32_t cdw10, std::uint32_t cdw11 = 0) {
    spec::Command command{};
    command.opcode = static_cast<std::uint8_t>(opcode);
    command.nsid = 1;
    command.cdw10 = cdw10;
    command.cdw11 = cdw11;
    return command;
}

std::expected<ReservationCommand, std::uint16_t> decode(IoOpcode opcode, std::uint32_t cdw10) {
    const spec::ReservationRegisterData keys{0x1122334455667788U, 0x99U};
    return decode_reservation(command_of(opcode, cdw10), core::as_bytes_of(keys));
}

StatusCode refusal(IoOpcode opcode, std::uint32_t cdw10) {
    const auto decoded = decode(opcode, cdw10);
    return decoded ? StatusCode::Success : spec::status_code(decoded.error());
}

TEST(ReservationWire, Register_isDecoded) {
    const auto decoded = decode(IoOpcode::ReservationRegister, 2U | (1U << 3U) | (3U << 30U));
    ASSERT_TRUE(decoded.has_value());
    EXPECT_EQ(decoded->action, Action::Replace);
    EXPECT_TRUE(decoded->ignore_key);
    EXPECT_EQ(decoded->key, 0x1122334455667788U);
    EXPECT_EQ(decoded->other_key, 0x99U);
    EXPECT_EQ(decoded->persist, true);
    EXPECT_EQ(decode(IoOpcode::ReservationRegister, 2U << 30U)->persist, false);
    EXPECT_EQ(decode(IoOpcode::ReservationRegister, 0)->persist, std::nullopt);
}

TEST(ReservationWire, Register_withReservedValues_isRefused) {
    for (std::uint32_t action = 3; action < 8; ++action) {
        EXPECT_EQ(refusal(IoOpcode::ReservationRegister, action), StatusCode::InvalidField);
    }
    EXPECT_EQ(refusal(IoOpcode::ReservationRegister, 1U << 30U), StatusCode::InvalidField);
}

TEST(ReservationWire, Register_ofKeyZero_isRefused_unregisterIsNot) {
    const spec::ReservationRegisterData keys{0x5U, 0U};
    for (const std::uint32_t action : {0U, 2U}) {
        EXPECT_FALSE(decode_reservation(command_of(IoOpcode::ReservationRegister, action),
                                        core::as_bytes_of(keys)));
    }
    EXPECT_TRUE(
        decode_reservation(command_of(IoOpcode::ReservationRegister, 1), core::as_bytes_of(keys)));
}

TEST(ReservationWire, Acquire_isDecoded_andItsLimitsChecked) {
    const auto decoded = decode(IoOpcode::ReservationAcquire, 2U | (4U << 8U));
    ASSERT_TRUE(decoded.has_value());
    EXPECT_EQ(decoded->action, Action::PreemptAndAbort);
    EXPECT_EQ(decoded->type, ReservationType::ExclusiveAccessRegistrantsOnly);
    EXPECT_EQ(decoded->other_key, 0x99U);
    for (std::uint32_t action = 3; action < 8; ++action) {
        EXPECT_EQ(refusal(IoOpcode::ReservationAcquire, action | (1U << 8U)),
                  StatusCode::InvalidField);
    }
    for (const std::uint32_t type : {0U, 7U, 8U, 255U}) {
        EXPECT_EQ(refusal(IoOpcode::ReservationAcquire, type << 8U), StatusCode::InvalidField);
    }
    EXPECT_EQ(refusal(IoOpcode::ReservationAcquire, (1U << 8U) | (1U << 3U)),
              StatusCode::InvalidField);
}

TEST(ReservationWire, Release_isDecoded_andItsLimitsChecked) {
    const auto decoded = decode(IoOpcode::ReservationRelease, 2U << 8U);
    ASSERT_TRUE(decoded.has_value());
    EXPECT_EQ(decoded->action, Action::Release);
    EXPECT_EQ(decoded->type, ReservationType::ExclusiveAccess);
    EXPECT_EQ(decode(IoOpcode::ReservationRelease, 1)->action, Action::Clear);
    for (std::uint32_t action = 2; action < 8; ++action) {
        EXPECT_EQ(refusal(IoOpcode::ReservationRelease, action | (1U << 8U)),
                  StatusCode::InvalidField);
    }
    EXPECT_EQ(refusal(IoOpcode::ReservationRelease, 0), StatusCode::InvalidField);
    EXPECT_EQ(refusal(IoOpcode::ReservationRelease, 1U | (1U << 3U)), StatusCode::InvalidField);
}

TEST(ReservationWire, Plan_saysHowMuchDataThereIs) {
    Namespace target;
    target.nsid = 1;
    target.geometry.block_count = 100;
    const auto bytes = [&target](const spec::Command& command) {
        const auto plan = test::planned_io(command, target, 4096);
        EXPECT_TRUE(plan.has_value());
        EXPECT_EQ(plan->action, nvme::Action::Reservation);
        return plan->bytes;
    };
    EXPECT_EQ(bytes(command_of(IoOpcode::ReservationRegister, 0)), 16U);
    EXPECT_EQ(bytes(command_of(IoOpcode::ReservationAcquire, 0)), 16U);
    spec::Command release = command_of(IoOpcode::ReservationRelease, 0);
    EXPECT_EQ(bytes(release), 8U);
    release.sgl.length = 16U;  // as Linux sends it
    EXPECT_EQ(bytes(release), 16U);
    release.sgl.length = 17U;
    EXPECT_EQ(bytes(release), 8U);
    EXPECT_EQ(bytes(command_of(IoOpcode::ReservationReport, 1023, 1)), 4096U);
    const auto refused = [&target](const spec::Command& command) {
        const auto plan = test::planned_io(command, target, 4096);
        return plan ? StatusCode::Success : spec::status_code(plan.error());
    };
    EXPECT_EQ(refused(command_of(IoOpcode::ReservationReport, 1024, 1)), StatusCode::InvalidField);
    EXPECT_EQ(refused(command_of(IoOpcode::ReservationReport, 0xffffffffU, 1)),
              StatusCode::InvalidField);
    EXPECT_EQ(refused(command_of(IoOpcode::ReservationReport, 1023, 0)),
              StatusCode::HostIdInconsistent);
}

TEST(ReservationWire, Report_hasAnEntryForEachControllerOfARegistrant) {
    HostId one{};
    one[0] = 1;
    HostId two{};
    two[0] = 2;
    HostId stranger{};
    stranger[0] = 3;
    const Reservation state({.persist = true,
                             .generation = 0x01020304,
                             .type = ReservationType::ExclusiveAccess,
                             .holder = one,
                             .registrants = {{one, 0xaa}, {two, 0xbb}}});
    const HostController controllers[] = {{one, 5}, {stranger, 6}, {one, 7}};
    const auto bytes = reservation_report(state, controllers);
    ASSERT_EQ(bytes.size(), 64U + 3 * 64U);
    const auto at = [&bytes](std::size_t offset) { return static_cast<unsigned>(bytes[offset]); };
    EXPECT_EQ(at(0), 4U);  // generation, little endian
    EXPECT_EQ(at(3), 1U);
    EXPECT_EQ(at(4), 2U);  // the type
    EXPECT_EQ(at(5), 3U);  // controllers
    EXPECT_EQ(at(9), 1U);  // persists
    EXPECT_EQ(at(64), 5U);
    EXPECT_EQ(at(64 + 2), 1U);  // holds it
    EXPECT_EQ(at(64 + 8), 0xaaU);
    EXPECT_EQ(at(64 + 16), 1U);
    EXPECT_EQ(at(128), 7U);
    EXPECT_EQ(at(192), 0xffU);  // no controller
    EXPECT_EQ(at(193), 0xffU);
    EXPECT_EQ(at(192 + 2), 0U);
    EXPECT_EQ(at(192 + 8), 0xbbU);
    EXPECT_EQ(at(192 + 16), 2U);
}

TEST(ReservationLog, Pages_comeInOrder_andTheOldestIsLost) {
    ReservationLog log;
    EXPECT_EQ(log.front().count, 0U);
    for (std::uint32_t i = 0; i < ReservationLog::kMaxPages + 3; ++i) {
        EXPECT_TRUE(log.add(i + 1, spec::ReservationNotice::ReservationReleased));
    }
    EXPECT_EQ(log.front().count, 4U);  // a gap after none that was read: three are lost
    EXPECT_EQ(log.front().nsid, 4U);
    EXPECT_EQ(log.front().available, ReservationLog::kMaxPages - 1);
    EXPECT_EQ(log.front().type, 2);
    std::size_t read = 0;
    for (; !log.empty(); log.pop()) {
        EXPECT_EQ(log.front().nsid, 4 + read);
        ++read;
    }
    EXPECT_EQ(read, ReservationLog::kMaxPages);
    log.pop();
    EXPECT_EQ(log.front().type, 0);
}

TEST(ReservationLog, Masks_areOfOneKindAndOneNamespace) {
    ReservationLog log;
    log.set_mask(1, 1U << 2U);
    EXPECT_FALSE(log.add(1, spec::ReservationNotice::ReservationReleased));
    EXPECT_TRUE(log.add(1, spec::ReservationNotice::ReservationPreempted));
    EXPECT_TRUE(log.add(2, spec::ReservationNotice::ReservationReleased));
    EXPECT_EQ(log.front().count, 1U);
    log.set_mask(1, 0xffffffffU);
    EXPECT_EQ(log.mask(1), 0xeU);
    log.forget(1);
    EXPECT_EQ(log.mask(1), 0U);
}

}  // namespace
}  // namespace remora::nvme
