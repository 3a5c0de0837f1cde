// SPDX-License-Identifier: Apache-2.0
// Reservations over two data reactors with threads of their own.
#include "reactor/gate.h"
#include "tests/unit/nvme_tcp_target/reservation_fixture.h"
#include "tests/unit/nvme_tcp_target/threads_fixture.h"

namespace remora::test {
namespace {

using Type = ReservationType;

class TargetReservationThreads : public TargetThreads {
  public:
    Task<> start() { return TargetThreads::start(&keeper_); }

    Task<std::unique_ptr<RawHost>> queue(std::uint8_t host, std::uint16_t qid, std::uint16_t id) {
        return TargetThreads::queue(qid, id, host_options(host));
    }

    /// Admin queue and I/O queues on both reactors.
    struct Host {
        std::unique_ptr<RawHost> admin;
        std::vector<std::unique_ptr<RawHost>> ios;
    };
    Task<Host> connect_host(std::uint8_t number) {
        Host host;
        host.admin = co_await queue(number, 0, spec::kDynamicController);
        for (std::uint16_t qid = 1; qid <= 3; ++qid) {
            host.ios.push_back(co_await queue(number, qid, host.admin->cntlid));
        }
        co_return host;
    }

    /// Writes one block over and over until the end is told.
    struct Writer {
        std::uint8_t fill = 0;
        std::uint32_t lba = 0;
        bool end = false;
        std::size_t passed = 0;
        std::size_t refused = 0;

        static Task<> run(Writer* self, RawHost* io) {
            while (!self->end) {
                const Outcome outcome = co_await write_block(*io, self->fill, self->lba);
                if (outcome.status == 0) {
                    ++self->passed;
                } else {
                    EXPECT_EQ(outcome.code(), StatusCode::ReservationConflict);
                    ++self->refused;
                }
            }
        }
    };

    MemoryKeeper keeper_;
};

// Hosts 1 and 2 take the namespace from each other while both write all the time, on queues of both
// reactors, each queue a block of its own. Whoever was answered then writes to the other's blocks
// and reads them on a queue of another reactor, and must find its own data: a write of the other
// that came through later would be there.
TEST_F(TargetReservationThreads, Preempt_underLoad_nothingPassesAfterTheAnswer) {
    run([&]() -> Task<> {
        co_await start();
        std::array<Host, 2> hosts;
        hosts[0] = co_await connect_host(1);
        hosts[1] = co_await connect_host(2);
        std::array<Writer, 4> writers;  // two a host
        reactor::Gate gate;
        for (std::uint32_t i = 0; i < writers.size(); ++i) {
            writers[i].fill = static_cast<std::uint8_t>(i / 2 + 1);
            writers[i].lba = i;
            EXPECT_TRUE(gate.spawn(&Writer::run, &writers[i], hosts[i / 2].ios[i % 2 + 1].get()));
        }
        const Outcome first = co_await enroll(*hosts[0].ios[0], 1, kSetPersist);
        const Outcome held = co_await acquire(*hosts[0].ios[0], 1, Type::WriteExclusive);
        EXPECT_EQ(first.status | held.status, 0);
        for (std::uint64_t round = 0; round < 30; ++round) {
            const std::size_t next = (round + 1) % 2;
            const std::uint64_t key = next + 1;
            const std::uint64_t victim = 3 - key;
            RawHost& io = *hosts[next].ios[0];
            const Outcome registered = co_await enroll(io, key);
            EXPECT_EQ(registered.status, 0);
            const Outcome taken =
                co_await preempt(io, key, victim, Type::WriteExclusive, round % 4 < 2);
            EXPECT_EQ(taken.status, 0);
            for (int look = 0; look < 6; ++look) {
                const Writer& shut_out =
                    writers[(1 - next) * 2 + static_cast<std::size_t>(look % 2)];
                const auto fill = static_cast<std::uint8_t>(key);
                const Outcome written = co_await write_block(io, fill, shut_out.lba);
                EXPECT_EQ(written.status, 0);
                const Outcome read = co_await read_block(*hosts[1 - next].ios[0], shut_out.lba);
                EXPECT_EQ(read.status, 0);
                EXPECT_EQ(read.data[0], std::byte{fill});
                EXPECT_EQ(read.data[511], std::byte{fill});
            }
            const auto kept = keeper_.kept.at({kSubsystem, 1});
            EXPECT_EQ(kept.holder[0], key);
        }
        for (Writer& writer : writers) {
            EXPECT_GT(writer.passed, 0U);
            EXPECT_GT(writer.refused, 0U);
            writer.end = true;
        }
        co_await gate.close();
        co_await stop();
    });
}

TEST_F(TargetReservationThreads, Events_reachControllersOfAnyReactor) {
    run([&]() -> Task<> {
        co_await start();
        std::vector<std::unique_ptr<RawHost>> listeners;
        for (int i = 0; i < 4; ++i) {
            listeners.push_back(co_await queue(1, 0, spec::kDynamicController));
            TargetAdmin::post_event_request(*listeners.back(), 0x7001);
        }
        auto io = co_await queue(1, 1, listeners[0]->cntlid);
        Host doer = co_await connect_host(2);
        const Outcome a = co_await enroll(*io, 0xa);
        const Outcome b = co_await enroll(*doer.ios[0], 0xb);
        const Outcome c = co_await clear(*doer.ios[1], 0xb);
        EXPECT_EQ(a.status | b.status | c.status, 0);
        for (const auto& listener : listeners) {
            const Outcome event = co_await listener->finish(0x7001);
            EXPECT_EQ(event.completion.dw0, spec::kNoticeReservation);
        }
        const Report now = co_await report(*doer.ios[2]);
        EXPECT_EQ(now.controllers.size(), 0U);
        co_await stop();
    });
}

TEST_F(TargetReservationThreads, Namespaces_comeAndGo_whileHostsReserve) {
    run([&]() -> Task<> {
        co_await start();
        for (int round = 0; round < 10; ++round) {
            Host host = co_await connect_host(1);
            Host other = co_await connect_host(2);
            for (std::uint16_t i = 0; i < 12; ++i) {
                for (const auto& io : host.ios) {
                    const spec::ReservationRegisterData keys{0xa, 0xa};
                    spec::Command command = make_command(i % 2 == 0 ? 0x0d : 0x11, 1, 16, true);
                    command.cdw10 = i % 2 == 0 ? kSetPersist : type_bits(Type::WriteExclusive);
                    command.cid = static_cast<std::uint16_t>(500 + i);
                    io->send(io->capsule(command, core::as_bytes_of(keys)));
                }
                const Outcome tried = co_await write_block(*other.ios[i % 3], 1);
                EXPECT_TRUE(tried.status == 0 || tried.code() == StatusCode::ReservationConflict);
            }
            if (round % 2 == 0) {
                host.ios.pop_back();
            }
            const auto removed = co_await target_->remove_namespace(kSubsystem, 1);
            EXPECT_TRUE(removed.has_value());
            EXPECT_EQ(device_.open_channels, 0);
            NamespaceOptions options;
            options.device = &device_;
            const auto added = co_await target_->add_namespace(kSubsystem, options);
            EXPECT_TRUE(added.has_value());
            const Report fresh = co_await report(*other.ios[0]);
            EXPECT_EQ(fresh.header.registered_controllers, 0U);
        }
        co_await stop();
    });
}

}  // namespace
}  // namespace remora::test
