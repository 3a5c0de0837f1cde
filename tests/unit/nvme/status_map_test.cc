// SPDX-License-Identifier: Apache-2.0
#include "nvme/status_map.h"

#include <array>

#include <gtest/gtest.h>

#include "nvme/spec/status.h"

namespace remora::nvme {
namespace {

using block::Status;
using spec::StatusCode;

struct Row {
    Status block;
    std::uint16_t on_read;
    std::uint16_t on_write;
};

// Every block::Status, with the status field of a failed read and write.
constexpr std::array kTable{
    Row{Status::Ok, 0x0000, 0x0000},          Row{Status::IoError, 0x0281, 0x0280},
    Row{Status::OutOfRange, 0x4080, 0x4080},  Row{Status::InvalidRequest, 0x4002, 0x4002},
    Row{Status::Unsupported, 0x4001, 0x4001}, Row{Status::ReadOnly, 0x4020, 0x4020},
    Row{Status::NoSpace, 0x0081, 0x0081},     Row{Status::PathError, 0x0300, 0x0300},
    Row{Status::Aborted, 0x0007, 0x0007},     Row{Status::NoResources, 0x0082, 0x0082},
    Row{Status::DataCorrupt, 0x0282, 0x0282},
};

TEST(Status_map, every_block_status_has_its_nvme_status_and_comes_back) {
    for (const Row& row : kTable) {
        EXPECT_EQ(to_nvme(row.block, false), row.on_read);
        EXPECT_EQ(to_nvme(row.block, true), row.on_write);
        EXPECT_EQ(from_nvme(row.on_read), row.block);
        EXPECT_EQ(from_nvme(row.on_write), row.block);
    }
}

TEST(Status_map, unknown_nvme_status_is_an_io_error) {
    EXPECT_EQ(from_nvme(0x07ff), Status::IoError);
    EXPECT_EQ(from_nvme(0x4055), Status::IoError);
}

TEST(Status_map, status_of_a_remote_controller_comes_through_unchanged) {
    block::Request request;
    request.status = Status::IoError;
    request.nvme_status = spec::status_field(StatusCode::CompareFailure, true);
    EXPECT_EQ(to_nvme(request), 0x4285);
    request.status = Status::Ok;
    EXPECT_EQ(to_nvme(request), 0);
}

}  // namespace
}  // namespace remora::nvme
