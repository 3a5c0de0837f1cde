// SPDX-License-Identifier: Apache-2.0
// Fused Compare and Write over two data reactors with threads of their own.
#include "reactor/gate.h"
#include "tests/unit/nvme_tcp_target/fused_fixture.h"
#include "tests/unit/nvme_tcp_target/threads_fixture.h"

namespace remora::test {
namespace {

class TargetFusedThreads : public TargetThreads {
  public:
    /// Counts up a block of its own host's queue by compare and write. Who fails knows that the
    /// counter has gone on and tries the next number, so nobody needs to read.
    struct Counter {
        std::uint64_t value = 0;
        int successes = 0;
        int failures = 0;

        static Task<> run(Counter* self, RawHost* io, int until) {
            while (self->successes < until) {
                const PairOutcome outcome = co_await swap(
                    *io, make_pair(0, block_of(self->value), block_of(self->value + 1)));
                ++self->value;
                if (outcome.compare == 0) {
                    EXPECT_EQ(outcome.write, 0);
                    ++self->successes;
                } else {
                    EXPECT_EQ(outcome.compare_code(), StatusCode::CompareFailure);
                    EXPECT_EQ(outcome.write_code(), StatusCode::FailedFusedCommand);
                    ++self->failures;
                }
                if (outcome.compare == 0xffff) {
                    co_return;
                }
            }
        }
    };
    struct Writer {
        bool end = false;
        int written = 0;

        static Task<> run(Writer* self, RawHost* io, std::uint64_t lba) {
            while (!self->end) {
                const Outcome outcome =
                    co_await io->perform(make_rw(IoOpcode::Write, lba, 1, true), block_of(1));
                EXPECT_EQ(outcome.status, 0);
                ++self->written;
            }
        }
    };

    std::uint64_t counted() {
        std::uint64_t value = 0;
        std::memcpy(&value, device_.memory().data(), sizeof(value));
        return value;
    }
    /// Admin queue and three I/O queues, on both reactors.
    struct Host {
        std::unique_ptr<RawHost> admin;
        std::vector<std::unique_ptr<RawHost>> ios;
    };
    Task<Host> connect_host(std::uint8_t number) {
        Host host;
        host.admin = co_await queue(0, spec::kDynamicController, host_options(number));
        for (std::uint16_t qid = 1; qid <= 3; ++qid) {
            host.ios.push_back(co_await queue(qid, host.admin->cntlid, host_options(number)));
        }
        co_return host;
    }
};

TEST_F(TargetFusedThreads, CounterOfTwoHosts_losesNoUpdate) {
    run([&]() -> Task<> {
        co_await start();
        Host one = co_await connect_host(1);
        Host two = co_await connect_host(2);
        std::array<Counter, 4> counters;
        std::array<Writer, 2> writers;
        reactor::Gate gate;
        constexpr int kEach = 60;
        for (std::size_t i = 0; i < counters.size(); ++i) {
            RawHost* io = (i < 2 ? one : two).ios[i % 2].get();
            EXPECT_TRUE(gate.spawn(&Counter::run, &counters[i], io, kEach));
        }
        for (std::size_t i = 0; i < writers.size(); ++i) {  // beside the counter
            RawHost* io = (i == 0 ? one : two).ios[2].get();
            EXPECT_TRUE(gate.spawn(&Writer::run, &writers[i], io, 1 + i));
        }
        while (
            std::ranges::any_of(counters, [](const Counter& c) { return c.successes < kEach; })) {
            co_await reactor::sleep_for(std::chrono::milliseconds(5));
        }
        int failures = 0;
        for (const Counter& counter : counters) {
            failures += counter.failures;
        }
        for (Writer& writer : writers) {
            EXPECT_GT(writer.written, 0);
            writer.end = true;
        }
        co_await gate.close();
        EXPECT_GT(failures, 0);  // they did meet
        co_await stop();
        EXPECT_EQ(counted(), counters.size() * kEach);
    });
}

// ThreadSanitizer sees whether a plain write of one reactor meets a pair of the other.
TEST_F(TargetFusedThreads, PlainWritesToItsBlocks_neverMeetAPair) {
    run([&]() -> Task<> {
        co_await start();
        Host host = co_await connect_host(1);
        const TargetStats stats = co_await target_->stats();
        std::map<std::uint16_t, std::uint32_t> reactor_of;
        for (const auto& connection : stats.connections) {
            reactor_of[connection.qid] = connection.reactor;
        }
        EXPECT_NE(reactor_of[1], reactor_of[2]);
        Writer writer;
        reactor::Gate gate;
        EXPECT_TRUE(gate.spawn(&Writer::run, &writer, host.ios[0].get(), std::uint64_t{0}));
        for (int i = 0; i < 100; ++i) {
            const PairOutcome outcome =
                co_await swap(*host.ios[1], make_pair(0, block_of(1), block_of(2)));
            EXPECT_TRUE((outcome.compare == 0 && outcome.write == 0) ||
                        outcome.compare_code() == StatusCode::CompareFailure);
        }
        EXPECT_GT(writer.written, 0);
        writer.end = true;
        co_await gate.close();
        co_await stop();
    });
}

TEST_F(TargetFusedThreads, HostsAndNamespaces_comeAndGo_withPairsUnderWay) {
    run([&]() -> Task<> {
        co_await start();
        for (int round = 0; round < 10; ++round) {
            Host host = co_await connect_host(1);
            Host other = co_await connect_host(2);
            const FusedPair pair = make_pair(0, block_of(0), block_of(0));
            for (int i = 0; i < 8; ++i) {
                for (const auto& io : host.ios) {
                    send_pair(*io, pair);
                }
                send_pair(*other.ios[0], pair);
                spec::Command write = make_rw(IoOpcode::Write, 0, 1, true);
                write.cid = 0x6001;
                send_command(*other.ios[0], write, block_of(0));
            }
            if (round % 2 == 0) {
                host.ios.pop_back();
            }
            const auto removed = co_await target_->remove_namespace(kSubsystem, 1);
            EXPECT_TRUE(removed.has_value());
            EXPECT_EQ(device_.open_channels, 0);
            const PairOutcome ended = co_await finish_pair(*other.ios[0], pair, 24);
            EXPECT_NE(ended.compare, 0xffff);
            EXPECT_NE(ended.write, 0xffff);
            NamespaceOptions options;
            options.device = &device_;
            const auto added = co_await target_->add_namespace(kSubsystem, options);
            EXPECT_TRUE(added.has_value());
            const PairOutcome fresh = co_await swap(*other.ios[1], pair);
            EXPECT_EQ(fresh.compare | fresh.write, 0);
            send_pair(*other.ios[2], pair);
        }
        co_await stop();
    });
}

}  // namespace
}  // namespace remora::test
