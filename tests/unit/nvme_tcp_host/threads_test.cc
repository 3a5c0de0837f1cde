// SPDX-License-Identifier: Apache-2.0
// The host with data reactors of their own threads: I/O from two lanes, lanes without a queue of
// their own, reconnects under load. Built for ThreadSanitizer as well.
#include <gtest/gtest.h>

#include "reactor/gate.h"
#include "reactor/linux/reactor_thread.h"
#include "tests/unit/nvme_tcp_host/host_fixture.h"

namespace remora::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// What one reactor does: writes its own blocks over and over and checks what it reads back.
Task<int> hammer(block::Device* device, std::uint64_t first, int rounds) {
    auto channel = device->open_channel();
    CHECK(channel.has_value());
    int good = 0;
    {
        BlockClient client(**channel);
        for (int round = 0; round < rounds; ++round) {
            constexpr std::size_t kDepth = 16;
            std::vector<std::unique_ptr<OwnedRequest>> writes;
            for (std::size_t i = 0; i < kDepth; ++i) {
                const std::uint64_t seed = first * 1000 + static_cast<std::uint64_t>(round) + i;
                writes.push_back(std::make_unique<OwnedRequest>(Opcode::Write, first + i * 64, 64,
                                                                pattern(64 * 512, seed)));
                client.start(writes.back()->request);
            }
            for (std::size_t i = 0; i < kDepth; ++i) {
                const Status written = co_await BlockClient::finish(writes[i]->request);
                OwnedRequest read(Opcode::Read, first + i * 64, 64,
                                  std::vector<std::byte>(64 * 512));
                client.start(read.request);
                const Status done = co_await BlockClient::finish(read.request);
                good += written == Status::Ok && done == Status::Ok && read.data == writes[i]->data
                            ? 1
                            : 0;
            }
        }
    }
    channel->reset();
    co_return good;
}

class HostThreadsTest : public HostFixture {
  public:
    HostThreadsTest() {
        for (std::uint32_t i = 0; i < 2; ++i) {
            reactor::ReactorThreadOptions with;
            with.id = i + 1;
            with.policy.spin = milliseconds(0);
            threads_.push_back(std::move(*reactor::ReactorThread::start(with)));
            pools_.push_back(std::move(*memory::BufferPool::create(1 << 20)));
            contexts_.push_back({threads_[i]->reactor(), *pools_[i]});
        }
    }

    Task<> start(ControllerOptions with) {
        auto made = RemoteController::create(std::move(with), contexts_, reactor());
        CHECK(made.has_value());
        controller = std::move(*made);
        const auto ready = co_await controller->wait_ready(seconds(5));
        CHECK(ready.has_value());
    }

    /// Runs hammer() on both reactors at once; `meanwhile` here.
    template <typename F>
    Task<> hammer_both(int rounds, F meanwhile) {
        block::Device* device = controller->device(1);
        reactor::Gate gate;
        int good[2] = {};
        for (std::uint64_t i = 0; i < 2; ++i) {
            gate.spawn(
                [](reactor::Reactor* on, block::Device* what, std::uint64_t first, int times,
                   int* out) -> Task<> {
                    *out = co_await reactor::call_on(
                        *on, [what, first, times] { return hammer(what, first, times); });
                },
                &threads_[i]->reactor(), device, i * 2048, rounds, &good[i]);
        }
        co_await meanwhile();
        co_await gate.close();
        EXPECT_EQ(good[0], rounds * 16);
        EXPECT_EQ(good[1], rounds * 16);
    }

  private:
    std::vector<std::unique_ptr<memory::BufferPool>> pools_;
    std::vector<std::unique_ptr<reactor::ReactorThread>> threads_;
    std::vector<block::ReactorContext> contexts_;
};

TEST_F(HostThreadsTest, TwoReactors_eachWithItsQueue_doTheirIo) {
    run([this]() -> Task<> {
        co_await start(options());
        co_await hammer_both(10, []() -> Task<> { co_return; });
        EXPECT_EQ(target.io_connects, 2);
        co_await end();
    });
}

TEST_F(HostThreadsTest, TwoReactors_oneQueueGranted_shareIt) {
    target.queues = 1;
    run([this]() -> Task<> {
        co_await start(options());
        co_await hammer_both(10, []() -> Task<> { co_return; });
        EXPECT_EQ(target.io_connects, 1);
        co_await end();
    });
}

TEST_F(HostThreadsTest, TwoReactors_reconnectsUnderLoad_loseNothing) {
    // The target does so many commands, then takes them and does not answer: those are outstanding
    // when the connections break. What it took is not done, so the host must send it again.
    int answers = 0;
    int held = 0;
    target.on_io = [&](FakeConnection&, const nvme::spec::Command&, std::span<const std::byte>) {
        if (answers > 0) {
            --answers;
            return false;
        }
        ++held;
        return true;
    };
    run([&, this]() -> Task<> {
        co_await start(options());
        co_await hammer_both(30, [&, this]() -> Task<> {
            for (int i = 0; i < 6; ++i) {
                held = 0;
                answers = 40;
                co_await until([&] { return held > 0; });
                // From both queues to a shared one and back.
                target.queues = i % 2 == 0 ? 1 : 64;
                target.break_connections();
            }
            answers = 1 << 30;
        });
        EXPECT_GE(controller->status().reconnects, 1U);
        EXPECT_GE(target.connects, 7);
        co_await end();
    });
}

TEST_F(HostThreadsTest, Geometry_changesWhileBothReactorsWork_isSeenOnEach) {
    run([this]() -> Task<> {
        co_await start(options());
        co_await hammer_both(10, [this]() -> Task<> {
            for (std::uint64_t i = 1; i <= 10; ++i) {
                target.namespaces[1].block_count = 8192 + i;
                const auto scanned = co_await controller->rescan();
                EXPECT_TRUE(scanned);
                EXPECT_EQ(controller->device(1)->geometry().block_count, 8192 + i);
            }
        });
        co_await end();
    });
}

}  // namespace
}  // namespace remora::test
