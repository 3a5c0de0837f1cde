// SPDX-License-Identifier: Apache-2.0
// TcpLoop: our host on our target's null volume, over loopback, both on one reactor: in step, and
// so the same system calls and nearly the same instructions in each run.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "backends/null/null_device.h"
#include "backends/nvme_tcp/remote_controller.h"
#include "frontends/nvme_tcp/target.h"
#include "memory/buffer_pool.h"
#include "tests/support/one_reactor.h"

namespace remora::test {

/// Keeps `depth` requests under way until `operations` have been done.
class Load final : private block::Completer {
  public:
    Load(block::Channel& channel, block::Opcode opcode, std::size_t depth, std::size_t operations)
        : channel_(channel),
          requests_(depth),
          segments_(depth),
          memory_(depth * kBytes),
          left_(operations) {
        for (std::size_t i = 0; i < depth; ++i) {
            segments_[i] = {memory_.data() + i * kBytes, kBytes};
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

    static constexpr std::uint32_t kBlocks = 8;
    static constexpr std::size_t kBytes = std::size_t{kBlocks} * 512;

    block::Channel& channel_;
    std::vector<block::Request> requests_;
    std::vector<core::Segment> segments_;
    std::vector<std::byte> memory_;
    std::size_t left_;
    std::size_t outstanding_ = 0;
    std::size_t failures_ = 0;
};

class TcpLoop {
  public:
    /// The reactor outlives it.
    explicit TcpLoop(OneReactor& on)
        : on_(on), pool_(std::move(*memory::BufferPool::create(std::size_t{16} << 20U))) {
        const block::ReactorContext context{on_.reactor(), *pool_};
        target_ =
            std::make_unique<frontends::nvme_tcp::Target>(std::span(&context, 1), on_.reactor());
        null_ = std::move(*backends::null::NullDevice::create("null", {}, 512, 1U << 20U));
        on_.run([&]() -> reactor::Task<> { co_await connect(context); });
    }
    TcpLoop(const TcpLoop&) = delete;
    TcpLoop& operator=(const TcpLoop&) = delete;
    ~TcpLoop() {
        on_.run([&]() -> reactor::Task<> {
            channel_.reset();
            co_await host_->stop();
            host_.reset();
            co_await target_->stop();
        });
    }

    /// Runs so many requests of 4 KiB, `depth` at once; how many failed.
    std::size_t load(block::Opcode opcode, std::size_t depth, std::size_t operations) {
        Load load(*channel_, opcode, depth, operations);
        on_.reactor().post_function([&] { load.start(); });
        on_.turn();
        on_.turn_until([&] { return load.idle(); }, std::chrono::minutes(2));
        return load.failures();
    }

    /// The target's counters of the I/O queue's connection.
    frontends::nvme_tcp::ConnectionStats counters() {
        frontends::nvme_tcp::ConnectionStats found;
        on_.run([&]() -> reactor::Task<> {
            const auto stats = co_await target_->stats();
            for (const auto& connection : stats.connections) {
                found = connection.qid != 0 ? connection : found;
            }
        });
        return found;
    }

  private:
    reactor::Task<> connect(block::ReactorContext context) {
        static constexpr const char* kSubsystem = "nqn.2026-11.example.remora:loop";
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
            with, std::span(&context, 1), on_.reactor()));
        const auto ready = co_await host_->wait_ready(std::chrono::seconds(20));
        CHECK(ready.has_value());
        channel_ = std::move(*host_->device(*nsid)->open_channel());
    }

    OneReactor& on_;
    std::unique_ptr<memory::BufferPool> pool_;
    std::unique_ptr<frontends::nvme_tcp::Target> target_;
    std::unique_ptr<block::Device> null_;
    std::unique_ptr<backends::nvme_tcp::RemoteController> host_;
    std::unique_ptr<block::Channel> channel_;
};

}  // namespace remora::test
