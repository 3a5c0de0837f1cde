// SPDX-License-Identifier: Apache-2.0
#include "virtio/status_map.h"

#include <utility>

#include <gtest/gtest.h>

namespace remora::virtio {
namespace {

using block::Status;

TEST(VirtioStatusMap, EveryStatus_hasItsByte) {
    const std::pair<Status, BlkStatus> table[] = {
        {Status::Ok, BlkStatus::Ok},
        {Status::IoError, BlkStatus::IoError},
        {Status::OutOfRange, BlkStatus::IoError},
        {Status::InvalidRequest, BlkStatus::IoError},
        {Status::Unsupported, BlkStatus::Unsupported},
        {Status::ReadOnly, BlkStatus::IoError},
        {Status::NoSpace, BlkStatus::IoError},
        {Status::PathError, BlkStatus::IoError},
        {Status::Aborted, BlkStatus::IoError},
        {Status::NoResources, BlkStatus::IoError},
        {Status::DataCorrupt, BlkStatus::IoError},
    };
    for (const auto& [status, expected] : table) {
        EXPECT_EQ(to_blk_status(status), expected) << block::to_string(status);
    }
}

}  // namespace
}  // namespace remora::virtio
