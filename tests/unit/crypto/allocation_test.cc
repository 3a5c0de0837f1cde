// SPDX-License-Identifier: Apache-2.0
// The data path allocates nothing: every call of operator new and every allocation of OpenSSL is
// counted while a CryptDevice works, and while each kernel does. A program of its own, because it
// replaces operator new.
#include <array>
#include <cstdlib>
#include <memory>
#include <new>
#include <openssl/crypto.h>
#include <vector>

#include <gtest/gtest.h>

#include "backends/ram/ram_device.h"
#include "memory/buffer_pool.h"
#include "services/crypto/crypt_device.h"
#include "tests/support/block_client.h"
#include "tests/support/reactor_fixture.h"

namespace {

std::size_t allocations = 0;

void* openssl_malloc(std::size_t size, const char* /*file*/, int /*line*/) {
    ++allocations;
    return std::malloc(size);
}
void* openssl_realloc(void* memory, std::size_t size, const char* /*file*/, int /*line*/) {
    ++allocations;
    return std::realloc(memory, size);
}
void openssl_free(void* memory, const char* /*file*/, int /*line*/) {
    std::free(memory);
}
// Before OpenSSL has allocated anything.
const int kHooked = CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free);

}  // namespace

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

namespace remora::services::crypto {
namespace {

using block::Opcode;
using block::Status;
using reactor::Task;

/// Reads and writes of 36 KiB, over and over, in two segments cut amid a sector.
class Driver final : public block::Completer {
  public:
    static constexpr std::size_t kDepth = 32;
    static constexpr std::uint32_t kBlocks = 72;
    static constexpr std::size_t kCut = 1000;

    explicit Driver(block::Channel& channel)
        : channel_(channel), data_(kDepth * kBlocks * 512), requests_(kDepth) {
        for (std::size_t i = 0; i < kDepth; ++i) {
            std::byte* data = data_.data() + i * kBlocks * 512;
            segments_[i] = {core::Segment{data, kCut},
                            core::Segment{data + kCut, kBlocks * 512 - kCut}};
            requests_[i].data = segments_[i];
            requests_[i].block_count = kBlocks;
            requests_[i].lba = i * kBlocks;
            requests_[i].opcode = i % 2 == 0 ? Opcode::Read : Opcode::Write;
        }
    }
    void start(std::size_t operations) {
        left_ = operations;
        outstanding_ = kDepth;
        block::RequestBatch batch;
        for (block::Request& request : requests_) {
            request.push_frame(*this);
            batch.push_back(request);
        }
        channel_.submit(batch);
    }
    void complete(block::RequestBatch& batch) override {
        block::RequestBatch again;
        while (block::Request* request = batch.pop_front()) {
            failures += request->status == Status::Ok ? 0 : 1;
            if (left_ == 0) {
                request->pop_frame();
                --outstanding_;
            } else {
                --left_;
                again.push_back(*request);
            }
        }
        if (!again.empty()) {
            channel_.submit(again);
        }
    }
    [[nodiscard]] bool idle() const { return outstanding_ == 0; }
    std::size_t failures = 0;

  private:
    block::Channel& channel_;
    std::vector<std::byte> data_;
    std::vector<block::Request> requests_;
    std::array<std::array<core::Segment, 2>, kDepth> segments_;
    std::size_t left_ = 0;
    std::size_t outstanding_ = 0;
};

using CryptAllocationTest = test::ReactorFixture;

TEST_F(CryptAllocationTest, ReadsAndWrites_onceWarm_allocateNothing) {
    auto pool = std::move(*memory::BufferPool::create(2 * core::kMiB));  // too few: some wait
    const block::ReactorContext context{reactor(), *pool};
    auto ram = std::move(*backends::ram::RamDevice::create("r", {}, 512, 8192));
    std::unique_ptr<CryptDevice> device;
    std::unique_ptr<block::Channel> channel;
    run([&]() -> Task<> {
        device = std::move(*CryptDevice::create(
            *ram, {}, std::move(*XtsKey::create(test::pattern(64, 1))), std::span(&context, 1)));
        channel = std::move(*device->open_channel());
        co_return;
    });
    Driver driver(*channel);
    const auto round = [&](std::size_t operations) {
        reactor().post_function([&] { driver.start(operations); });
        turn();
        const std::size_t before = allocations;
        turn_until([&] { return driver.idle(); });
        return allocations - before;
    };
    round(300);  // warm
    EXPECT_EQ(round(3000), 0U);
    EXPECT_EQ(driver.failures, 0U);
    EXPECT_GT(allocations, 0U);  // it does count
    run([&]() -> Task<> {
        channel.reset();
        co_return;
    });
}

TEST(XtsAllocationTest, Crypt_everyKernel_allocatesNothing) {
    ASSERT_EQ(kHooked, 1);
    const auto key = std::move(*XtsKey::create(test::pattern(64, 2)));
    std::vector<std::byte> data(64 * core::kKiB);
    for (const XtsKernel kernel : kXtsKernels) {
        if (!has_kernel(kernel)) {
            continue;
        }
        const std::size_t at_start = allocations;
        auto cipher = std::move(*AesXts::create(*key, SectorNumbers::Sectors, kernel));
        EXPECT_GT(allocations, at_start);
        cipher->encrypt(0, 512, data, data);  // warm
        const std::size_t before = allocations;
        cipher->encrypt(1, 512, data, data);
        cipher->decrypt(1, 4096, data, data);
        EXPECT_EQ(allocations, before) << to_string(kernel);
    }
}

}  // namespace
}  // namespace remora::services::crypto
