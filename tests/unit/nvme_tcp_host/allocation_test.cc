// SPDX-License-Identifier: Apache-2.0
// The data path allocates nothing: host, target and RAM volume on one reactor, every call of
// operator new counted while I/O goes on. A program of its own, because it replaces operator new.
#include <cstdlib>
#include <new>

#include <gtest/gtest.h>

#include "backends/nvme_tcp/multipath_controller.h"
#include "backends/ram/ram_device.h"
#include "frontends/nvme_tcp/target.h"
#include "reactor/call.h"
#include "tests/support/reactor_fixture.h"

namespace {
std::size_t allocations = 0;
}

void* operator new(std::size_t size) {
    ++allocations;
    return std::malloc(size);
}
void operator delete(void* memory) noexcept {
    std::free(memory);
}
void operator delete(void* memory, std::size_t /*size*/) noexcept {
    std::free(memory);
}

namespace remora::test {
namespace {

using reactor::Task;

/// Keeps a number of requests outstanding without allocating itself.
class Driver final : public block::Completer {
  public:
    static constexpr std::size_t kDepth = 64;
    static constexpr std::uint32_t kBlocks = 8;

    explicit Driver(block::Channel& channel) : channel_(channel) {
        for (std::size_t i = 0; i < kDepth; ++i) {
            segments_[i] = {data_[i].data(), data_[i].size()};
            requests_[i].data = std::span(&segments_[i], 1);
            requests_[i].block_count = kBlocks;
            requests_[i].lba = i * kBlocks;
            requests_[i].opcode = i % 2 == 0 ? block::Opcode::Read : block::Opcode::Write;
        }
    }
    void start(std::size_t operations) {
        left_ = operations;
        block::RequestBatch batch;
        for (block::Request& request : requests_) {
            request.push_frame(*this);
            batch.push_back(request);
        }
        outstanding_ = kDepth;
        channel_.submit(batch);
    }
    void complete(block::RequestBatch& batch) override {
        block::RequestBatch again;
        while (block::Request* request = batch.pop_front()) {
            failures_ += request->status == block::Status::Ok ? 0 : 1;
            if (left_ == 0) {
                request->pop_frame();
                --outstanding_;
                continue;
            }
            --left_;
            again.push_back(*request);
        }
        if (!again.empty()) {
            channel_.submit(again);
        }
    }
    [[nodiscard]] bool idle() const { return outstanding_ == 0; }
    [[nodiscard]] std::size_t failures() const { return failures_; }

  private:
    block::Channel& channel_;
    std::array<block::Request, kDepth> requests_;
    std::array<core::Segment, kDepth> segments_;
    std::array<std::array<std::byte, kBlocks * 512>, kDepth> data_{};
    std::size_t left_ = 0;
    std::size_t outstanding_ = 0;
    std::size_t failures_ = 0;
};

class AllocationTest : public ReactorFixture {
  public:
    void expect_none(block::Channel& channel) {
        Driver driver(channel);
        const auto round = [&](std::size_t operations) {
            reactor().post_function([&] { driver.start(operations); });
            turn();
            const std::size_t before = allocations;
            turn_until([&] { return driver.idle(); });
            return allocations - before;
        };
        round(2000);  // warm
        EXPECT_EQ(round(20000), 0U);
        EXPECT_EQ(driver.failures(), 0U);
        EXPECT_GT(allocations, 0U);  // it does count
    }
};

class AllocationPathsTest : public AllocationTest,
                            public testing::WithParamInterface<std::size_t> {};

INSTANTIATE_TEST_SUITE_P(Paths, AllocationPathsTest, testing::Values(1, 3));

TEST_P(AllocationPathsTest, ReadsAndWrites_onceWarm_allocateNothing) {
    auto pool = memory::BufferPool::create(std::size_t{16} << 20U);
    const block::ReactorContext context{reactor(), **pool};
    frontends::nvme_tcp::Target target(std::span(&context, 1), reactor());
    auto ram = backends::ram::RamDevice::create("ram", {}, 512, 4096);
    std::unique_ptr<backends::nvme_tcp::MultipathController> host;
    std::unique_ptr<block::Channel> channel;
    run([&]() -> Task<> {
        frontends::nvme_tcp::SubsystemOptions subsystem;
        subsystem.nqn = "nqn.2026-11.example.remora:a";
        const auto made = co_await target.create_subsystem(subsystem);
        CHECK(made.has_value());
        frontends::nvme_tcp::NamespaceOptions space;
        space.device = ram->get();
        space.uuid.bytes.fill(1);
        const auto nsid = co_await target.add_namespace(subsystem.nqn, space);
        CHECK(nsid.has_value());
        backends::nvme_tcp::MultipathOptions with;
        with.name = "r";
        with.subnqn = subsystem.nqn;
        with.hostnqn = "nqn.2026-11.example.remora:host";
        with.timing.keep_alive = std::chrono::seconds(60);
        host = std::make_unique<backends::nvme_tcp::MultipathController>(
            with, std::span(&context, 1), reactor());
        for (std::size_t i = 0; i < GetParam(); ++i) {
            const auto at =
                co_await target.add_listener(subsystem.nqn, reactor::Endpoint::tcp("127.0.0.1", 0));
            CHECK(at.has_value());
            const std::string id = "p" + std::to_string(i);
            CHECK(host->add_path({id, *at, {}}));
            const auto ready = co_await host->wait_path(id, std::chrono::seconds(5));
            CHECK(ready.has_value());
        }
        channel = std::move(*host->device(*nsid)->open_channel());
    });

    expect_none(*channel);

    run([&]() -> Task<> {
        channel.reset();
        co_await host->stop();
        host.reset();
        co_await target.stop();
    });
}

}  // namespace
}  // namespace remora::test
