// SPDX-License-Identifier: Apache-2.0
// Fused Compare and Write: what pairs do, what ends them, and what they shut out meanwhile.
#include "reactor/gate.h"
#include "tests/unit/nvme_tcp_target/fused_fixture.h"

namespace remora::test {
namespace {

class TargetFused : public TargetReservation {
  public:
    std::vector<std::byte> on_disk(std::uint64_t lba, std::size_t bytes = 512) {
        const auto at = device_.memory().begin() + static_cast<std::ptrdiff_t>(lba * 512);
        return {at, at + static_cast<std::ptrdiff_t>(bytes)};
    }
    Task<> wait_held(std::size_t count) {
        while (device_.held_count() != count) {
            co_await reactor::sleep_for(std::chrono::milliseconds(1));
        }
    }
    /// Lets whatever is on its way arrive.
    static Task<> settle(RawHost& io) {
        const Outcome flushed = co_await io.perform(make_rw(IoOpcode::Read, 8000, 1));
        EXPECT_EQ(flushed.status, 0);
    }
    static void send_write(RawHost& io, std::uint16_t cid, std::uint64_t lba, std::uint64_t value) {
        spec::Command command = make_rw(IoOpcode::Write, lba, 1, true);
        command.cid = cid;
        send_command(io, command, block_of(value));
    }
    static void expect(const PairOutcome& outcome, StatusCode compare, StatusCode write) {
        EXPECT_EQ(outcome.compare_code(), compare);
        EXPECT_EQ(outcome.write_code(), write);
    }
};

TEST_F(TargetFused, Equal_writes_howeverTheDataTravels) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        const Outcome about = co_await admin->identify(0x01);
        EXPECT_EQ(as<spec::IdentifyController>(about.data).fuses, 1U);
        std::uint16_t qid = 1;
        for (const std::uint8_t digests : std::array<std::uint8_t, 2>{0, 3}) {
            auto io = co_await io_queue(admin->cntlid, qid++, digests);
            for (const bool in_capsule : {true, false}) {
                const std::vector<std::byte> before = on_disk(16, 4096);
                const auto after = pattern(4096, qid + (in_capsule ? 10U : 20U));
                const PairOutcome done =
                    co_await swap(*io, make_pair(16, before, after, in_capsule));
                expect(done, StatusCode::Success, StatusCode::Success);
                EXPECT_EQ(done.r2ts, in_capsule ? 0U : 2U);
                EXPECT_EQ(on_disk(16, 4096), after);
            }
        }
        auto io = co_await io_queue(admin->cntlid, qid);
        const std::size_t large = std::size_t{256} * 1024;  // compared in pieces
        const auto after = pattern(large, 5);
        const PairOutcome done =
            co_await swap(*io, make_pair(64, on_disk(64, large), after, false));
        expect(done, StatusCode::Success, StatusCode::Success);
        EXPECT_EQ(on_disk(64, large), after);
        co_await stop();
    });
}

TEST_F(TargetFused, NotEqual_changesNothing) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid);
        for (const bool in_capsule : {true, false}) {
            auto wrong = on_disk(0, 4096);
            wrong.back() ^= std::byte{1};
            const PairOutcome done =
                co_await swap(*io, make_pair(0, wrong, pattern(4096, 1), in_capsule));
            expect(done, StatusCode::CompareFailure, StatusCode::FailedFusedCommand);
        }
        EXPECT_TRUE(std::ranges::all_of(device_.memory(), [](auto b) { return b == std::byte{}; }));
        co_await stop();
    });
}

TEST_F(TargetFused, DifferentBlocks_bothAreInvalid) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid);
        MemoryDevice second("second");
        NamespaceOptions options;
        options.device = &second;
        const auto added = co_await target_->add_namespace(kSubsystem, options);
        EXPECT_EQ(*added, 2U);
        for (const bool in_capsule : {true, false}) {
            FusedPair elsewhere = make_pair(0, block_of(0), block_of(1), in_capsule);
            elsewhere.write.cdw10 = 1U;
            const PairOutcome moved = co_await swap(*io, elsewhere);
            expect(moved, StatusCode::InvalidField, StatusCode::InvalidField);
            FusedPair longer = make_pair(0, block_of(0), pattern(1024, 1), in_capsule);
            longer.write.cdw12 = 1U;
            longer.write.sgl.length = 1024U;
            const PairOutcome grown = co_await swap(*io, longer);
            expect(grown, StatusCode::InvalidField, StatusCode::InvalidField);
            FusedPair other = make_pair(0, block_of(0), block_of(1), in_capsule);
            other.write.nsid = 2U;
            const PairOutcome crossed = co_await swap(*io, other);
            expect(crossed, StatusCode::InvalidField, StatusCode::InvalidField);
        }
        EXPECT_EQ(on_disk(0), block_of(0));
        co_await stop();
    });
}

TEST_F(TargetFused, Alone_isMissingTheOther) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid);
        for (const bool in_capsule : {true, false}) {
            const FusedPair pair = make_pair(0, block_of(0), block_of(1), in_capsule);
            send_command(*io, pair.write, pair.replacement);
            const PairOutcome second = co_await finish_pair(*io, pair, 1);
            EXPECT_EQ(second.write_code(), StatusCode::MissingFusedCommand);
            // Another command in between: each of the two is alone, and that one is carried out.
            send_command(*io, pair.compare, pair.expected);
            spec::Command between = make_rw(IoOpcode::Write, 4, 1, true);
            between.cid = 0x5000;
            send_command(*io, between, block_of(9));
            send_command(*io, pair.write, pair.replacement);
            int seen = 0;
            for (int ends = 3; ends > 0;) {
                const auto pdu = co_await io->next();
                if (pdu->type() == tcp::PduType::R2t) {
                    const auto r2t = pdu->as<tcp::R2t>();
                    EXPECT_EQ(r2t.cccid, pair.compare.cid);
                    io->send(io->h2c_data(r2t.cccid, r2t.ttag, 0, pair.expected, true));
                    continue;
                }
                const auto end = pdu->as<tcp::CapsuleResp>().completion;
                EXPECT_EQ(spec::status_code(end.status()), end.cid == 0x5000
                                                               ? StatusCode::Success
                                                               : StatusCode::MissingFusedCommand);
                seen += end.cid;
                --ends;
            }
            EXPECT_EQ(seen, 0x5000 + 0x6000 + 0x6001);
            // A first behind a first is a new one.
            send_command(*io, pair.compare, pair.expected);
            FusedPair next = make_pair(0, block_of(0), block_of(0), in_capsule);
            next.compare.cid = 0x6002;
            send_pair(*io, next);
            const PairOutcome both = co_await finish_pair(*io, next, 3);
            expect(both, StatusCode::Success, StatusCode::Success);
            EXPECT_EQ(spec::status_code(both.other), StatusCode::MissingFusedCommand);
        }
        EXPECT_EQ(on_disk(4), block_of(9));
        EXPECT_EQ(on_disk(0), block_of(0));
        co_await stop();
    });
}

TEST_F(TargetFused, SecondNeverComes_firstEndsWithTheHostsTime) {
    run([&]() -> Task<> {
        limits_.stall = std::chrono::milliseconds(40);
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid);
        const FusedPair pair = make_pair(0, block_of(0), block_of(1));
        send_command(*io, pair.compare, pair.expected);
        const PairOutcome first = co_await finish_pair(*io, pair, 1);
        EXPECT_EQ(first.compare_code(), StatusCode::MissingFusedCommand);
        send_command(*io, pair.write, pair.replacement);
        const PairOutcome second = co_await finish_pair(*io, pair, 1);
        EXPECT_EQ(second.write_code(), StatusCode::MissingFusedCommand);
        co_await stop();
    });
}

TEST_F(TargetFused, OneIsBad_theOtherIsAborted) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid);
        for (const bool in_capsule : {true, false}) {
            const FusedPair good = make_pair(0, block_of(0), block_of(1), in_capsule);
            FusedPair outside = good;
            outside.compare.cdw11 = 1U;
            const PairOutcome first = co_await swap(*io, outside);
            expect(first, StatusCode::LbaOutOfRange, StatusCode::FailedFusedCommand);
            outside = good;
            outside.write.cdw11 = 1U;
            const PairOutcome second = co_await swap(*io, outside);
            expect(second, StatusCode::FailedFusedCommand, StatusCode::LbaOutOfRange);
            FusedPair opcode = good;
            opcode.compare.opcode = static_cast<std::uint8_t>(IoOpcode::Write);
            const PairOutcome writes = co_await swap(*io, opcode);
            expect(writes, StatusCode::InvalidField, StatusCode::FailedFusedCommand);
            FusedPair reserved = good;
            reserved.write.flags = spec::kFlagsSgl | 3U;
            const PairOutcome both = co_await swap(*io, reserved);
            expect(both, StatusCode::MissingFusedCommand, StatusCode::InvalidField);
        }
        EXPECT_EQ(on_disk(0), block_of(0));
        const PairOutcome after = co_await swap(*io, make_pair(0, block_of(0), block_of(1)));
        expect(after, StatusCode::Success, StatusCode::Success);
        co_await stop();
    });
}

TEST_F(TargetFused, DataIsDamaged_theOtherIsAborted) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid, 1, tcp::kDgstData);
        const FusedPair pair = make_pair(0, block_of(0), block_of(1));
        for (const bool first : {true, false}) {
            auto compare = io->capsule(pair.compare, pair.expected);
            auto write = io->capsule(pair.write, pair.replacement);
            (first ? compare : write).back() ^= std::byte{1};
            io->send(compare);
            io->send(write);
            const PairOutcome outcome = co_await finish_pair(*io, pair);
            const StatusCode bad = StatusCode::TransientTransportError;
            const StatusCode other = StatusCode::FailedFusedCommand;
            expect(outcome, first ? bad : other, first ? other : bad);
        }
        EXPECT_EQ(on_disk(0), block_of(0));
        co_await stop();
    });
}

TEST_F(TargetFused, OtherWritesToItsBlocks_waitForThePair) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid, 1);
        auto other = co_await io_queue(admin->cntlid, 2);
        device_.hold = true;
        const FusedPair pair = make_pair(4, pattern(1024, 0), pattern(1024, 1));
        std::ranges::copy(pair.expected, device_.memory().begin() + 4 * 512);
        send_pair(*io, pair);
        co_await wait_held(1);  // it compares
        send_write(*other, 1, 5, 7);
        spec::Command zeroes = make_rw(IoOpcode::WriteZeroes, 0, 5);
        zeroes.sgl = {};
        zeroes.cid = 2;
        send_command(*other, zeroes);
        send_write(*other, 3, 6, 8);  // beside it
        spec::Command read = make_rw(IoOpcode::Read, 4, 1);
        read.cid = 4;
        send_command(*other, read);
        co_await wait_held(3);
        EXPECT_EQ(on_disk(4, 1024), pair.expected);
        device_.release();
        const PairOutcome done = co_await finish_pair(*io, pair);
        expect(done, StatusCode::Success, StatusCode::Success);
        for (const std::uint16_t cid : std::array<std::uint16_t, 4>{3, 4, 1, 2}) {
            const Outcome written = co_await other->finish(cid);
            EXPECT_EQ(written.status, 0) << cid;
        }
        EXPECT_EQ(on_disk(4), block_of(0));
        EXPECT_EQ(on_disk(5), block_of(7));
        EXPECT_EQ(on_disk(6), block_of(8));
        co_await stop();
    });
}

TEST_F(TargetFused, WriteUnderWay_endsBeforeThePairCompares) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid, 1);
        auto other = co_await io_queue(admin->cntlid, 2);
        device_.hold = true;
        send_write(*other, 1, 4, 7);
        co_await wait_held(1);
        const FusedPair pair = make_pair(4, block_of(7), block_of(8));
        send_pair(*io, pair);
        const auto early = co_await io->next(std::chrono::milliseconds(20));
        EXPECT_FALSE(early.has_value());
        EXPECT_EQ(device_.held_count(), 1U);
        device_.release();
        const PairOutcome done = co_await finish_pair(*io, pair);
        expect(done, StatusCode::Success, StatusCode::Success);
        EXPECT_EQ(on_disk(4), block_of(8));
        co_await stop();
    });
}

TEST_F(TargetFused, WriteNeverEnds_pairGivesUpAndLetsOthersBy) {
    run([&]() -> Task<> {
        limits_.drain = std::chrono::milliseconds(30);
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid, 1);
        auto other = co_await io_queue(admin->cntlid, 2);
        device_.hold = true;
        send_write(*other, 1, 4, 7);
        co_await wait_held(1);
        const FusedPair pair = make_pair(4, block_of(0), block_of(8));
        send_pair(*io, pair);
        send_write(*other, 2, 4, 9);
        const PairOutcome given_up = co_await finish_pair(*io, pair);
        expect(given_up, StatusCode::CommandInterrupted, StatusCode::FailedFusedCommand);
        co_await wait_held(2);
        device_.release();
        const Outcome last = co_await other->finish(2);
        EXPECT_EQ(last.status, 0);
        co_await stop();
    });
}

TEST_F(TargetFused, ConnectionGoesAmid_othersGoOnAndNothingIsWritten) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto other_admin = co_await admin_queue(host_options(2));
        auto io = co_await io_queue(admin->cntlid, 1);
        auto other = co_await io_queue(other_admin->cntlid, 1, 0, host_options(2));
        device_.hold = true;
        const FusedPair pair = make_pair(4, block_of(0), block_of(1));
        send_pair(*io, pair);
        co_await wait_held(1);
        send_write(*other, 1, 4, 7);
        const FusedPair next = make_pair(4, block_of(7), block_of(9));
        send_pair(*other, next);
        io.reset();
        const Outcome gone = co_await admin->identify(0x01);  // in the order of the poll
        EXPECT_EQ(gone.status, 0);
        const auto early = co_await other->next(std::chrono::milliseconds(20));
        EXPECT_FALSE(early.has_value());
        device_.release();
        const Outcome written = co_await other->finish(1);
        EXPECT_EQ(written.status, 0);
        const PairOutcome swapped = co_await finish_pair(*other, next);
        expect(swapped, StatusCode::Success, StatusCode::Success);
        EXPECT_EQ(on_disk(4), block_of(9));
        co_await stop();
    });
}

TEST_F(TargetFused, ConnectionGoes_whileItsWriteIsFenced_orItsFirstWaits) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid, 1);
        auto other = co_await io_queue(admin->cntlid, 2);
        auto lone = co_await io_queue(admin->cntlid, 3);
        const FusedPair pair = make_pair(4, block_of(0), block_of(1));
        send_command(*lone, pair.compare, pair.expected);
        device_.hold = true;
        send_pair(*io, pair);
        co_await wait_held(1);
        send_write(*other, 1, 4, 7);
        const auto early = co_await other->next(std::chrono::milliseconds(20));
        EXPECT_FALSE(early.has_value());
        other.reset();
        lone.reset();
        TargetStats stats;
        do {
            stats = co_await target_->stats();
        } while (stats.connections.size() != 2);
        device_.release();
        const PairOutcome done = co_await finish_pair(*io, pair);
        expect(done, StatusCode::Success, StatusCode::Success);
        co_await stop();
        EXPECT_EQ(on_disk(4), block_of(1));
    });
}

TEST_F(TargetFused, NamespaceIsRemovedAmid_everybodyIsTold) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid, 1);
        auto other = co_await io_queue(admin->cntlid, 2);
        auto third = co_await io_queue(admin->cntlid, 3);
        device_.hold = true;
        const FusedPair pair = make_pair(4, block_of(0), block_of(1));
        send_pair(*io, pair);
        co_await wait_held(1);
        send_write(*other, 1, 4, 7);
        send_pair(*third, pair);  // waits for its turn
        const auto early = co_await third->next(std::chrono::milliseconds(20));
        EXPECT_FALSE(early.has_value());
        reactor::Gate gate;
        bool removed = false;
        gate.spawn(
            [](Target* target, bool* end) -> Task<> {
                const auto result = co_await target->remove_namespace(kSubsystem, 1);
                *end = result.has_value();
            },
            target_.get(), &removed);
        Outcome active;
        do {
            active = co_await admin->identify(0x02);
        } while (as<core::le32>(active.data) != 0U);
        EXPECT_FALSE(removed);
        device_.release();
        const PairOutcome done = co_await finish_pair(*io, pair);
        expect(done, StatusCode::Success, StatusCode::InvalidNamespace);
        const PairOutcome waited = co_await finish_pair(*third, pair);
        expect(waited, StatusCode::InvalidNamespace, StatusCode::FailedFusedCommand);
        const Outcome fenced = co_await other->finish(1);
        EXPECT_EQ(fenced.code(), StatusCode::InvalidNamespace);
        co_await gate.close();
        EXPECT_TRUE(removed);
        EXPECT_EQ(on_disk(4), block_of(0));
        co_await stop();
    });
}

TEST_F(TargetFused, VolumeFails_writeSaysSo_andReservationsAreObeyed) {
    run([&]() -> Task<> {
        co_await start();
        TestHost holder = co_await connect_host(1);
        TestHost host = co_await connect_host(2);
        device_.hold = true;
        const FusedPair pair = make_pair(4, block_of(0), block_of(1));
        send_pair(*host.io, pair);
        co_await wait_held(1);
        device_.release();
        device_.fail_with = block::Status::IoError;
        const PairOutcome failed = co_await finish_pair(*host.io, pair);
        expect(failed, StatusCode::Success, StatusCode::WriteFault);
        const PairOutcome unread = co_await swap(*host.io, pair);
        expect(unread, StatusCode::UnrecoveredReadError, StatusCode::FailedFusedCommand);
        device_.fail_with = block::Status::Ok;
        const Outcome registered = co_await enroll(*holder.io, 1);
        const Outcome held = co_await acquire(*holder.io, 1, ReservationType::WriteExclusive);
        EXPECT_EQ(registered.status | held.status, 0);
        const PairOutcome conflict = co_await swap(*host.io, pair);
        expect(conflict, StatusCode::FailedFusedCommand, StatusCode::ReservationConflict);
        const PairOutcome owner = co_await swap(*holder.io, pair);
        expect(owner, StatusCode::Success, StatusCode::Success);
        co_await stop();
    });
}

TEST_F(TargetFused, SubsystemDeleted_orTargetStopped_withPairsUnderWay) {
    for (const bool deleted : {true, false}) {
        run([&]() -> Task<> {
            co_await start();
            auto admin = co_await admin_queue();
            auto io = co_await io_queue(admin->cntlid, 1);
            auto other = co_await io_queue(admin->cntlid, 2);
            device_.hold = true;
            const FusedPair pair = make_pair(4, block_of(0), block_of(1));
            send_pair(*io, pair);
            co_await wait_held(1);
            send_pair(*other, pair);
            send_write(*other, 1, 4, 7);
            const auto early = co_await other->next(std::chrono::milliseconds(20));
            EXPECT_FALSE(early.has_value());
            reactor::Gate gate;
            gate.spawn(
                [](MemoryDevice* device) -> Task<> {
                    co_await reactor::sleep_for(std::chrono::milliseconds(20));
                    device->release();
                },
                &device_);
            if (deleted) {
                const auto result = co_await target_->delete_subsystem(kSubsystem);
                EXPECT_TRUE(result.has_value());
                EXPECT_EQ(device_.open_channels, 0);
            }
            co_await stop();
            co_await gate.close();
            EXPECT_EQ(on_disk(4), block_of(0));
        });
    }
}

}  // namespace
}  // namespace remora::test
