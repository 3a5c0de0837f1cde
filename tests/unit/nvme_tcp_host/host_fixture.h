// SPDX-License-Identifier: Apache-2.0
// HostFixture: a fake target, a remote controller connected to it and a client of its first volume,
// all on the test's reactor.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backends/nvme_tcp/remote_controller.h"
#include "memory/buffer_pool.h"
#include "reactor/call.h"
#include "tests/support/block_client.h"
#include "tests/support/reactor_fixture.h"
#include "tests/unit/nvme_tcp_host/fake_target.h"

namespace remora::test {

using backends::nvme_tcp::ControllerOptions;
using backends::nvme_tcp::PathState;
using backends::nvme_tcp::RemoteController;
using block::Opcode;
using block::Status;
using core::Segment;
using reactor::Task;

inline Segment segment_of(std::vector<std::byte>& bytes) {
    return {bytes.data(), bytes.size()};
}

/// A request with memory of its own.
struct OwnedRequest {
    OwnedRequest(Opcode opcode,
                 std::uint64_t lba,
                 std::uint32_t blocks,
                 std::vector<std::byte> bytes)
        : data(std::move(bytes)), segment(segment_of(data)) {
        request.opcode = opcode;
        request.lba = lba;
        request.block_count = blocks;
        request.data = std::span(&segment, 1);
    }
    OwnedRequest(const OwnedRequest&) = delete;
    OwnedRequest& operator=(const OwnedRequest&) = delete;
    std::vector<std::byte> data;
    Segment segment;
    AwaitedRequest request;
};

/// What the fixtures of a host share, whatever the number of its targets.
class AnyHostFixture : public ReactorFixture {
  public:
    /// Short waits, so that the tests of time-outs are short, too.
    [[nodiscard]] static backends::nvme_tcp::Timing short_timing() {
        backends::nvme_tcp::Timing timing;
        timing.connect_timeout = std::chrono::milliseconds(500);
        timing.close_linger = std::chrono::milliseconds(100);
        timing.resend_hold = std::chrono::milliseconds(300);
        timing.backoff_min = std::chrono::milliseconds(5);
        timing.backoff_max = std::chrono::milliseconds(100);
        timing.retry_delay = std::chrono::milliseconds(10);
        timing.path_timeout = std::chrono::seconds(10);
        return timing;
    }

    /// Runs `body` with a client of the device.
    template <typename F>
    static Task<> with_client(block::Device* device, F& body) {
        auto channel = device->open_channel();
        CHECK(channel.has_value());
        BlockClient client(**channel);
        co_await body(client);
        channel->reset();
    }

    /// Turns until `condition()`, from within a body; fails the test after five seconds.
    template <typename C>
    Task<> until(C condition) {
        const core::Nanos deadline = reactor().now() + std::chrono::seconds(5);
        while (!condition()) {
            if (reactor().now() > deadline) {
                ADD_FAILURE() << "condition not reached in time";
                co_return;
            }
            co_await reactor::sleep_for(std::chrono::milliseconds(1));
        }
    }
};

class HostFixture : public AnyHostFixture {
  public:
    HostFixture() : pool_(std::move(*memory::BufferPool::create(1 << 20))), target(reactor()) {
        target.add_namespace(1);
    }

    /// Whether the controller showed it when it was last asked.
    [[nodiscard]] bool present(std::uint32_t nsid) const {
        for (const auto& space : controller->status().namespaces) {
            if (space.nsid == nsid) {
                return space.present;
            }
        }
        return false;
    }

    [[nodiscard]] ControllerOptions options() const {
        ControllerOptions out;
        out.name = "r";
        out.endpoint = target.endpoint();
        out.subnqn = target.subnqn;
        out.hostnqn = "nqn.2024-01.org.example:host";
        out.hostid.bytes.fill(9);
        out.timing = short_timing();
        return out;
    }

    void make(ControllerOptions with) {
        const block::ReactorContext context{reactor(), *pool_};
        auto made = RemoteController::create(std::move(with), std::span(&context, 1), reactor());
        CHECK(made.has_value());
        controller = std::move(*made);
    }

    /// Runs `body()` with a live controller and a client of its volume 1, then takes all down.
    template <typename F>
    void with_volume(ControllerOptions with, F body) {
        run([&]() -> Task<> {
            make(std::move(with));
            const auto ready = co_await controller->wait_ready(std::chrono::seconds(5));
            CHECK(ready.has_value());
            co_await with_client(controller->device(1), body);
            co_await end();
        });
    }

    Task<> end() {
        co_await controller->stop();
        controller.reset();
        target.break_connections();
        co_await reactor::sleep_for(std::chrono::milliseconds(1));
    }

  private:
    std::unique_ptr<memory::BufferPool> pool_;

  public:
    FakeTarget target;
    std::unique_ptr<RemoteController> controller;
};

/// Writes a pattern and reads it back, unaligned to any part.
inline Task<> expect_round_trip(BlockClient& client,
                                std::uint64_t lba,
                                std::uint32_t blocks,
                                std::uint64_t seed,
                                std::uint32_t block_size = 512) {
    std::vector<std::byte> out = pattern(std::size_t{blocks} * block_size, seed);
    const std::size_t cut = std::min<std::size_t>(out.size(), 1001);
    const Segment from[] = {{out.data(), cut}, {out.data() + cut, out.size() - cut}};
    Status status = co_await client.perform(Opcode::Write, lba, blocks, from);
    EXPECT_EQ(status, Status::Ok);
    std::vector<std::byte> in(out.size());
    const Segment into[] = {{in.data(), 7}, {in.data() + 7, in.size() - 7}};
    status = co_await client.perform(Opcode::Read, lba, blocks, into);
    EXPECT_EQ(status, Status::Ok);
    EXPECT_TRUE(in == out) << "lba " << lba << " blocks " << blocks;
}

}  // namespace remora::test
