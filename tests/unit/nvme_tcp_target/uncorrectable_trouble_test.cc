// SPDX-License-Identifier: Apache-2.0
// Write Uncorrectable beside other commands, and with volumes, stores, hosts and namespaces that
// fail or go while it is under way.
#include "reactor/gate.h"
#include "tests/unit/nvme_tcp_target/uncorrectable_fixture.h"

namespace remora::test {
namespace {

TEST_F(TargetUncorrectable, WriteUnderWay_endsBeforeItsBlocksAreMarked) {
    run([&]() -> Task<> {
        co_await start_marked();
        device_.hold = true;
        send_write(*other_, 1, 4, 7);
        co_await wait_held(1);
        send_mark(*io_, 1, 4);
        send_write(*other_, 2, 5, 8);  // beside it
        co_await wait_held(2);
        co_await expect_silence(*io_);
        EXPECT_EQ(marks_.calls, 0);
        device_.release();
        const Outcome marked = co_await io_->finish(1);
        EXPECT_EQ(marked.status, 0);
        EXPECT_EQ(on_disk(4), block_of(7));
        EXPECT_EQ(co_await read(*io_, 4), kUnreadable);
        EXPECT_EQ(co_await read(*io_, 5), 0);
        co_await stop_marked();
    });
}

TEST_F(TargetUncorrectable, WriteThatComesAmid_waitsAndClears) {
    run([&]() -> Task<> {
        co_await start_marked();
        marks_.hold = true;
        send_mark(*io_, 1, 4);
        co_await wait_kept(1);
        EXPECT_EQ(co_await read(*other_, 4), 0);  // not marked yet
        send_write(*other_, 1, 4, 7);
        co_await expect_silence(*other_);
        EXPECT_EQ(on_disk(4), block_of(0));
        marks_.hold = false;
        const Outcome marked = co_await io_->finish(1);
        const Outcome written = co_await other_->finish(1);
        EXPECT_EQ(marked.status | written.status, 0);
        EXPECT_EQ(co_await read(*io_, 4), 0);
        EXPECT_EQ(on_disk(4), block_of(7));
        EXPECT_EQ(kept(), Ranges());
        co_await stop_marked();
    });
}

TEST_F(TargetUncorrectable, MarkIsThere_untilTheWriteIsStoredAndSaid) {
    run([&]() -> Task<> {
        co_await start_marked();
        EXPECT_EQ(co_await mark(*io_, 4, 2), 0);
        device_.hold = true;
        send_write(*io_, 1, 4, 7);
        co_await wait_held(1);
        EXPECT_EQ(co_await read(*other_, 4), kUnreadable);
        marks_.hold = true;
        device_.release();
        co_await wait_kept(2);
        EXPECT_EQ(on_disk(4), block_of(7));
        EXPECT_EQ(kept(), (Ranges{{4, 2}}));
        EXPECT_EQ(co_await read(*other_, 4), kUnreadable);
        co_await expect_silence(*io_);
        marks_.hold = false;
        const Outcome written = co_await io_->finish(1);
        EXPECT_EQ(written.status, 0);
        EXPECT_EQ(kept(), (Ranges{{5, 1}}));
        EXPECT_EQ(co_await read(*other_, 4), 0);
        EXPECT_EQ(co_await read(*other_, 5), kUnreadable);
        co_await stop_marked();
    });
}

TEST_F(TargetUncorrectable, DeepQueuesOverMarks_areAllCarriedOut) {
    run([&]() -> Task<> {
        co_await start_marked();
        EXPECT_EQ(co_await mark(*io_, 0, 64), 0);
        for (std::uint16_t i = 0; i < 28; ++i) {
            send_write(*io_, i, i / 2U, i);  // some blocks twice
            send_write(*other_, i, 40U + i, i);
        }
        for (std::uint16_t i = 0; i < 28; ++i) {
            for (RawHost* io : {io_.get(), other_.get()}) {
                const auto pdu = co_await io->next();
                EXPECT_TRUE(pdu && pdu->as<tcp::CapsuleResp>().completion.status() == 0);
            }
        }
        EXPECT_EQ(kept(), (Ranges{{14, 26}}));
        EXPECT_EQ(co_await read(*io_, 0, 14), 0);
        EXPECT_EQ(co_await read(*io_, 40, 28), 0);
        EXPECT_EQ(on_disk(67), block_of(27));
        co_await stop_marked();
    });
}

TEST_F(TargetUncorrectable, VolumeFails_marksStay) {
    run([&]() -> Task<> {
        co_await start_marked();
        EXPECT_EQ(co_await mark(*io_, 4), 0);
        device_.fail_with = block::Status::IoError;
        EXPECT_EQ(code_of(co_await write(*io_, 4, 7)), StatusCode::WriteFault);
        device_.fail_with = block::Status::Ok;
        EXPECT_EQ(co_await read(*io_, 4), kUnreadable);
        EXPECT_EQ(marks_.calls, 1);
        co_await stop_marked();
    });
}

TEST_F(TargetUncorrectable, StoreFails_nothingChanges_andItMayBeTriedAgain) {
    run([&]() -> Task<> {
        co_await start_marked();
        constexpr std::uint16_t kAgain = spec::status_field(StatusCode::InternalError);
        marks_.refuse = true;
        EXPECT_EQ(co_await mark(*io_, 4), kAgain);
        EXPECT_EQ(co_await read(*io_, 4), 0);
        marks_.refuse = false;
        EXPECT_EQ(co_await mark(*io_, 4), 0);
        marks_.refuse = true;
        EXPECT_EQ(co_await write(*io_, 4, 7), kAgain);
        EXPECT_EQ(co_await zero(*io_, 0, 8), kAgain);
        EXPECT_EQ(co_await write(*io_, 5, 7), 0);  // needs no store
        EXPECT_EQ(co_await read(*other_, 4), kUnreadable);
        EXPECT_EQ(kept(), (Ranges{{4, 1}}));
        marks_.refuse = false;
        EXPECT_EQ(co_await write(*io_, 4, 7), 0);
        EXPECT_EQ(co_await read(*other_, 4), 0);
        co_await stop_marked();
    });
}

TEST_F(TargetUncorrectable, WriteNeverEnds_markGivesUpAndLetsOthersBy) {
    run([&]() -> Task<> {
        limits_.drain = std::chrono::milliseconds(30);
        co_await start_marked();
        device_.hold = true;
        send_write(*other_, 1, 4, 7);
        co_await wait_held(1);
        send_mark(*io_, 1, 4);
        send_write(*other_, 2, 4, 8);
        const Outcome given_up = co_await io_->finish(1);
        EXPECT_EQ(given_up.status, spec::status_field(StatusCode::CommandInterrupted));
        co_await wait_held(2);
        device_.release();
        const Outcome last = co_await other_->finish(2);
        EXPECT_EQ(last.status, 0);
        EXPECT_EQ(marks_.calls, 0);
        co_await stop_marked();
    });
}

TEST_F(TargetUncorrectable, Reservation_isObeyed_alsoByACommandThatWaits) {
    run([&]() -> Task<> {
        co_await start_marked();
        TestHost holder = co_await connect_host(2);
        EXPECT_EQ(co_await mark(*io_, 4), 0);
        device_.hold = true;
        send_write(*holder.io, 1, 5, 7);
        co_await wait_held(1);
        send_mark(*io_, 1, 5);  // waits for that write
        co_await expect_silence(*io_);
        send_write(*other_, 1, 4, 8);  // waits for its turn
        co_await expect_silence(*other_);
        const Outcome registered = co_await enroll(*holder.io, 1);
        const Outcome held = co_await acquire(*holder.io, 1, ReservationType::WriteExclusive);
        EXPECT_EQ(registered.status | held.status, 0);
        device_.release();
        const Outcome marked = co_await io_->finish(1);
        EXPECT_EQ(marked.code(), StatusCode::ReservationConflict);
        const Outcome written = co_await other_->finish(1);
        EXPECT_EQ(written.code(), StatusCode::ReservationConflict);
        EXPECT_EQ(code_of(co_await mark(*io_, 6)), StatusCode::ReservationConflict);
        EXPECT_EQ(co_await read(*io_, 4), kUnreadable);
        EXPECT_EQ(kept(), (Ranges{{4, 1}}));
        EXPECT_EQ(co_await mark(*holder.io, 6), 0);
        EXPECT_EQ(co_await write(*holder.io, 4, 1), 0);
        EXPECT_EQ(kept(), (Ranges{{6, 1}}));
        co_await stop_marked();
    });
}

// Whoever shuts a host out is answered when its command, though no request, has ended.
TEST_F(TargetUncorrectable, Reservation_waitsForAMarkThatIsBeingStored) {
    run([&]() -> Task<> {
        co_await start_marked();
        TestHost holder = co_await connect_host(2);
        const Outcome registered = co_await enroll(*holder.io, 1);
        EXPECT_EQ(registered.status, 0);
        marks_.hold = true;
        send_mark(*io_, 1, 4);
        co_await wait_kept(1);
        const spec::ReservationAcquireData keys{std::uint64_t{1}, std::uint64_t{0}};
        spec::Command command = make_command(0x11, 1, sizeof(keys), true);
        command.cdw10 = type_bits(ReservationType::WriteExclusive);
        command.cid = 9;
        send_command(*holder.io, command, core::as_bytes_of(keys));
        co_await expect_silence(*holder.io);
        marks_.hold = false;
        const Outcome acquired = co_await holder.io->finish(9);
        EXPECT_EQ(acquired.status, 0);
        EXPECT_EQ(kept(), (Ranges{{4, 1}}));
        const Outcome marked = co_await io_->finish(1);
        EXPECT_EQ(marked.status, 0);
        co_await stop_marked();
    });
}

TEST_F(TargetUncorrectable, ConnectionsGoAmid_whatWasBegunEnds_andOthersGoOn) {
    run([&]() -> Task<> {
        co_await start_marked();
        auto third = co_await io_queue(admin_->cntlid, 3);
        EXPECT_EQ(co_await mark(*third, 8, 2), 0);
        marks_.hold = true;
        send_mark(*io_, 1, 4);
        co_await wait_kept(2);
        send_write(*other_, 1, 8, 7);  // its turn is not yet
        send_write(*other_, 2, 9, 7);
        co_await expect_silence(*other_);
        io_.reset();
        other_.reset();
        for (int i = 0; i < 2; ++i) {
            const Outcome noticed = co_await admin_->identify(1);  // in the order of the poll
            EXPECT_EQ(noticed.status, 0);
        }
        send_write(*third, 7, 9, 5);
        marks_.hold = false;
        const Outcome written = co_await third->finish(7);
        EXPECT_EQ(written.status, 0);
        EXPECT_EQ(co_await read(*third, 4), kUnreadable);
        EXPECT_EQ(co_await read(*third, 9), 0);
        EXPECT_EQ(on_disk(9), block_of(5));
        EXPECT_EQ(on_disk(8), block_of(0)) << "its host was gone before its turn";
        third.reset();
        co_await stop_marked();
    });
}

TEST_F(TargetUncorrectable, NamespaceIsRemovedAmid_everybodyIsTold) {
    run([&]() -> Task<> {
        co_await start_marked();
        auto third = co_await io_queue(admin_->cntlid, 3);
        EXPECT_EQ(co_await mark(*third, 8), 0);
        marks_.hold = true;
        send_mark(*io_, 1, 4);
        co_await wait_kept(2);
        send_write(*other_, 1, 8, 7);
        send_mark(*third, 1, 5);
        co_await expect_silence(*third);
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
            active = co_await admin_->identify(0x02);
        } while (as<core::le32>(active.data) != 0U);
        EXPECT_FALSE(removed);
        marks_.hold = false;
        const Outcome marked = co_await io_->finish(1);
        EXPECT_EQ(marked.status, 0);
        const Outcome written = co_await other_->finish(1);
        EXPECT_EQ(written.code(), StatusCode::InvalidNamespace);
        const Outcome late = co_await third->finish(1);
        EXPECT_EQ(late.code(), StatusCode::InvalidNamespace);
        co_await gate.close();
        EXPECT_TRUE(removed);
        EXPECT_EQ(on_disk(8), block_of(0));
        third.reset();
        co_await stop_marked();
    });
}

TEST_F(TargetUncorrectable, SubsystemDeleted_orTargetStopped_withCommandsUnderWay) {
    for (const bool deleted : {true, false}) {
        run([&]() -> Task<> {
            co_await start_marked();
            EXPECT_EQ(co_await mark(*io_, 8), 0);
            const int calls = marks_.calls;
            marks_.hold = true;
            send_mark(*io_, 1, 4);
            co_await wait_kept(calls + 1);
            send_write(*other_, 1, 8, 7);
            send_mark(*other_, 2, 5);
            co_await expect_silence(*other_);
            reactor::Gate gate;
            gate.spawn(
                [](MemoryMarkKeeper* keeper) -> Task<> {
                    co_await reactor::sleep_for(std::chrono::milliseconds(20));
                    keeper->hold = false;
                },
                &marks_);
            if (deleted) {
                const auto result = co_await target_->delete_subsystem(kSubsystem);
                EXPECT_TRUE(result.has_value());
                EXPECT_EQ(device_.open_channels, 0);
            }
            co_await stop_marked();
            co_await gate.close();
        });
    }
}

}  // namespace
}  // namespace remora::test
