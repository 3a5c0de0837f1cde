// SPDX-License-Identifier: Apache-2.0
// The oracles against the real host and the real target over loopback: nothing that is right may be
// called wrong, with and without digests, under load, resets and restarts of the target.
#include <gtest/gtest.h>

#include "backends/nvme_tcp/remote_controller.h"
#include "backends/ram/ram_device.h"
#include "frontends/nvme_tcp/target.h"
#include "reactor/call.h"
#include "reactor/gate.h"
#include "tests/sim/oracle/block_model.h"
#include "tests/sim/oracle/tcp_relay.h"
#include "tests/support/block_client.h"
#include "tests/support/reactor_fixture.h"

namespace remora::sim {
namespace {

using backends::nvme_tcp::ControllerOptions;
using backends::nvme_tcp::RemoteController;
using backends::ram::RamDevice;
using block::Opcode;
using block::Status;
using frontends::nvme_tcp::Target;
using reactor::Task;
using std::chrono::milliseconds;
using std::chrono::seconds;
using test::AwaitedRequest;
using test::BlockClient;

constexpr std::uint64_t kBlocks = 4096;
constexpr std::uint32_t kMostBlocks = 700;
const std::string kNqn = "nqn.2026-11.example.remora:t";

/// One operation at a time, chosen at random, all under the model's eyes.
class Worker {
  public:
    Worker(BlockClient& client, BlockModel& model, std::uint64_t seed)
        : client_(client), model_(model), prng_(seed) {}

    Task<> run(int operations) {
        for (int i = 0; i < operations; ++i) {
            const auto most = prng_.below(8) == 0 ? kMostBlocks : 16U;
            const auto blocks = static_cast<std::uint32_t>(1 + prng_.below(most));
            co_await one(prng_.below(10), prng_.below(kBlocks - blocks), blocks);
        }
    }

  private:
    Task<> one(std::uint64_t dice, std::uint64_t lba, std::uint32_t blocks) {
        std::vector<std::byte> data(dice < 8 ? std::size_t{blocks} * 512 : 0);
        const core::Segment segment{data.data(), data.size()};
        const std::span<const core::Segment> segments(&segment, data.empty() ? 0 : 1);
        if (dice < 4) {
            const auto op = model_.begin_write(lba, blocks, data);
            const Status status = co_await client_.perform(Opcode::Write, lba, blocks, segments);
            model_.end(op, end_of(status));
        } else if (dice < 8) {
            const auto op = model_.begin_read(lba, blocks);
            const Status status = co_await client_.perform(Opcode::Read, lba, blocks, segments);
            model_.end_read(op, end_of(status), data);
        } else if (dice == 8) {
            const auto op = model_.begin_flush();
            const Status status = co_await client_.perform(Opcode::Flush, 0, 0);
            model_.end(op, end_of(status));
        } else {
            const bool discard = prng_.below(2) == 0;
            const auto op = model_.begin_zero(lba, blocks, discard);
            const Status status = co_await client_.perform(
                discard ? Opcode::Discard : Opcode::WriteZeroes, lba, blocks);
            model_.end(op, end_of(status));
        }
    }
    static VolumeOracle::End end_of(Status status) {
        return status == Status::Ok ? VolumeOracle::End::Ok : VolumeOracle::End::Failed;
    }

    BlockClient& client_;
    BlockModel& model_;
    core::Prng prng_;
};

class RealPairTest : public test::ReactorFixture {
  public:
    RealPairTest()
        : pool_(std::move(*memory::BufferPool::create(std::size_t{64} << 20U))),
          context_{reactor(), *pool_} {
        core::Uuid uuid;
        uuid.bytes.fill(0x11);
        ram_ = std::move(*RamDevice::create("ram", uuid, 512, kBlocks));
    }

    Task<> start_target() {
        frontends::nvme_tcp::TargetLimits limits;
        limits.max_h2c_data = 65536;  // a large write takes several H2CData
        target_ = std::make_unique<Target>(std::span(&context_, 1), reactor(), limits);
        frontends::nvme_tcp::SubsystemOptions subsystem;
        subsystem.nqn = kNqn;
        const auto made = co_await target_->create_subsystem(subsystem);
        CHECK(made.has_value());
        frontends::nvme_tcp::NamespaceOptions space;
        space.nsid = 1;
        space.device = ram_.get();
        const auto added = co_await target_->add_namespace(kNqn, space);
        CHECK(added.has_value());
        const auto at = co_await target_->add_listener(kNqn, endpoint_);
        CHECK(at.has_value());
        endpoint_ = *at;
    }
    Task<> stop_target() {
        co_await target_->stop();
        target_.reset();
    }
    void start_relay() {
        CheckerOptions options{.name = "loopback"};
        options.block_size = 512;
        options.io_in_capsule = frontends::nvme_tcp::TargetLimits{}.in_capsule_bytes;
        relay_ = std::make_unique<TcpRelay>(reactor(), endpoint_, options, report());
    }
    Task<> start_host(bool header_digest, bool data_digest) {
        ControllerOptions with;
        with.name = "r";
        with.endpoint = relay_->endpoint();
        with.subnqn = kNqn;
        with.hostnqn = "nqn.2026-11.example.remora:host";
        with.hostid.bytes.fill(9);
        with.header_digest = header_digest;
        with.data_digest = data_digest;
        with.timing.backoff_max = milliseconds(100);
        host_ = std::move(*RemoteController::create(with, std::span(&context_, 1), reactor()));
        const auto ready = co_await host_->wait_ready(seconds(5));
        CHECK(ready.has_value());
    }
    Task<> stop_all() {
        co_await host_->stop();
        host_.reset();
        co_await stop_target();
        relay_->final_check();
    }
    std::function<void(std::string)> report() {
        return [this](std::string text) { violations.push_back(std::move(text)); };
    }
    /// `depth` workers on one channel while `meanwhile` happens, until all are done.
    template <typename F>
    Task<> work(std::size_t depth, int operations, F meanwhile) {
        BlockModel model(
            {.volume_id = 1, .seed = 2, .block_size = 512, .blocks = kBlocks},
            [this] { return reactor().now(); }, report());
        auto channel = host_->device(1)->open_channel();
        BlockClient client(**channel);
        std::vector<std::unique_ptr<Worker>> workers;
        reactor::Gate gate;
        std::size_t running = depth;
        for (std::size_t i = 0; i < depth; ++i) {
            workers.push_back(std::make_unique<Worker>(client, model, i + 1));
            gate.spawn(
                [](Worker* worker, int count, std::size_t* left) -> Task<> {
                    co_await worker->run(count);
                    --*left;
                },
                workers.back().get(), operations, &running);
        }
        co_await meanwhile(running);
        co_await gate.close();
        EXPECT_TRUE(model.final_check());
        EXPECT_EQ(model.stats().failed, 0U);
        EXPECT_GT(model.stats().blocks_checked, 0U);
        co_await zero_all(client);
    }
    /// The next model expects a new volume.
    static Task<> zero_all(BlockClient& client) {
        const Status status = co_await client.perform(Opcode::WriteZeroes, 0, kBlocks);
        EXPECT_EQ(status, Status::Ok);
    }
    void expect_no_violation() { EXPECT_TRUE(violations.empty()) << violations.front(); }

    std::vector<std::string> violations;

  protected:
    std::unique_ptr<memory::BufferPool> pool_;
    block::ReactorContext context_;
    std::unique_ptr<RamDevice> ram_;
    std::unique_ptr<Target> target_;
    std::unique_ptr<TcpRelay> relay_;
    std::unique_ptr<RemoteController> host_;
    reactor::Endpoint endpoint_ = reactor::Endpoint::tcp("127.0.0.1", 0);
};

TEST_F(RealPairTest, Load_ofEveryKind_isAccepted) {
    run(
        [this]() -> Task<> {
            for (unsigned digests = 0; digests < 4; ++digests) {
                co_await start_target();
                start_relay();
                co_await start_host((digests & 1U) != 0, (digests & 2U) != 0);
                for (const std::size_t depth : {1U, 16U, 160U}) {
                    const int each = depth > 100 ? 6 : 20;
                    co_await work(depth, each,
                                  [](std::size_t& /*running*/) -> Task<> { co_return; });
                }
                CheckerStats sum;
                relay_->for_each([&sum](const NvmeTcpChecker& checker) {
                    const CheckerStats& one = checker.stats();
                    for (std::size_t type = 0; type < layout::kTypes; ++type) {
                        sum.pdus[type] += one.pdus[type];
                    }
                    sum.success_flags += one.success_flags;
                    sum.in_capsule += one.in_capsule;
                    sum.max_outstanding = std::max(sum.max_outstanding, one.max_outstanding);
                });
                EXPECT_GT(sum.pdus[layout::kR2t], 50U);
                EXPECT_GT(sum.pdus[layout::kH2cData], 2 * sum.pdus[layout::kR2t]);
                EXPECT_GT(sum.pdus[layout::kC2hData], 100U);
                EXPECT_GT(sum.success_flags, 100U);
                EXPECT_GT(sum.in_capsule, 100U);
                EXPECT_GT(sum.max_outstanding, 60U);
                co_await stop_all();
                expect_no_violation();
            }
        },
        seconds(60));
}

TEST_F(RealPairTest, Target_stopsAndStartsUnderLoad_isAccepted) {
    run(
        [this]() -> Task<> {
            co_await start_target();
            start_relay();
            co_await start_host(true, true);
            co_await work(64, 25, [this](std::size_t& running) -> Task<> {
                for (int i = 0; i < 4 && running > 0; ++i) {
                    co_await reactor::sleep_for(milliseconds(20));
                    co_await stop_target();
                    co_await reactor::sleep_for(milliseconds(5));
                    co_await start_target();
                }
            });
            EXPECT_GE(host_->status().reconnects, 1U);
            co_await stop_all();
            expect_no_violation();
        },
        seconds(60));
}

TEST_F(RealPairTest, Reset_underLoad_isAccepted) {
    run(
        [this]() -> Task<> {
            co_await start_target();
            start_relay();
            co_await start_host(false, false);
            co_await work(64, 25, [this](std::size_t& running) -> Task<> {
                for (int i = 0; i < 4 && running > 0; ++i) {
                    co_await reactor::sleep_for(milliseconds(10));
                    co_await host_->reset();
                }
            });
            EXPECT_GE(host_->status().reconnects, 1U);
            co_await stop_all();
            expect_no_violation();
        },
        seconds(60));
}

}  // namespace
}  // namespace remora::sim
