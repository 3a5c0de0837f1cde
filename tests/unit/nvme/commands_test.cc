// SPDX-License-Identifier: Apache-2.0
// I/O commands become block requests, or the status that says why not.
#include "nvme/commands.h"

#include <array>

#include <gtest/gtest.h>

#include "core/byte_reader.h"
#include "core/prng.h"
#include "nvme/spec/status.h"
#include "tests/support/planned_io.h"

namespace remora::nvme {
namespace {

using spec::StatusCode;

constexpr std::uint32_t kMaxBytes = 262144;

Namespace make_namespace() {
    Namespace made;
    made.nsid = 1;
    made.geometry = {.block_size = 4096,
                     .block_count = 1000,
                     .can_discard = true,
                     .can_write_zeroes = true,
                     .volatile_cache = true};
    return made;
}

spec::Command make_io(spec::IoOpcode opcode, std::uint64_t lba, std::uint32_t blocks) {
    spec::Command command{};
    command.opcode = static_cast<std::uint8_t>(opcode);
    command.flags = spec::kFlagsSgl;
    command.nsid = 1U;
    command.cdw10 = static_cast<std::uint32_t>(lba & 0xffffffffU);
    command.cdw11 = static_cast<std::uint32_t>(lba >> 32U);
    command.cdw12 = blocks - 1;
    return command;
}

void expect_refused(const std::expected<IoPlan, std::uint16_t>& plan, StatusCode code) {
    ASSERT_FALSE(plan.has_value());
    EXPECT_EQ(plan.error(), spec::status_field(code, true));
}

TEST(Decode_io, read_becomes_a_read_of_its_range) {
    const auto plan =
        test::planned_io(make_io(spec::IoOpcode::Read, 900, 10), make_namespace(), kMaxBytes);
    ASSERT_TRUE(plan.has_value());
    EXPECT_EQ(plan->opcode, block::Opcode::Read);
    EXPECT_EQ(plan->lba, 900U);
    EXPECT_EQ(plan->blocks, 10U);
    EXPECT_EQ(plan->bytes, 40960U);
    EXPECT_EQ(plan->transfer, Transfer::ToHost);
}

TEST(Decode_io, write_with_fua_keeps_it) {
    spec::Command command = make_io(spec::IoOpcode::Write, 0, 1);
    command.cdw12 = command.cdw12 | spec::kCdw12ForceUnitAccess;
    const auto plan = test::planned_io(command, make_namespace(), kMaxBytes);
    ASSERT_TRUE(plan.has_value());
    EXPECT_TRUE(plan->force_unit_access);
    EXPECT_EQ(plan->transfer, Transfer::FromHost);
}

TEST(Decode_io, last_block_is_inside_and_the_next_is_not) {
    const Namespace target = make_namespace();
    EXPECT_TRUE(
        test::planned_io(make_io(spec::IoOpcode::Read, 999, 1), target, kMaxBytes).has_value());
    expect_refused(test::planned_io(make_io(spec::IoOpcode::Read, 999, 2), target, kMaxBytes),
                   StatusCode::LbaOutOfRange);
    expect_refused(test::planned_io(make_io(spec::IoOpcode::Read, 1000, 1), target, kMaxBytes),
                   StatusCode::LbaOutOfRange);
    expect_refused(test::planned_io(make_io(spec::IoOpcode::Read, ~0ULL, 16), target, kMaxBytes),
                   StatusCode::LbaOutOfRange);
}

TEST(Decode_io, transfer_up_to_mdts_and_no_further) {
    const Namespace target = make_namespace();
    EXPECT_TRUE(
        test::planned_io(make_io(spec::IoOpcode::Write, 0, 64), target, kMaxBytes).has_value());
    expect_refused(test::planned_io(make_io(spec::IoOpcode::Write, 0, 65), target, kMaxBytes),
                   StatusCode::InvalidField);
}

TEST(Decode_io, write_zeroes_has_no_data_and_no_mdts) {
    const auto plan = test::planned_io(make_io(spec::IoOpcode::WriteZeroes, 0, 1000),
                                       make_namespace(), kMaxBytes);
    ASSERT_TRUE(plan.has_value());
    EXPECT_EQ(plan->transfer, Transfer::None);
    EXPECT_EQ(plan->bytes, 0U);
}

TEST(Decode_io, what_the_volume_cannot_is_refused) {
    Namespace target = make_namespace();
    target.geometry.can_write_zeroes = false;
    expect_refused(test::planned_io(make_io(spec::IoOpcode::WriteZeroes, 0, 1), target, kMaxBytes),
                   StatusCode::InvalidOpcode);
    target.geometry.read_only = true;
    expect_refused(test::planned_io(make_io(spec::IoOpcode::Write, 0, 1), target, kMaxBytes),
                   StatusCode::NamespaceWriteProtected);
    spec::Command discard = make_io(spec::IoOpcode::DatasetManagement, 0, 1);
    discard.cdw11 = spec::kDsmDeallocate;
    expect_refused(test::planned_io(discard, target, kMaxBytes),
                   StatusCode::NamespaceWriteProtected);
}

TEST(Decode_io, write_uncorrectable_names_any_blocks_of_the_volume_and_moves_none) {
    Namespace target = make_namespace();
    const auto plan =
        test::planned_io(make_io(spec::IoOpcode::WriteUncorrectable, 0, 1000), target, 4096);
    ASSERT_TRUE(plan.has_value());
    EXPECT_EQ(plan->action, Action::Mark);
    EXPECT_EQ(group_of(*plan), CommandGroup::Write);
    EXPECT_EQ(plan->transfer, Transfer::None);
    EXPECT_EQ(plan->bytes, 0U);
    EXPECT_EQ(plan->lba, 0U);
    EXPECT_EQ(plan->blocks, 1000U);
    expect_refused(
        test::planned_io(make_io(spec::IoOpcode::WriteUncorrectable, 1, 1000), target, 4096),
        StatusCode::LbaOutOfRange);
    target.geometry.read_only = true;
    expect_refused(
        test::planned_io(make_io(spec::IoOpcode::WriteUncorrectable, 0, 1), target, 4096),
        StatusCode::NamespaceWriteProtected);
}

TEST(Decode_io, fused_is_compare_then_write_and_nothing_else) {
    const Namespace target = make_namespace();
    for (unsigned fuse = 0; fuse < 4; ++fuse) {
        for (unsigned opcode = 0; opcode < 256; ++opcode) {
            spec::Command command = make_io(static_cast<spec::IoOpcode>(opcode), 7, 2);
            command.flags = static_cast<std::uint8_t>(spec::kFlagsSgl | fuse);
            command.cdw12 = command.cdw12 | spec::kCdw12ForceUnitAccess;
            const auto plan = test::planned_io(command, target, kMaxBytes);
            const bool compare = fuse == 1 && opcode == 0x05;
            const bool write = fuse == 2 && opcode == 0x01;
            if (compare || write) {
                ASSERT_TRUE(plan.has_value());
                EXPECT_EQ(plan->action, Action::Fused);
                EXPECT_EQ(group_of(*plan), write ? CommandGroup::Write : CommandGroup::Read);
                EXPECT_EQ(plan->force_unit_access, write);
                EXPECT_EQ(plan->lba, 7U);
                EXPECT_EQ(plan->bytes, 8192U);
            } else if (fuse != 0) {
                expect_refused(plan, StatusCode::InvalidField);
            }
        }
    }
}

TEST(Decode_io, discard_takes_a_buffer_for_all_ranges_as_linux_sends_it) {
    spec::Command command = make_io(spec::IoOpcode::DatasetManagement, 0, 1);
    command.cdw10 = 2U;  // three ranges
    command.sgl.length = 48U;
    auto plan = test::planned_io(command, make_namespace(), kMaxBytes);
    ASSERT_TRUE(plan.has_value());
    EXPECT_EQ(plan->bytes, 48U);
    command.sgl.length = 4096U;
    plan = test::planned_io(command, make_namespace(), kMaxBytes);
    ASSERT_TRUE(plan.has_value());
    EXPECT_EQ(plan->bytes, 4096U);
    EXPECT_EQ(plan->range_bytes, 48U);
    command.sgl.length = 32U;  // too few: the SGL check refuses it
    plan = test::planned_io(command, make_namespace(), kMaxBytes);
    ASSERT_TRUE(plan.has_value());
    EXPECT_EQ(plan->bytes, 48U);
}

TEST(Decode_io, any_command_is_inside_the_volume_or_refused) {
    const Namespace target = make_namespace();
    core::Prng prng(3);
    for (int i = 0; i < 100000; ++i) {
        spec::Command command = make_io(static_cast<spec::IoOpcode>(prng.below(26)),
                                        prng.below(4) == 0 ? prng.next() : prng.below(1100),
                                        1 + static_cast<std::uint32_t>(prng.below(65536)));
        const auto plan = test::planned_io(command, target, kMaxBytes);
        if (plan.has_value() && plan->action == nvme::Action::Reservation) {
            ASSERT_LE(plan->bytes, kMaxBytes);
            continue;
        }
        if (plan.has_value() && plan->range_bytes == 0 && plan->opcode != block::Opcode::Flush) {
            ASSERT_GT(plan->blocks, 0U);
            ASSERT_LE(plan->lba, 1000U);
            ASSERT_LE(plan->blocks, 1000U - plan->lba);
            ASSERT_LE(plan->bytes, kMaxBytes);
        }
    }
}

TEST(Decode_sgl, in_capsule_and_transport_are_told_apart) {
    spec::Command command = make_io(spec::IoOpcode::Write, 0, 1);
    command.sgl.length = 4096U;
    command.sgl.identifier = spec::kSglInCapsule;
    EXPECT_EQ(decode_sgl(command, Transfer::FromHost, 4096, 4096), DataPath::InCapsule);
    command.sgl.identifier = spec::kSglTransport;
    EXPECT_EQ(decode_sgl(command, Transfer::FromHost, 4096, 0), DataPath::Transport);
    EXPECT_EQ(decode_sgl(command, Transfer::None, 0, 0), DataPath::None);
}

TEST(Decode_sgl, capsule_data_must_be_what_the_command_says) {
    spec::Command command = make_io(spec::IoOpcode::Write, 0, 1);
    command.sgl.length = 4096U;
    command.sgl.identifier = spec::kSglInCapsule;
    const auto length = spec::status_field(StatusCode::DataSglLengthInvalid, true);
    const auto field = spec::status_field(StatusCode::InvalidField, true);
    EXPECT_EQ(decode_sgl(command, Transfer::FromHost, 4096, 4095).error(), length);
    EXPECT_EQ(decode_sgl(command, Transfer::FromHost, 8192, 8192).error(), length);
    EXPECT_EQ(decode_sgl(command, Transfer::None, 0, 4).error(), field);
    command.sgl.identifier = spec::kSglTransport;
    EXPECT_EQ(decode_sgl(command, Transfer::FromHost, 4096, 4096).error(), field);
}

TEST(Next_range, empty_ranges_are_passed_over_and_bad_ones_refused) {
    std::array<spec::DsmRange, 4> ranges{};
    ranges[1].lba = 10U;
    ranges[1].block_count = 5U;
    ranges[3].lba = 999U;
    ranges[3].block_count = 2U;
    const auto bytes = core::as_bytes_of(ranges);
    const block::Geometry geometry = make_namespace().geometry;
    std::size_t index = 0;
    std::uint64_t lba = 0;
    std::uint32_t blocks = 0;
    EXPECT_EQ(next_range(bytes, index, geometry, lba, blocks), true);
    EXPECT_EQ(lba, 10U);
    EXPECT_EQ(blocks, 5U);
    EXPECT_EQ(next_range(bytes, index, geometry, lba, blocks).error(),
              spec::status_field(StatusCode::LbaOutOfRange, true));
    EXPECT_EQ(next_range(bytes, index, geometry, lba, blocks), false);
}

}  // namespace
}  // namespace remora::nvme
