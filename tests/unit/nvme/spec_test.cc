// SPDX-License-Identifier: Apache-2.0
// Golden bytes of commands and structures as a host sends and reads them.
#include <array>
#include <cstring>

#include <gtest/gtest.h>

#include "core/byte_reader.h"
#include "nvme/spec/command.h"
#include "nvme/spec/fabrics.h"
#include "nvme/spec/features.h"
#include "nvme/spec/identify.h"
#include "nvme/spec/log_page.h"

namespace remora::nvme::spec {
namespace {

template <typename T>
T from_bytes(const std::array<unsigned char, sizeof(T)>& bytes) {
    T out;
    std::memcpy(&out, bytes.data(), sizeof(T));
    return out;
}

TEST(Command_golden, write_of_8_blocks_with_fua) {
    const auto command = from_bytes<Command>({
        0x01, 0x40, 0x34, 0x12,                       // write, PSDT 01b, CID 1234h
        0x02, 0x00, 0x00, 0x00,                       // NSID 2
        0,    0,    0,    0,    0,    0,    0,    0,  // CDW2, CDW3
        0,    0,    0,    0,    0,    0,    0,    0,  // MPTR
        0,    0,    0,    0,    0,    0,    0,    0,
        0x00, 0x10, 0,    0,                             // SGL: offset 0, 4096 bytes
        0,    0,    0,    0x01,                          // in capsule
        0x78, 0x56, 0x34, 0x12, 0x01, 0x00, 0x00, 0x00,  // SLBA 112345678h
        0x07, 0x00, 0x00, 0x40,                          // NLB 7, FUA
        0,    0,    0,    0,    0,    0,    0,    0,
        0,    0,    0,    0,
    });
    EXPECT_EQ(static_cast<IoOpcode>(command.opcode), IoOpcode::Write);
    EXPECT_EQ(command.psdt(), 1);
    EXPECT_EQ(command.cid, 0x1234);
    EXPECT_EQ(command.nsid, 2U);
    EXPECT_EQ(command.sgl.length, 4096U);
    EXPECT_EQ(command.sgl.identifier, kSglInCapsule);
    EXPECT_EQ(starting_lba(command), 0x112345678U);
    EXPECT_EQ(block_count(command), 8U);
    EXPECT_NE(command.cdw12 & kCdw12ForceUnitAccess, 0U);
}

TEST(Command_golden, connect_to_io_queue_1) {
    const auto connect = from_bytes<ConnectCommand>({
        0x7f, 0x40, 0x05, 0x00, 0x01, 0,    0,    0,
        0,    0,    0,    0,    0,    0,    0,    0,  // fabrics, CID 5, Connect
        0,    0,    0,    0,    0,    0,    0,    0,
        0,    0,    0,    0,    0,    0,    0,    0,     // ..., SGL address
        0x00, 0x04, 0,    0,    0,    0,    0,    0x01,  // 1024 bytes in capsule
        0x00, 0x00, 0x01, 0x00, 0x7f, 0x00, 0x04, 0x00,  // RECFMT, QID 1, 127, CATTR
        0x88, 0x13, 0x00, 0x00, 0,    0,    0,    0,
        0,    0,    0,    0,    0,    0,    0,    0,  // KATO 5000
    });
    EXPECT_EQ(connect.fabrics_type, static_cast<std::uint8_t>(FabricsType::Connect));
    EXPECT_EQ(connect.sgl.length, 1024U);
    EXPECT_EQ(connect.qid, 1);
    EXPECT_EQ(connect.sqsize, 127);
    EXPECT_EQ(connect.attributes, kConnectDisableFlowControl);
    EXPECT_EQ(connect.keep_alive_ms, 5000U);
}

TEST(Completion_golden, status_lies_above_the_phase_bit) {
    Completion completion{};
    completion.cid = 7;
    completion.sqhd = 3;
    completion.set_status(status_field(StatusCode::LbaOutOfRange, true));
    const auto bytes = core::as_bytes_of(completion);
    EXPECT_EQ(bytes[8], std::byte{3});
    EXPECT_EQ(bytes[12], std::byte{7});
    EXPECT_EQ(bytes[14], std::byte{0x00});  // 4080h << 1 = 8100h
    EXPECT_EQ(bytes[15], std::byte{0x81});
    EXPECT_EQ(completion.status(), 0x4080);
}

TEST(Log_page, range_round_trips_through_the_dwords) {
    Command command{};
    set_log_page_range(command, LogPage::Discovery, 0x1'0000'0400, 0x50000);
    EXPECT_EQ(command.cdw10 & 0xffU, 0x70U);
    EXPECT_EQ(log_page_bytes(command), 0x50000U);
    EXPECT_EQ(log_page_offset(command), 0x1'0000'0400U);
}

TEST(Features, number_of_queues_is_zero_based_both_ways) {
    EXPECT_EQ(number_of_queues(4, 8), 0x00070003U);
}

TEST(Field_text, padding_is_added_and_removed) {
    char field[8];
    set_field_text(field, "abc", ' ');
    EXPECT_EQ(std::string_view(field, 8), "abc     ");
    EXPECT_EQ(field_text(field), "abc");
    set_field_text(field, "123456789", '\0');
    EXPECT_EQ(field_text(field), "12345678");
}

}  // namespace
}  // namespace remora::nvme::spec
