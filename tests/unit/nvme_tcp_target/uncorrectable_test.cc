// SPDX-License-Identifier: Apache-2.0
// Write Uncorrectable: what marks do to other commands, what clears them, and their limits.
#include "nvme/commands.h"
#include "tests/support/planned_io.h"
#include "tests/unit/nvme_tcp_target/uncorrectable_fixture.h"

namespace remora::test {
namespace {

TEST_F(TargetUncorrectable, Identify_effectsLogAndCommands_agree) {
    run([&]() -> Task<> {
        co_await start_marked();
        const Outcome about = co_await admin_->identify(1);
        const std::uint16_t oncs = as<spec::IdentifyController>(about.data).oncs;
        EXPECT_NE(oncs & spec::kOncsWriteUncorrectable, 0);
        const Outcome page = co_await admin_->log_page(LogPage::CommandEffects, 0, 4096);
        const auto log = as<spec::CommandEffectsLog>(page.data);
        EXPECT_EQ(log.io[4], spec::kEffectSupported | spec::kEffectContentChange);
        nvme::Namespace space;
        space.geometry = device_.geometry();
        for (unsigned opcode = 0; opcode < 256; ++opcode) {
            const auto plan = planned_io(bare(static_cast<IoOpcode>(opcode), 0, 1), space, 4096);
            const bool known = plan || code_of(plan.error()) != StatusCode::InvalidOpcode;
            EXPECT_EQ((log.io[opcode] & spec::kEffectSupported) != 0, known) << opcode;
        }
        co_await stop_marked();
    });
}

TEST_F(TargetUncorrectable, Marked_readsFail_untilTheBlocksAreWritten) {
    run([&]() -> Task<> {
        co_await start_marked();
        EXPECT_EQ(co_await mark(*io_, 10, 8), 0);
        EXPECT_EQ(kept(), (Ranges{{10, 8}}));
        EXPECT_EQ(co_await read(*other_, 9), 0);
        EXPECT_EQ(co_await read(*other_, 10), kUnreadable);
        EXPECT_EQ(co_await read(*other_, 17), kUnreadable);
        EXPECT_EQ(co_await read(*other_, 18), 0);
        EXPECT_EQ(co_await read(*other_, 0, 11), kUnreadable);
        EXPECT_EQ(co_await read(*other_, 0, 512), kUnreadable);
        EXPECT_EQ(co_await write(*other_, 12, 7), 0);
        EXPECT_EQ(kept(), (Ranges{{10, 2}, {13, 5}}));
        EXPECT_EQ(on_disk(12), block_of(7));
        EXPECT_EQ(device_.durable_writes, 1) << "the mark is gone, so the data must not be lost";
        EXPECT_EQ(co_await read(*io_, 12), 0);
        EXPECT_EQ(co_await read(*io_, 11), kUnreadable);
        EXPECT_EQ(co_await read(*io_, 13), kUnreadable);
        EXPECT_EQ(co_await write(*io_, 9, 8), 0);
        EXPECT_EQ(device_.durable_writes, 1) << "beside them a write is as always";
        const auto large = pattern(std::size_t{512} * 512, 1);
        const Outcome over = co_await io_->perform(make_rw(IoOpcode::Write, 16, 512), large);
        EXPECT_EQ(over.status, 0);
        EXPECT_EQ(on_disk(16, large.size()), large);
        EXPECT_EQ(kept(), (Ranges{{10, 2}, {13, 3}}));
        EXPECT_EQ(co_await zero(*io_, 0, 100), 0);
        EXPECT_EQ(kept(), Ranges());
        EXPECT_EQ(co_await read(*other_, 0, 100), 0);
        EXPECT_EQ(on_disk(10), block_of(0));
        EXPECT_EQ(marks_.calls, 4);
        co_await stop_marked();
    });
}

TEST_F(TargetUncorrectable, Marks_countAsMediaErrors_onlyWhenTheyAreRead) {
    run([&]() -> Task<> {
        co_await start_marked();
        EXPECT_EQ(co_await mark(*io_, 10, 8), 0);
        EXPECT_EQ(co_await read(*io_, 10), kUnreadable);
        EXPECT_EQ(code_of((co_await io_->perform(bare(IoOpcode::Verify, 0, 512))).status),
                  StatusCode::UnrecoveredReadError);
        EXPECT_EQ(co_await write(*io_, 10, 1), 0);
        const Outcome page = co_await admin_->log_page(LogPage::Smart, 0, 512);
        const auto log = as<spec::SmartLog>(page.data);
        EXPECT_EQ(log.media_errors[0], 2U);
        EXPECT_EQ(log.error_log_entries[0], 2U);
        EXPECT_EQ(log.host_writes[0], 1U);  // Write Uncorrectable is none
        EXPECT_EQ(log.host_reads[0], 0U);
        co_await stop_marked();
    });
}

TEST_F(TargetUncorrectable, CompareVerifyAndPairs_failOnMarks) {
    run([&]() -> Task<> {
        co_await start_marked();
        EXPECT_EQ(co_await mark(*io_, 300), 0);
        const auto same = on_disk(0, std::size_t{512} * 512);
        // The first piece is good, the second is not.
        const Outcome compared = co_await io_->perform(make_rw(IoOpcode::Compare, 0, 512), same);
        EXPECT_EQ(compared.status, kUnreadable);
        const Outcome verified = co_await io_->perform(bare(IoOpcode::Verify, 0, 8192));
        EXPECT_EQ(verified.status, kUnreadable);
        const Outcome before = co_await io_->perform(bare(IoOpcode::Verify, 0, 300));
        EXPECT_EQ(before.status, 0);
        const PairOutcome pair = co_await swap(*io_, make_pair(300, block_of(0), block_of(1)));
        EXPECT_EQ(pair.compare, kUnreadable);
        EXPECT_EQ(pair.write_code(), StatusCode::FailedFusedCommand);
        EXPECT_EQ(on_disk(300), block_of(0));
        const PairOutcome beside = co_await swap(*io_, make_pair(301, block_of(0), block_of(1)));
        EXPECT_EQ(beside.compare | beside.write, 0);
        EXPECT_EQ(kept(), (Ranges{{300, 1}}));
        co_await stop_marked();
    });
}

TEST_F(TargetUncorrectable, Copy_failsAtAMarkedSource_andClearsItsDestination) {
    run([&]() -> Task<> {
        co_await start_marked();
        std::ranges::copy(pattern(std::size_t{300} * 512, 3), device_.memory().begin());
        std::array<spec::CopyRange, 2> list{};
        list[0].block_count = std::uint16_t{299};  // two pieces
        list[1].lba = 400U;
        spec::Command copy = make_command(0x19, 1, sizeof(list), true);
        copy.cdw10 = 4000U;
        copy.cdw12 = 1U;
        EXPECT_EQ(co_await mark(*io_, 400), 0);
        EXPECT_EQ(co_await mark(*io_, 4200, 200), 0);
        const Outcome failed = co_await io_->perform(copy, core::as_bytes_of(list));
        EXPECT_EQ(failed.status, kUnreadable);
        EXPECT_EQ(failed.completion.dw0, 1U);
        EXPECT_EQ(kept(), (Ranges{{400, 1}, {4300, 100}}));
        EXPECT_EQ(on_disk(4000, std::size_t{300} * 512), on_disk(0, std::size_t{300} * 512));
        EXPECT_EQ(co_await write(*io_, 400, 5), 0);
        const Outcome done = co_await io_->perform(copy, core::as_bytes_of(list));
        EXPECT_EQ(done.status, 0);
        EXPECT_EQ(on_disk(4300), block_of(5));
        EXPECT_EQ(kept(), (Ranges{{4301, 99}}));
        co_await stop_marked();
    });
}

TEST_F(TargetUncorrectable, Deallocate_leavesMarks_asDoesAFlush) {
    run([&]() -> Task<> {
        co_await start_marked();
        EXPECT_EQ(co_await mark(*io_, 0, 8), 0);
        spec::DsmRange range{};
        range.block_count = 8U;
        spec::Command discard = make_command(0x09, 1, sizeof(range), true);
        discard.cdw11 = spec::kDsmDeallocate;
        const Outcome discarded = co_await io_->perform(discard, core::as_bytes_of(range));
        EXPECT_EQ(discarded.status, 0);
        EXPECT_EQ(device_.discards, 1);
        const Outcome flushed = co_await io_->perform(make_command(0, 1, 0, false));
        EXPECT_EQ(flushed.status, 0);
        EXPECT_EQ(co_await read(*io_, 0), kUnreadable);
        EXPECT_EQ(kept(), (Ranges{{0, 8}}));
        co_await stop_marked();
    });
}

TEST_F(TargetUncorrectable, Range_isLimitedByTheVolumeAndNotByMdts) {
    run([&]() -> Task<> {
        co_await start_marked();
        EXPECT_EQ(code_of(co_await mark(*io_, 8191, 2)), StatusCode::LbaOutOfRange);
        EXPECT_EQ(code_of(co_await mark(*io_, 0, 8193)), StatusCode::LbaOutOfRange);
        EXPECT_EQ(code_of(co_await mark(*io_, 0, 1, 2)), StatusCode::InvalidNamespace);
        const Outcome data =
            co_await io_->perform(make_rw(IoOpcode::WriteUncorrectable, 0, 1, true), block_of(1));
        EXPECT_EQ(data.code(), StatusCode::InvalidField);
        EXPECT_EQ(marks_.calls, 0);
        EXPECT_EQ(co_await mark(*io_, 0, 8192), 0);  // 4 MiB, of 256 KiB that a transfer has
        EXPECT_EQ(co_await mark(*io_, 5, 3), 0);     // marked already: nothing to store
        EXPECT_EQ(marks_.calls, 1);
        EXPECT_EQ(kept(), (Ranges{{0, 8192}}));
        EXPECT_EQ(co_await zero(*io_, 0, 8192), 0);
        block::Geometry geometry = device_.geometry();
        geometry.read_only = true;
        device_.set_geometry(geometry);
        const auto refreshed = co_await target_->refresh_namespace(kSubsystem, 1);
        EXPECT_TRUE(refreshed.has_value());
        EXPECT_EQ(code_of(co_await mark(*io_, 0)), StatusCode::NamespaceWriteProtected);
        EXPECT_EQ(kept(), Ranges());
        co_await stop_marked();
    });
}

TEST_F(TargetUncorrectable, TooManyRanges_areRefusedForGood_andChangeNothing) {
    run([&]() -> Task<> {
        co_await start_marked();
        constexpr std::uint16_t kFull = spec::status_field(StatusCode::CapacityExceeded, true);
        constexpr std::uint32_t kMost = nvme::UncorrectableBlocks::kMostMarked;
        for (std::uint32_t i = 0; i < kMost; ++i) {
            EXPECT_EQ(co_await mark(*io_, std::uint64_t{2} * i), 0);
        }
        EXPECT_EQ(co_await mark(*io_, 1000), kFull);
        EXPECT_EQ(co_await read(*io_, 1000), 0);
        EXPECT_EQ(kept().size(), kMost);
        EXPECT_EQ(co_await mark(*io_, 0, 8192), 0);
        // Writes may split what is marked further, but not without end.
        Ranges ranges;
        for (std::size_t i = 0; i < nvme::UncorrectableBlocks::kMostRanges; ++i) {
            ranges.push_back({4 * i, 3});
        }
        NamespaceOptions options;
        options.device = &device_;
        options.uncorrectable = nvme::UncorrectableBlocks::from(ranges).value();
        const auto added = co_await target_->add_namespace(kSubsystem, options);
        EXPECT_EQ(added.value(), 2U);
        EXPECT_EQ(co_await write(*io_, 1, 9, 2), kFull);
        EXPECT_EQ(on_disk(1), block_of(0));
        EXPECT_EQ(co_await read(*io_, 1, 1, 2), kUnreadable);
        EXPECT_EQ(co_await write(*io_, 0, 9, 2), 0);
        EXPECT_EQ(co_await read(*io_, 0, 1, 2), 0);
        co_await stop_marked();
    });
}

TEST_F(TargetUncorrectable, Marks_areTheNamespaces_andGoWithIt) {
    run([&]() -> Task<> {
        co_await start_marked();
        NamespaceOptions options;
        options.device = &device_;
        options.uncorrectable = nvme::UncorrectableBlocks::from({{4, 1}}).value();
        const auto second = co_await target_->add_namespace(kSubsystem, options);
        EXPECT_EQ(second.value(), 2U);
        EXPECT_EQ(co_await mark(*io_, 5), 0);
        EXPECT_EQ(co_await read(*io_, 5), kUnreadable);
        EXPECT_EQ(co_await read(*io_, 4), 0);
        EXPECT_EQ(co_await read(*io_, 5, 1, 2), 0);
        EXPECT_EQ(co_await read(*io_, 4, 1, 2), kUnreadable);
        EXPECT_EQ(co_await write(*io_, 5, 3, 2), 0);
        EXPECT_EQ(co_await read(*io_, 5), kUnreadable) << "written by another namespace";
        const auto removed = co_await target_->remove_namespace(kSubsystem, 1);
        EXPECT_TRUE(removed.has_value());
        co_await add_namespace({});
        EXPECT_EQ(co_await read(*io_, 5), 0);
        EXPECT_EQ(co_await read(*io_, 4, 1, 2), kUnreadable);
        co_await stop_marked();
    });
}

TEST_F(TargetUncorrectable, WithoutAKeeper_marksLastAsLongAsTheTarget) {
    run([&]() -> Task<> {
        co_await start_marked();
        target_->set_uncorrectable_keeper(nullptr);
        EXPECT_EQ(co_await mark(*io_, 5), 0);
        EXPECT_EQ(co_await read(*io_, 5), kUnreadable);
        EXPECT_EQ(co_await write(*io_, 5, 1), 0);
        EXPECT_EQ(co_await read(*io_, 5), 0);
        co_await stop_marked();
    });
}

}  // namespace
}  // namespace remora::test
