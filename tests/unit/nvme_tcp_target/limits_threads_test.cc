// SPDX-License-Identifier: Apache-2.0
// The limits of one way to a subsystem (a listener, OPI's NVMe controller), over two reactors with
// threads of their own: what they hold, and what they leave alone.
#include "reactor/call.h"
#include "services/qos/qos_stage.h"
#include "tests/unit/nvme_tcp_target/threads_fixture.h"

namespace remora::test {
namespace {

using namespace std::chrono_literals;
using services::qos::QosStage;
using services::qos::Rates;

constexpr std::uint16_t kDepth = 31;

class TargetLimit : public TargetThreads {
  public:
    /// The listener's, or `at`'s.
    Task<> limit(Rates rates) {
        stage->set_rates(rates);
        const auto put = co_await target_->put_stage(kSubsystem, endpoint_, stage);
        EXPECT_TRUE(put.has_value());
        for (const auto& thread : threads_) {
            co_await reactor::call_on(thread->reactor(), [this] { stage->show_rates(); });
        }
    }
    Task<std::uint64_t> throttled_ns() {
        std::uint64_t sum = 0;
        for (const auto& thread : threads_) {
            sum += co_await reactor::call_on(thread->reactor(),
                                             [this] { return stage->throttled_ns_here(); });
        }
        co_return sum;
    }
    /// A controller with queues on both reactors.
    Task<> connect(std::uint16_t queues) {
        admin = co_await queue(0, spec::kDynamicController);
        for (std::uint16_t qid = 1; qid <= queues; ++qid) {
            ios.push_back(co_await queue(qid, admin->cntlid));
        }
    }
    /// On every queue at once.
    void send_reads(std::uint16_t first_cid, std::uint32_t nsid = 1) {
        for (const auto& io : ios) {
            std::vector<std::byte> all;
            for (std::uint16_t i = 0; i < kDepth; ++i) {
                spec::Command read = make_rw(IoOpcode::Read, i, 1, false, nsid);
                read.cid = static_cast<std::uint16_t>(first_cid + i);
                const auto one = io->capsule(read);
                all.insert(all.end(), one.begin(), one.end());
            }
            io->send(all);
        }
    }
    Task<> finish_reads(std::uint16_t first_cid) {
        for (const auto& io : ios) {
            for (std::uint16_t i = 0; i < kDepth; ++i) {
                const Outcome outcome =
                    co_await io->finish(static_cast<std::uint16_t>(first_cid + i));
                EXPECT_EQ(outcome.status, 0);
            }
        }
    }
    Task<core::Nanos> time_reads(std::uint16_t first_cid, std::uint32_t nsid = 1) {
        const core::Nanos before = clock_now();
        send_reads(first_cid, nsid);
        co_await finish_reads(first_cid);
        co_return clock_now() - before;
    }
    static core::Nanos clock_now() { return std::chrono::steady_clock::now().time_since_epoch(); }

    std::shared_ptr<QosStage> stage = std::make_shared<QosStage>();
    std::unique_ptr<RawHost> admin;
    std::vector<std::unique_ptr<RawHost>> ios;
};

TEST_F(TargetLimit, AllQueues_shareOneLimit_changedLive) {
    run([&]() -> Task<> {
        co_await start();
        co_await connect(4);
        co_await limit({.read_ops = 1000});
        const core::Nanos limited = co_await time_reads(100);
        // 124 reads, of which the credit lets five go at once.
        EXPECT_GE(limited, 118ms - services::qos::Limiter::kCredit);
        const std::uint64_t held = co_await throttled_ns();
        EXPECT_GT(held, 1'000'000'000U) << "124 reads that waited for 60 ms on the average";

        co_await limit({});
        (void)co_await time_reads(200);
        EXPECT_EQ(co_await throttled_ns(), held);
        co_await stop();
    });
}

TEST_F(TargetLimit, OtherListener_isUntouched) {
    run([&]() -> Task<> {
        co_await start();
        co_await limit({.all_ops = 1});
        const auto other =
            co_await target_->add_listener(kSubsystem, reactor::Endpoint::tcp("127.0.0.1", 0));
        EXPECT_TRUE(other.has_value());
        endpoint_ = *other;
        co_await connect(2);
        (void)co_await time_reads(100);
        EXPECT_EQ(co_await throttled_ns(), 0U);
        co_await stop();
    });
}

TEST_F(TargetLimit, AllNamespaces_shareIt_alsoOneThatComesLater) {
    run([&]() -> Task<> {
        co_await start();
        co_await limit({.all_ops = 1000});
        MemoryDevice second("second");
        NamespaceOptions options;
        options.device = &second;
        const auto nsid = co_await target_->add_namespace(kSubsystem, options);
        EXPECT_TRUE(nsid.has_value());
        co_await connect(2);
        const core::Nanos before = clock_now();
        send_reads(100, 1);
        co_await finish_reads(100);
        send_reads(200, *nsid);
        co_await finish_reads(200);
        EXPECT_GE(clock_now() - before, 118ms - services::qos::Limiter::kCredit);
        co_await stop();
        EXPECT_EQ(second.open_channels, 0);
    });
}

TEST_F(TargetLimit, NamespaceThatGoes_letsGoWhatWaits) {
    run([&]() -> Task<> {
        co_await start();
        co_await connect(2);
        co_await limit({.all_ops = 1});
        send_reads(100);
        (void)co_await reactor::sleep_for(20ms);
        const core::Nanos before = clock_now();
        const auto removed = co_await target_->remove_namespace(kSubsystem, 1);
        EXPECT_TRUE(removed.has_value());
        EXPECT_LT(clock_now() - before, 20s) << "the limit takes a minute for them";
        co_await finish_reads(100);
        co_await target_->stop();
        target_.reset();
        EXPECT_EQ(device_.open_channels, 0);
    });
}

TEST_F(TargetLimit, ClosedListener_keepsItsStageForThoseConnected) {
    run([&]() -> Task<> {
        co_await start();
        co_await connect(2);
        co_await limit({.all_ops = 1000});
        const std::weak_ptr<QosStage> kept = stage;
        const auto removed = co_await target_->remove_listener(kSubsystem, endpoint_);
        EXPECT_TRUE(removed.has_value());
        stage.reset();
        (void)co_await time_reads(100);
        EXPECT_FALSE(kept.expired());
        ios.clear();
        admin.reset();
        while (!kept.expired()) {
            co_await reactor::sleep_for(1ms);  // the test's limit ends it
        }
        co_await stop();
    });
}

TEST_F(TargetLimit, UnknownListener_isNotFound) {
    run([&]() -> Task<> {
        co_await start();
        const auto nowhere =
            co_await target_->put_stage(kSubsystem, reactor::Endpoint::tcp("127.0.0.1", 1), stage);
        EXPECT_FALSE(nowhere.has_value());
        co_await stop();
    });
}

}  // namespace
}  // namespace remora::test
