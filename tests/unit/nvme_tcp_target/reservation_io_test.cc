// SPDX-License-Identifier: Apache-2.0
// Reservations that change while I/O is under way: what is waited for, what is shut out, and what
// may vanish meanwhile.
#include <algorithm>

#include "reactor/call.h"
#include "reactor/gate.h"
#include "tests/unit/nvme_tcp_target/reservation_fixture.h"

namespace remora::test {
namespace {

using Type = ReservationType;
using std::chrono::milliseconds;

class TargetReservationIo : public TargetReservation {
  public:
    /// Sends a reservation command and does not wait for it.
    static void send(RawHost& io,
                     std::uint16_t cid,
                     IoOpcode opcode,
                     std::uint32_t cdw10,
                     std::uint64_t first,
                     std::uint64_t second) {
        const spec::ReservationRegisterData keys{first, second};
        spec::Command command = make_command(static_cast<std::uint8_t>(opcode), 1, 16, true);
        command.cdw10 = cdw10;
        command.cid = cid;
        io.send(io.capsule(command, core::as_bytes_of(keys)));
    }
    static void send_preempt_and_abort(RawHost& io, std::uint16_t cid) {
        send(io, cid, IoOpcode::ReservationAcquire, 2U | type_bits(Type::WriteExclusive), 0xb, 0xa);
    }
    static void send_write(RawHost& io, std::uint16_t cid, std::uint8_t fill) {
        const std::vector<std::byte> data(512, std::byte{fill});
        spec::Command command = one_block(IoOpcode::Write);
        command.cid = cid;
        io.send(io.capsule(command, data));
    }
    /// Host 1 with key Ah has it reserved, host 2 is registered with Bh.
    Task<> reserve(Type type = Type::WriteExclusive) {
        one_ = co_await connect_host(1);
        two_ = co_await connect_host(2);
        const Outcome a = co_await enroll(*one_.io, 0xa);
        const Outcome b = co_await enroll(*two_.io, 0xb);
        const Outcome c = co_await acquire(*one_.io, 0xa, type);
        EXPECT_EQ(a.status | b.status | c.status, 0);
    }
    /// A write of host 1 is in the volume, and stays there.
    Task<> hold_a_write() {
        device_.hold = true;
        send_write(*one_.io, 0x500, 1);
        while (device_.held_count() == 0) {
            co_await reactor::sleep_for(milliseconds(1));
        }
    }
    /// Nothing comes.
    static Task<> expect_silence(RawHost& io) {
        const auto early = co_await io.next(milliseconds(40));
        EXPECT_FALSE(early.has_value());
    }

    TestHost one_;
    TestHost two_;
};

TEST_F(TargetReservationIo, PreemptAndAbort_isAnswered_whenThePreemptedHostsWritesHaveEnded) {
    run([&]() -> Task<> {
        co_await start();
        co_await reserve();
        co_await hold_a_write();
        send_preempt_and_abort(*two_.io, 0x600);
        co_await expect_silence(*two_.io);
        // It is in force all the same.
        const Outcome late = co_await write_block(*one_.io, 2);
        EXPECT_EQ(late.code(), StatusCode::ReservationConflict);
        device_.release();
        const Outcome preempted = co_await two_.io->finish(0x600);
        EXPECT_EQ(preempted.status, 0);
        const Outcome written = co_await one_.io->finish(0x500);
        EXPECT_EQ(written.status, 0);
        const Outcome mine = co_await write_block(*two_.io, 3);
        EXPECT_EQ(mine.status, 0);
        EXPECT_EQ(device_.memory()[0], std::byte{3});
        co_await stop();
    });
}

TEST_F(TargetReservationIo, PreemptAndAbort_waitsForReads_too_preemptDoesNot) {
    run([&]() -> Task<> {
        co_await start();
        co_await reserve();
        device_.hold = true;
        spec::Command read = one_block(IoOpcode::Read);
        read.cid = 0x500;
        one_.io->send(one_.io->capsule(read));
        while (device_.held_count() == 0) {
            co_await reactor::sleep_for(milliseconds(1));
        }
        // A read of another host may go on under Write Exclusive.
        send(*two_.io, 0x601, IoOpcode::ReservationAcquire, 1U | type_bits(Type::WriteExclusive),
             0xb, 0xa);
        const Outcome preempted = co_await two_.io->finish(0x601);
        EXPECT_EQ(preempted.status, 0);
        const Outcome again = co_await enroll(*one_.io, 0xa);
        EXPECT_EQ(again.status, 0);
        send_preempt_and_abort(*two_.io, 0x602);
        co_await expect_silence(*two_.io);
        device_.release();
        const Outcome aborted = co_await two_.io->finish(0x602);
        EXPECT_EQ(aborted.status, 0);
        co_await stop();
    });
}

TEST_F(TargetReservationIo, Acquire_waitsForWritesThatItShutsOut_notForTheOwn) {
    run([&]() -> Task<> {
        co_await start();
        one_ = co_await connect_host(1);
        two_ = co_await connect_host(2);
        const Outcome registered = co_await enroll(*two_.io, 0xb);
        EXPECT_EQ(registered.status, 0);
        device_.hold = true;
        send_write(*two_.io, 0x500, 1);
        while (device_.held_count() == 0) {
            co_await reactor::sleep_for(milliseconds(1));
        }
        const Outcome own = co_await acquire(*two_.io, 0xb, Type::WriteExclusive);
        EXPECT_EQ(own.status, 0);
        const Outcome released = co_await reservation(*two_.io, IoOpcode::ReservationRelease,
                                                      type_bits(Type::WriteExclusive), 0xb, 0);
        EXPECT_EQ(released.status, 0);
        const Outcome refused = co_await enroll(*one_.io, 0xa);
        EXPECT_EQ(refused.status, 0);
        send(*one_.io, 0x600, IoOpcode::ReservationAcquire, type_bits(Type::ExclusiveAccess), 0xa,
             0);
        co_await expect_silence(*one_.io);
        device_.release();
        const Outcome acquired = co_await one_.io->finish(0x600);
        EXPECT_EQ(acquired.status, 0);
        co_await stop();
    });
}

TEST_F(TargetReservationIo, Wait_hasAnEnd_whichOnlyPreemptAndAbortReports) {
    run([&]() -> Task<> {
        limits_.drain = milliseconds(60);
        co_await start();
        co_await reserve();
        co_await hold_a_write();
        send_preempt_and_abort(*two_.io, 0x600);
        const Outcome failed = co_await two_.io->finish(0x600);
        EXPECT_EQ(failed.code(), StatusCode::InternalError);
        EXPECT_EQ(failed.status & spec::kDoNotRetry, 0);
        // The change stands.
        const Report now = co_await report(*two_.io);
        EXPECT_EQ(now.controllers.size(), 1U);
        EXPECT_EQ(now.controllers[0].key, 0xbU);
        // Another change waits as long, for what is still shut out, and does not fail for it.
        const Outcome changed = co_await preempt(*two_.io, 0xb, 0xb, Type::ExclusiveAccess);
        EXPECT_EQ(changed.status, 0);
        device_.release();
        const Outcome written = co_await one_.io->finish(0x500);
        EXPECT_EQ(written.status, 0);
        co_await stop();
    });
}

TEST_F(TargetReservationIo, Write_whoseDataComesAfterTheChange_isShutOut) {
    run([&]() -> Task<> {
        co_await start();
        co_await reserve();
        spec::Command write = make_rw(IoOpcode::Write, 0, 1);
        write.cid = 0x500;
        one_.io->send(one_.io->capsule(write));
        const auto asked = co_await one_.io->next();
        EXPECT_EQ(asked->type(), tcp::PduType::R2t);
        const Outcome preempted = co_await preempt(*two_.io, 0xb, 0xa, Type::WriteExclusive, true);
        EXPECT_EQ(preempted.status, 0);
        const std::vector<std::byte> data(512, std::byte{9});
        const auto r2t = asked->as<tcp::R2t>();
        one_.io->send(one_.io->h2c_data(r2t.cccid, r2t.ttag, 0, data, true));
        const Outcome late = co_await one_.io->finish(0x500);
        EXPECT_EQ(late.code(), StatusCode::ReservationConflict);
        EXPECT_NE(device_.memory()[0], std::byte{9});
        co_await stop();
    });
}

TEST_F(TargetReservationIo, Copy_underWay_endsAtItsNextPiece) {
    run([&]() -> Task<> {
        co_await start();
        co_await reserve();
        device_.hold = true;
        std::vector<std::byte> list(64, std::byte{0});
        list[32 + 8] = std::byte{8};  // the second range's LBA
        spec::Command copy = make_command(0x19, 1, 64, true);
        copy.cdw10 = 100;
        copy.cdw12 = 1;
        copy.cid = 0x500;
        one_.io->send(one_.io->capsule(copy, list));
        while (device_.held_count() == 0) {
            co_await reactor::sleep_for(milliseconds(1));
        }
        send_preempt_and_abort(*two_.io, 0x600);
        co_await expect_silence(*two_.io);
        const std::vector<std::byte> before = device_.memory();
        device_.release();
        const Outcome copied = co_await one_.io->finish(0x500);
        EXPECT_EQ(copied.code(), StatusCode::ReservationConflict);
        EXPECT_EQ(copied.completion.dw0, 0U);
        const Outcome preempted = co_await two_.io->finish(0x600);
        EXPECT_EQ(preempted.status, 0);
        EXPECT_EQ(device_.memory(), before);
        co_await stop();
    });
}

TEST_F(TargetReservationIo, Changes_ofOneNamespace_comeOneAfterTheOther_andReportsInBetween) {
    run([&]() -> Task<> {
        co_await start();
        co_await reserve();
        co_await hold_a_write();
        send_preempt_and_abort(*two_.io, 0x600);
        send(*one_.io, 0x601, IoOpcode::ReservationRegister, 0, 0, 0x1a);
        co_await expect_silence(*one_.io);
        auto third = co_await connect_host(3);
        const Report seen = co_await report(*third.io);
        EXPECT_EQ(seen.controllers.size(), 1U);
        device_.release();
        const Outcome preempted = co_await two_.io->finish(0x600);
        EXPECT_EQ(preempted.status, 0);
        std::vector<std::uint16_t> ended;
        const Outcome registered = co_await one_.io->finish(0x601);
        EXPECT_EQ(registered.status, 0);
        const Report now = co_await report(*third.io);
        EXPECT_EQ(now.controllers.size(), 2U);
        co_await stop();
    });
}

TEST_F(TargetReservationIo, Commands_beyondWhatMayWait_areToldToComeAgain) {
    run([&]() -> Task<> {
        co_await start();
        co_await reserve();
        co_await hold_a_write();
        send_preempt_and_abort(*two_.io, 0x600);
        std::vector<std::unique_ptr<RawHost>> queues;
        constexpr std::uint16_t kEach = 30;
        for (std::uint16_t qid = 2; qid <= 6; ++qid) {
            queues.push_back(co_await io_queue(two_.admin->cntlid, qid, 0, host_options(2)));
            for (std::uint16_t i = 0; i < kEach; ++i) {
                send(*queues.back(), i, IoOpcode::ReservationRegister, 0, 0, 0xb);
            }
        }
        co_await reactor::sleep_for(milliseconds(50));
        device_.release();
        std::size_t done = 0;
        std::size_t put_off = 0;
        for (const auto& queue : queues) {
            for (std::uint16_t i = 0; i < kEach; ++i) {
                const auto pdu = co_await queue->next();
                CHECK(pdu && pdu->type() == tcp::PduType::CapsuleResp);
                const std::uint16_t status = pdu->as<tcp::CapsuleResp>().completion.status();
                done += status == 0 ? 1U : 0U;
                put_off += status == spec::status_field(StatusCode::CommandInterrupted) ? 1U : 0U;
            }
        }
        EXPECT_EQ(done + put_off, 5U * kEach);
        EXPECT_EQ(done, 127U);
        co_await stop();
    });
}

// --- What vanishes meanwhile ---

TEST_F(TargetReservationIo, Host_thatVanishesBeforeItsAnswer_leavesTheChangeBehind) {
    run([&]() -> Task<> {
        co_await start();
        co_await reserve();
        co_await hold_a_write();
        send_preempt_and_abort(*two_.io, 0x600);
        co_await expect_silence(*two_.io);
        two_ = {};
        device_.release();
        const Outcome written = co_await one_.io->finish(0x500);
        EXPECT_EQ(written.status, 0);
        const Outcome refused = co_await write_block(*one_.io, 2);
        EXPECT_EQ(refused.code(), StatusCode::ReservationConflict);
        TestHost back = co_await connect_host(2);
        const Outcome mine = co_await write_block(*back.io, 3);
        EXPECT_EQ(mine.status, 0);
        co_await stop();
    });
}

TEST_F(TargetReservationIo, PreemptedHost_thatVanishesMidWrite_isWaitedForAllTheSame) {
    run([&]() -> Task<> {
        co_await start();
        co_await reserve();
        co_await hold_a_write();
        one_ = {};
        send_preempt_and_abort(*two_.io, 0x600);
        co_await expect_silence(*two_.io);
        device_.release();
        const Outcome preempted = co_await two_.io->finish(0x600);
        EXPECT_EQ(preempted.status, 0);
        co_await stop();
    });
}

TEST_F(TargetReservationIo, Namespace_removedMidCommand_endsBoth) {
    run([&]() -> Task<> {
        limits_.drain = milliseconds(60);
        co_await start();
        co_await reserve();
        co_await hold_a_write();
        send_preempt_and_abort(*two_.io, 0x600);
        send_preempt_and_abort(*two_.io, 0x601);
        co_await reactor::sleep_for(milliseconds(5));
        bool removed = false;
        reactor::Gate gate;
        struct Remover {
            static Task<> run(Target* target, bool* done) {
                const auto gone = co_await target->remove_namespace(kSubsystem, 1);
                EXPECT_TRUE(gone.has_value());
                *done = true;
            }
        };
        EXPECT_TRUE(gate.spawn(&Remover::run, target_.get(), &removed));
        const Outcome first = co_await two_.io->finish(0x600);
        EXPECT_EQ(first.code(), StatusCode::InternalError);
        const Outcome second = co_await two_.io->finish(0x601);  // its key is gone by now
        EXPECT_EQ(second.code(), StatusCode::ReservationConflict);
        EXPECT_FALSE(removed);
        const Outcome after = co_await enroll(*two_.io, 0xb);
        EXPECT_EQ(after.code(), StatusCode::InvalidNamespace);
        device_.release();
        co_await gate.close();
        EXPECT_TRUE(removed);
        EXPECT_EQ(device_.open_channels, 0);
        co_await add_namespace({});
        const Report fresh = co_await report(*two_.io);
        EXPECT_EQ(fresh.controllers.size(), 0U);
        co_await stop();
    });
}

TEST_F(TargetReservationIo, Subsystem_deletedMidCommand_endsAll) {
    run([&]() -> Task<> {
        limits_.drain = milliseconds(60);
        co_await start();
        co_await reserve();
        co_await hold_a_write();
        send_preempt_and_abort(*two_.io, 0x600);
        co_await reactor::sleep_for(milliseconds(5));
        bool deleted = false;
        reactor::Gate gate;
        struct Remover {
            static Task<> run(Target* target, bool* done) {
                const auto gone = co_await target->delete_subsystem(kSubsystem);
                EXPECT_TRUE(gone.has_value());
                *done = true;
            }
        };
        EXPECT_TRUE(gate.spawn(&Remover::run, target_.get(), &deleted));
        co_await reactor::sleep_for(milliseconds(20));
        EXPECT_FALSE(deleted);
        device_.release();
        co_await gate.close();
        EXPECT_TRUE(deleted);
        co_await stop();
    });
}

TEST_F(TargetReservationIo, Stop_midCommand_endsAll) {
    run([&]() -> Task<> {
        limits_.drain = milliseconds(60);
        co_await start();
        co_await reserve();
        co_await hold_a_write();
        send_preempt_and_abort(*two_.io, 0x600);
        post_event_request(*one_.admin, 0x7001);
        co_await reactor::sleep_for(milliseconds(5));
        reactor::Gate gate;
        struct Stopper {
            static Task<> run(Target* target) { co_await target->stop(); }
        };
        EXPECT_TRUE(gate.spawn(&Stopper::run, target_.get()));
        co_await reactor::sleep_for(milliseconds(20));
        device_.release();
        co_await gate.close();
        target_.reset();
        EXPECT_EQ(pool_->in_use(), 0U);
        EXPECT_EQ(device_.open_channels, 0);
    });
}

}  // namespace
}  // namespace remora::test
