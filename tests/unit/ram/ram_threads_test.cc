// SPDX-License-Identifier: Apache-2.0
// Two threads read and write the same pages, by copies and by loans: a block is read as one of them
// wrote it. Also built with ThreadSanitizer.
#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include <gtest/gtest.h>

#include "backends/ram/ram_device.h"
#include "reactor/call.h"
#include "reactor/gate.h"
#include "reactor/linux/reactor_thread.h"
#include "tests/support/block_client.h"
#include "tests/support/reactor_fixture.h"

namespace remora::backends::ram {
namespace {

using block::Opcode;
using block::Status;
using reactor::Task;

constexpr std::size_t kBlock = 512;
constexpr std::uint32_t kPageBlocks = PageLocks::kPageBytes / kBlock;
constexpr std::size_t kPages = 3;
constexpr int kOperations = 4000;

/// Every block of a write is full of one byte of its own.
class Client {
  public:
    Client(RamDevice& device, std::uint64_t seed)
        : channel_(std::move(*device.open_channel())), client_(*channel_), prng_(seed) {}

    Task<> work() {
        for (int i = 0; i < kOperations; ++i) {
            test::AwaitedRequest io;
            const std::uint64_t draw = prng_.next();
            io.opcode = (draw & 1U) == 0 ? Opcode::Read : Opcode::Write;
            io.takes_in_place = io.opcode == Opcode::Read && (draw & 2U) == 0;
            io.lba = (draw >> 8U) % (kPages * kPageBlocks);
            const std::uint64_t room = std::min<std::uint64_t>(kPages * kPageBlocks - io.lba,
                                                               kPageBlocks + kPageBlocks / 2);
            io.block_count = static_cast<std::uint32_t>(1 + (draw >> 32U) % room);
            for (std::uint32_t block = 0; block < io.block_count; ++block) {
                std::memset(bytes_.data() + block * kBlock, static_cast<int>(prng_.next() % 251),
                            kBlock);
            }
            const core::Segment whole{bytes_.data(), io.block_count * kBlock};
            io.data = std::span(&whole, 1);
            client_.start(io);
            const Status status = co_await test::BlockClient::finish(io);
            failed += status == Status::Ok ? 0 : 1;
            if (io.opcode == Opcode::Read) {
                loans += io.loan ? 1 : 0;
                check(io.loan ? io.loan.data() : bytes_.data(), io.block_count);
                io.loan.give_back();
            }
        }
    }
    int loans = 0;
    int torn = 0;  // blocks
    int failed = 0;

  private:
    void check(const std::byte* data, std::uint32_t blocks) {
        for (std::uint32_t block = 0; block < blocks; ++block) {
            const std::byte* at = data + block * kBlock;
            torn += std::memcmp(at, at + 1, kBlock - 1) != 0 ? 1 : 0;
        }
    }

    std::unique_ptr<block::Channel> channel_;
    test::BlockClient client_;
    core::Prng prng_;
    std::array<std::byte, 2 * PageLocks::kPageBytes> bytes_{};
};

Task<> work(RamDevice* device, std::uint64_t seed) {
    Client client(*device, seed);
    co_await client.work();
    EXPECT_GT(client.loans, 0);
    EXPECT_EQ(client.torn, 0);
    EXPECT_EQ(client.failed, 0);
}

using RamThreads = test::ReactorFixture;

TEST_F(RamThreads, ReadsAndWritesOfTheSamePages_tearNoBlock) {
    auto device = std::move(*RamDevice::create("r", {}, kBlock, kPages * kPageBlocks));
    std::array<std::unique_ptr<reactor::ReactorThread>, 2> threads;
    run(
        [&]() -> Task<> {
            reactor::Gate gate;
            for (std::uint32_t i = 0; i < threads.size(); ++i) {
                reactor::ReactorThreadOptions options;
                options.id = 1 + i;
                threads[i] = std::move(*reactor::ReactorThread::start(options));
                gate.spawn(
                    [](reactor::Reactor* there, RamDevice* volume, std::uint64_t seed) -> Task<> {
                        co_await reactor::call_on(*there,
                                                  [volume, seed] { return work(volume, seed); });
                    },
                    &threads[i]->reactor(), device.get(), std::uint64_t{11} + i);
            }
            co_await gate.close();
        },
        std::chrono::seconds(50));
}

}  // namespace
}  // namespace remora::backends::ram
