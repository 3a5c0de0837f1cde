// SPDX-License-Identifier: Apache-2.0
#include "nvme/health.h"

#include <gtest/gtest.h>

namespace remora::nvme {
namespace {

using spec::StatusCode;

CommandError error(std::uint16_t cid, std::int64_t at) {
    CommandError made;
    made.cid = cid;
    made.at = core::Nanos(at);
    made.status = spec::status_field(StatusCode::LbaOutOfRange, true);
    return made;
}

std::vector<spec::ErrorLogEntry> page_of(const ErrorLog& log,
                                         std::uint64_t offset = 0,
                                         std::size_t entries = kErrorLogEntries) {
    std::vector<spec::ErrorLogEntry> page(entries);
    LogWindow window(offset, std::as_writable_bytes(std::span(page)));
    log.write(window);
    return page;
}

TEST(ErrorLog, ErrorsOfSeveralQueues_areNumberedInOrderAndReadNewestFirst) {
    ErrorNotes one;
    ErrorNotes two;
    one.add(error(10, 1));
    two.add(error(20, 2));
    one.add(error(11, 3));
    ErrorBatch batch = two.take();
    batch.append(one.take());
    ErrorLog log;
    log.add(batch);
    log.add({});
    two.add(error(21, 4));
    log.add(two.take());
    EXPECT_EQ(log.count(), 4U);
    const auto page = page_of(log);
    constexpr std::array kCids{21U, 11U, 20U, 10U};
    for (std::size_t i = 0; i < kCids.size(); ++i) {
        EXPECT_EQ(page[i].error_count, 4 - i);
        EXPECT_EQ(page[i].cid, kCids[i]);
        EXPECT_EQ(page[i].status, 0x4080U << 1U);
    }
    EXPECT_EQ(page[4].error_count, 0U);
    const auto part = page_of(log, sizeof(spec::ErrorLogEntry), 2);
    EXPECT_EQ(part[0].cid, 11U);
    EXPECT_EQ(part[1].cid, 20U);
}

TEST(ErrorLog, MoreErrorsThanEntries_keepsTheNewestAndCountsAll) {
    ErrorNotes notes;
    ErrorLog log;
    for (std::uint16_t i = 0; i < 100; ++i) {
        notes.add(error(i, i));
    }
    log.add(notes.take());
    EXPECT_EQ(log.count(), 100U);
    for (std::uint16_t i = 100; i < 103; ++i) {
        notes.add(error(i, i));
    }
    log.add(notes.take());
    const auto page = page_of(log);
    for (std::size_t i = 0; i < page.size(); ++i) {
        EXPECT_EQ(page[i].error_count, 103 - i);
        EXPECT_EQ(page[i].cid, 102 - i);
    }
}

TEST(CommandError, NamesWhatIsKnown) {
    spec::Command command{};
    command.opcode = static_cast<std::uint8_t>(spec::IoOpcode::Read);
    command.nsid = 7U;
    command.cid = static_cast<std::uint16_t>(9);
    command.cdw10 = 5U;
    command.cdw11 = 1U;
    const auto made = [&command](StatusCode code, std::uint16_t sqid) {
        return command_error(command, spec::status_field(code), sqid, core::Nanos(3));
    };
    const CommandError read = made(StatusCode::UnrecoveredReadError, 2);
    EXPECT_EQ(read.lba, 0x100000005U);
    EXPECT_EQ(read.nsid, 7U);
    EXPECT_EQ(read.sqid, 2U);
    EXPECT_EQ(read.cid, 9U);
    EXPECT_EQ(read.location, 0xffffU);
    EXPECT_EQ(made(StatusCode::InvalidNamespace, 2).location, 4U);
    EXPECT_EQ(made(StatusCode::DataSglLengthInvalid, 2).location, 32U);
    EXPECT_EQ(made(StatusCode::SglTypeInvalid, 2).location, 39U);
    EXPECT_EQ(made(StatusCode::InvalidLogPage, 0).location, 40U);
    EXPECT_EQ(made(StatusCode::InvalidLogPage, 0).lba, 0U);  // an admin command has none
    EXPECT_FALSE(is_logged(spec::status_field(StatusCode::AbortRequested)));
    EXPECT_FALSE(is_logged(0));
    EXPECT_TRUE(is_logged(spec::status_field(StatusCode::InvalidField, true)));
}

TEST(SmartLog, DataUnits_areThousandsOf512BytesRoundedUp) {
    IoCounters here;
    IoCounters there;
    here.add(Transfer::ToHost, 512);
    there.add(Transfer::ToHost, 511'488);  // 1000 blocks in all: one unit
    here.add(Transfer::FromHost, 512'512);
    here.add_read(0, true);
    there.add(Transfer::None, 0);
    here.add(there);
    here.add_failure(spec::status_field(StatusCode::UnrecoveredReadError));
    here.add_failure(spec::status_field(StatusCode::WriteFault));
    const auto log = smart_log(here, std::chrono::minutes(150), 12);
    EXPECT_EQ(log.data_units_read[0], 1U);
    EXPECT_EQ(log.data_units_written[0], 2U);
    EXPECT_EQ(log.host_reads[0], 3U);
    EXPECT_EQ(log.host_writes[0], 1U);
    EXPECT_EQ(log.media_errors[0], 1U);
    EXPECT_EQ(log.power_on_hours[0], 2U);
    EXPECT_EQ(log.error_log_entries[0], 12U);
    EXPECT_EQ(smart_log({}, core::Nanos(0), 0).data_units_read[0], 0U);
}

}  // namespace
}  // namespace remora::nvme
