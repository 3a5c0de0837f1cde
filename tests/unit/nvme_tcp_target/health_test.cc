// SPDX-License-Identifier: Apache-2.0
// SMART / Health Information and Error Information of a target's controllers.
#include "tests/unit/nvme_tcp_target/admin_fixture.h"

namespace remora::test {
namespace {

class TargetHealth : public TargetAdmin {
  public:
    static Task<spec::SmartLog> health(RawHost& admin) {
        const Outcome outcome = co_await admin.log_page(LogPage::Smart, 0, 512);
        EXPECT_EQ(outcome.status, 0);
        co_return as<spec::SmartLog>(outcome.data);
    }
    static Task<std::vector<spec::ErrorLogEntry>> errors(RawHost& admin) {
        const Outcome outcome = co_await admin.log_page(LogPage::Error, 0, 4096);
        EXPECT_EQ(outcome.status, 0);
        std::vector<spec::ErrorLogEntry> entries(64);
        CHECK(outcome.data.size() == 4096);
        std::memcpy(entries.data(), outcome.data.data(), 4096);
        co_return entries;
    }
};

TEST_F(TargetHealth, Smart_countsWhatAllHostsDid) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid);
        auto other = co_await admin_queue();
        auto other_io = co_await io_queue(other->cntlid);
        const auto data = pattern(std::size_t{512} * 512, 1);
        for (int i = 0; i < 2; ++i) {  // 1024 blocks: two units
            const Outcome written = co_await io->perform(make_rw(IoOpcode::Write, 0, 512), data);
            EXPECT_EQ(written.status, 0);
        }
        const Outcome read = co_await other_io->perform(make_rw(IoOpcode::Read, 0, 512));
        EXPECT_EQ(read.status, 0);
        const Outcome compared = co_await io->perform(make_rw(IoOpcode::Compare, 0, 512), data);
        EXPECT_EQ(compared.status, 0);
        spec::Command verify = make_rw(IoOpcode::Verify, 0, 512);
        verify.sgl = {};
        const Outcome verified = co_await io->perform(verify);
        EXPECT_EQ(verified.status, 0);
        device_.fail_with = block::Status::IoError;
        const Outcome lost = co_await io->perform(make_rw(IoOpcode::Read, 0, 1));
        EXPECT_EQ(lost.code(), StatusCode::UnrecoveredReadError);
        device_.fail_with = block::Status::Ok;
        for (RawHost* asking : {admin.get(), other.get()}) {
            const spec::SmartLog log = co_await health(*asking);
            EXPECT_EQ(log.data_units_written[0], 2U);
            EXPECT_EQ(log.host_writes[0], 2U);
            EXPECT_EQ(log.data_units_read[0], 2U);  // 3 x 512 blocks
            EXPECT_EQ(log.host_reads[0], 2U);       // Verify is none
            EXPECT_EQ(log.media_errors[0], 1U);
            EXPECT_EQ(log.error_log_entries[0], asking == admin.get() ? 1U : 0U);
        }
        co_await stop();
    });
}

TEST_F(TargetHealth, Errors_ofAllQueuesOfTheController_andOfThoseThatAreGone) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid, 1);
        auto going = co_await io_queue(admin->cntlid, 2);
        const Outcome outside = co_await io->perform(make_rw(IoOpcode::Read, 9000, 1));
        EXPECT_EQ(outside.code(), StatusCode::LbaOutOfRange);
        const Outcome nowhere = co_await going->perform(make_rw(IoOpcode::Read, 0, 1, false, 5));
        EXPECT_EQ(nowhere.code(), StatusCode::InvalidNamespace);
        going.reset();
        const Outcome unknown = co_await admin->perform(make_command(0x7e, 3, 0, false));
        EXPECT_EQ(unknown.code(), StatusCode::InvalidOpcode);
        std::vector<spec::ErrorLogEntry> seen;
        do {  // until the target knows of the end of the second queue
            seen = co_await errors(*admin);
        } while (seen[0].error_count != 3U);
        std::map<std::uint32_t, spec::ErrorLogEntry> by_queue;
        for (std::size_t i = 0; i < 3; ++i) {
            EXPECT_EQ(seen[i].error_count, 3 - i);
            by_queue[seen[i].sqid] = seen[i];
        }
        EXPECT_EQ(seen[3].error_count, 0U);
        EXPECT_EQ(by_queue[0].status, (0x4000U | 0x001U) << 1U);
        EXPECT_EQ(by_queue[0].parameter_location, 0U);
        EXPECT_EQ(by_queue[0].nsid, 3U);
        EXPECT_EQ(by_queue[0].cid, unknown.completion.cid);
        EXPECT_EQ(by_queue[1].lba, 9000U);
        EXPECT_EQ(by_queue[1].nsid, 1U);
        EXPECT_EQ(by_queue[1].parameter_location, 0xffffU);
        EXPECT_EQ(by_queue[2].nsid, 5U);
        EXPECT_EQ(by_queue[2].parameter_location, 4U);
        const spec::SmartLog log = co_await health(*admin);
        EXPECT_EQ(log.error_log_entries[0], 3U);
        auto other = co_await admin_queue();
        const auto none = co_await errors(*other);
        EXPECT_EQ(none[0].error_count, 0U);
        co_await stop();
    });
}

TEST_F(TargetHealth, Pages_boundsAndNamespaces_areChecked) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        const Outcome about = co_await admin->identify(0x01);
        EXPECT_EQ(as<spec::IdentifyController>(about.data).elpe, 63);
        for (int i = 0; i < 70; ++i) {
            co_await admin->perform(make_command(0x7e, 0, 0, false));
        }
        const auto all = co_await errors(*admin);
        EXPECT_EQ(all[0].error_count, 70U);
        EXPECT_EQ(all[63].error_count, 7U);
        const Outcome part = co_await admin->log_page(LogPage::Error, 128, 64);
        EXPECT_EQ(as<spec::ErrorLogEntry>(part.data).error_count, 68U);
        const Outcome tail = co_await admin->log_page(LogPage::Error, 4096 - 64, 8192);
        EXPECT_EQ(as<spec::ErrorLogEntry>(tail.data).error_count, 7U);
        EXPECT_TRUE(std::ranges::all_of(std::span(tail.data).subspan(64),
                                        [](std::byte b) { return b == std::byte{0}; }));
        const Outcome behind = co_await admin->log_page(LogPage::Error, 4100, 64);
        EXPECT_EQ(behind.code(), StatusCode::InvalidField);
        const Outcome smart = co_await admin->log_page(LogPage::Smart, 516, 64);
        EXPECT_EQ(smart.code(), StatusCode::InvalidField);
        spec::Command of_one = make_command(0x02, 1, 512, false);
        spec::set_log_page_range(of_one, LogPage::Smart, 0, 512);
        const Outcome namespace_page = co_await admin->perform(of_one);
        EXPECT_EQ(namespace_page.code(), StatusCode::InvalidField);
        co_await stop();
    });
}

}  // namespace
}  // namespace remora::test
