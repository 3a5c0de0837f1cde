// SPDX-License-Identifier: Apache-2.0
// Errors of the device below: each becomes the status of the request that met it, and none makes a
// block look damaged.
#include <algorithm>

#include <gtest/gtest.h>

#include "tests/unit/integrity/integrity_fixture.h"

namespace remora::services::integrity {
namespace {

using block::Opcode;
using block::Status;
using test::pattern;

class IntegrityErrorsTest : public IntegrityFixture {
  public:
    [[nodiscard]] std::size_t seen(Opcode opcode) const {
        return static_cast<std::size_t>(
            std::ranges::count(disk->seen, opcode, &CrashDisk::Seen::opcode));
    }
};

TEST_F(IntegrityErrorsTest, Read_failsBelow_saysSo) {
    create();
    EXPECT_EQ(write(5, pattern(4 * kBlock, 1)), Status::Ok);
    for (const Status status : {Status::IoError, Status::PathError, Status::Aborted}) {
        disk->bad_block = {below(6), status};
        EXPECT_EQ(read_and_compare(5, Bytes(4 * kBlock)), status);
    }
    EXPECT_EQ(device->status().mismatches, 0U);
}

TEST_F(IntegrityErrorsTest, Write_failsBelow_saysSoAndEitherIsThere) {
    create();
    const Bytes old_data = pattern(4 * kBlock, 1);
    const Bytes new_data = pattern(4 * kBlock, 2);
    EXPECT_EQ(write(5, old_data, true), Status::Ok);
    disk->bad_block = {below(6), Status::NoSpace};
    EXPECT_EQ(write(5, new_data), Status::NoSpace);
    disk->bad_block.reset();
    EXPECT_EQ(read_and_compare(5, old_data), Status::Ok);
    EXPECT_EQ(write(5, new_data), Status::Ok);
    EXPECT_EQ(read_and_compare(5, new_data), Status::Ok);
    EXPECT_EQ(pool->in_use(), 0U);
}

TEST_F(IntegrityErrorsTest, Write_pageFails_saysSoAndTheOldIsThere) {
    create();
    const Bytes old_data = pattern(4 * kBlock, 1);
    EXPECT_EQ(write(5, old_data, true), Status::Ok);
    disk->seen.clear();
    disk->bad_block = {layout.page_block(0), Status::IoError};
    EXPECT_EQ(write(5, pattern(4 * kBlock, 2)), Status::IoError);
    EXPECT_EQ(seen(Opcode::Write), 1U);  // the data was not
    disk->bad_block.reset();
    EXPECT_EQ(read_and_compare(5, old_data), Status::Ok);
}

TEST_F(IntegrityErrorsTest, AnyRequest_pageCannotBeLoaded_saysSo) {
    create();
    disk->bad_block = {layout.page_block(0), Status::PathError};
    EXPECT_EQ(read_and_compare(5, Bytes(kBlock)), Status::PathError);
    EXPECT_EQ(write(5, pattern(kBlock, 1)), Status::PathError);
    EXPECT_EQ(clear(Opcode::WriteZeroes, 5, 1), Status::PathError);
    EXPECT_EQ(clear(Opcode::Discard, 5, 1), Status::PathError);
    disk->bad_block.reset();
    EXPECT_EQ(read_and_compare(5, Bytes(kBlock)), Status::Ok);
}

TEST_F(IntegrityErrorsTest, Flush_failsBelow_saysSoAndNothingIsTakenForDurable) {
    create();
    EXPECT_EQ(write(5, pattern(kBlock, 1)), Status::Ok);
    disk->automatic = false;
    Io fails(Opcode::Flush, 0, 0, {});
    start(fails);
    let_go(1, Status::IoError);
    EXPECT_EQ(fails.request.status, Status::IoError);
    disk->automatic = true;
    EXPECT_EQ(write(5, pattern(kBlock, 2)), Status::Ok);
    EXPECT_EQ(seen(Opcode::Flush), 2U);  // the second write had to ask again
}

TEST_F(IntegrityErrorsTest, Write_flushBeforeItFails_saysSo) {
    create();
    const Bytes data = pattern(kBlock, 1);
    EXPECT_EQ(write(5, data), Status::Ok);
    disk->automatic = false;
    Bytes more = pattern(kBlock, 2);
    Io io(Opcode::Write, 5, 1, more);
    start(io);
    ASSERT_EQ(disk->held(), 1U);
    let_go(1, Status::IoError);
    EXPECT_EQ(io.request.status, Status::IoError);
    disk->automatic = true;
    EXPECT_EQ(read_and_compare(5, data), Status::Ok);
}

}  // namespace
}  // namespace remora::services::integrity
