// SPDX-License-Identifier: Apache-2.0
// How much one system call moves: with host and target on one reactor a round of requests is one
// gathered send and one receive a side, whatever the depth. A change that sends answer by answer,
// or asks a drained socket again, shows here and not as noise of a benchmark.
#include <array>
#include <memory>
#include <vector>

#include "backends/null/null_device.h"
#include "backends/nvme_tcp/remote_controller.h"
#include "frontends/nvme_tcp/target.h"
#include "memory/buffer_pool.h"
#include "tests/support/reactor_fixture.h"

namespace remora::test {
namespace {

using reactor::Task;

constexpr std::uint32_t kBlocks = 8;
const char* const kSubsystem = "nqn.2026-11.example.remora:b";

/// Keeps `depth` requests under way until `operations` have been done.
class Load final : private block::Completer {
  public:
    Load(block::Channel& channel, block::Opcode opcode, std::size_t depth, std::size_t operations)
        : channel_(channel),
          requests_(depth),
          segments_(depth),
          memory_(depth * kBlocks * 512),
          left_(operations) {
        for (std::size_t i = 0; i < depth; ++i) {
            segments_[i] = {memory_.data() + i * kBlocks * 512, std::size_t{kBlocks} * 512};
            requests_[i].opcode = opcode;
            requests_[i].lba = i * kBlocks;
            requests_[i].block_count = kBlocks;
            requests_[i].data = std::span(&segments_[i], 1);
        }
    }
    Load(const Load&) = delete;
    Load& operator=(const Load&) = delete;
    virtual ~Load() = default;

    void start() {
        block::RequestBatch batch;
        for (block::Request& request : requests_) {
            request.push_frame(*this);
            batch.push_back(request);
        }
        outstanding_ = requests_.size();
        left_ -= outstanding_;
        channel_.submit(batch);
    }
    [[nodiscard]] bool idle() const { return outstanding_ == 0; }
    [[nodiscard]] std::size_t failures() const { return failures_; }

  private:
    void complete(block::RequestBatch& batch) override {
        block::RequestBatch again;
        while (block::Request* request = batch.pop_front()) {
            failures_ += request->status == block::Status::Ok ? 0 : 1;
            if (left_ > 0) {
                --left_;
                again.push_back(*request);
            } else {
                request->pop_frame();
                --outstanding_;
            }
        }
        if (!again.empty()) {
            channel_.submit(again);
        }
    }

    block::Channel& channel_;
    std::vector<block::Request> requests_;
    std::vector<core::Segment> segments_;
    std::vector<std::byte> memory_;
    std::size_t left_;
    std::size_t outstanding_ = 0;
    std::size_t failures_ = 0;
};

class BatchingTest : public ReactorFixture {
  public:
    BatchingTest() : pool_(std::move(*memory::BufferPool::create(std::size_t{16} << 20U))) {
        const block::ReactorContext context{reactor(), *pool_};
        target_ = std::make_unique<frontends::nvme_tcp::Target>(std::span(&context, 1), reactor());
        null_ = std::move(*backends::null::NullDevice::create("null", {}, 512, 1U << 20U));
        run([&]() -> Task<> {
            frontends::nvme_tcp::SubsystemOptions subsystem;
            subsystem.nqn = kSubsystem;
            const auto made = co_await target_->create_subsystem(subsystem);
            CHECK(made.has_value());
            frontends::nvme_tcp::NamespaceOptions space;
            space.device = null_.get();
            space.uuid.bytes.fill(1);
            const auto nsid = co_await target_->add_namespace(kSubsystem, space);
            CHECK(nsid.has_value());
            const auto at =
                co_await target_->add_listener(kSubsystem, reactor::Endpoint::tcp("127.0.0.1", 0));
            CHECK(at.has_value());
            backends::nvme_tcp::ControllerOptions with;
            with.name = "r";
            with.endpoint = *at;
            with.subnqn = kSubsystem;
            with.hostnqn = "nqn.2026-11.example.remora:host";
            with.queue_size = 256;
            with.timing.keep_alive = std::chrono::seconds(60);
            host_ = std::move(*backends::nvme_tcp::RemoteController::create(
                with, std::span(&context, 1), reactor()));
            const auto ready = co_await host_->wait_ready(std::chrono::seconds(5));
            CHECK(ready.has_value());
            channel_ = std::move(*host_->device(*nsid)->open_channel());
        });
    }
    ~BatchingTest() override {
        run([&]() -> Task<> {
            channel_.reset();
            co_await host_->stop();
            host_.reset();
            co_await target_->stop();
        });
    }

    /// Counters of the I/O queue's connection.
    frontends::nvme_tcp::ConnectionStats counters() {
        frontends::nvme_tcp::ConnectionStats found;
        run([&]() -> Task<> {
            const auto stats = co_await target_->stats();
            for (const auto& connection : stats.connections) {
                found = connection.qid != 0 ? connection : found;
            }
        });
        return found;
    }

    /// System calls of the target's side for each `depth` requests, once they are in step.
    struct Calls {
        double sends = 0;
        double receives = 0;
        double pdus_a_send = 0;
    };
    Calls calls_of(block::Opcode opcode, std::size_t depth) {
        constexpr std::size_t kRounds = 200;
        const auto before = counters();
        Load load(*channel_, opcode, depth, kRounds * depth);
        reactor().post_function([&] { load.start(); });
        turn();
        turn_until([&] { return load.idle(); });
        EXPECT_EQ(load.failures(), 0U);
        const auto after = counters();
        const auto sends = static_cast<double>(after.send_calls - before.send_calls);
        return {sends / kRounds,
                static_cast<double>(after.recv_calls - before.recv_calls) / kRounds,
                static_cast<double>(after.send_pdus - before.send_pdus) / sends};
    }

  private:
    std::unique_ptr<memory::BufferPool> pool_;
    std::unique_ptr<frontends::nvme_tcp::Target> target_;
    std::unique_ptr<block::Device> null_;
    std::unique_ptr<backends::nvme_tcp::RemoteController> host_;
    std::unique_ptr<block::Channel> channel_;
};

TEST_F(BatchingTest, OneRequestAtATime_isOneSendAndOneReceive) {
    for (const auto opcode : {block::Opcode::Read, block::Opcode::Write}) {
        const Calls calls = calls_of(opcode, 1);
        EXPECT_LE(calls.sends, 1.05);
        EXPECT_LE(calls.receives, 1.05);
    }
}

TEST_F(BatchingTest, ManyRequests_leaveTogether) {
    for (const auto opcode : {block::Opcode::Read, block::Opcode::Write}) {
        for (const std::size_t depth : {std::size_t{32}, std::size_t{128}}) {
            SCOPED_TRACE(depth);
            const Calls calls = calls_of(opcode, depth);
            // A send takes up to 64 PDUs, and what the socket's buffer has room for.
            const double least = static_cast<double>(depth) / 64;
            EXPECT_LE(calls.sends, std::max(1.0, least) + 2);
            EXPECT_LE(calls.receives, std::max(1.0, least) + 4);
            EXPECT_GE(calls.pdus_a_send, depth == 32 ? 10.0 : 30.0);
            RecordProperty("sends", std::to_string(calls.sends));
        }
    }
}

}  // namespace
}  // namespace remora::test
