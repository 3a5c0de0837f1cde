// SPDX-License-Identifier: Apache-2.0
// Writes when buffers are short: they wait in their order, go on, and hold no more than their
// share.
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/crypto/crypt_fixture.h"

namespace remora::services::crypto {
namespace {

using block::Opcode;
using block::Status;

class CryptPoolTest : public CryptFixture {
  public:
    /// `count` writes of `bytes` each, one behind the other on the disk, started as one batch's
    /// worth of submits.
    void start_writes(std::size_t count, std::size_t bytes) {
        data = test::pattern(count * bytes, 11);
        for (std::size_t i = 0; i < count; ++i) {
            writes.push_back(std::make_unique<Io>(Opcode::Write, i * bytes / kBlock,
                                                  std::span(data).subspan(i * bytes, bytes)));
            start(*writes.back());
        }
    }
    void expect_all_written() {
        for (const auto& write : writes) {
            EXPECT_TRUE(write->request.finished);
            EXPECT_EQ(write->request.completions, 1);
            EXPECT_EQ(write->request.status, Status::Ok);
        }
        EXPECT_TRUE(
            std::ranges::equal(below(0, data.size()), reference(dm_crypt(), true, 0, data)));
    }

    Bytes data;
    std::vector<std::unique_ptr<Io>> writes;
};

// Whoever has the pool may be waiting for these very writes.
TEST_F(CryptPoolTest, Write_emptyPool_goesOnByTheReserveAlone) {
    open();
    drain_pool();
    const std::size_t held = pool->in_use();

    start_writes(20, 200 * kKiB);

    while (!lower.held.empty()) {
        EXPECT_EQ(lower.held.size(), 1U);
        EXPECT_LE(lower.seen.back().block_count * kBlock, CryptChannel::kReserveBytes);
        let_go(1);
    }
    expect_all_written();
    EXPECT_EQ(pool->in_use(), held);
}

TEST_F(CryptPoolTest, Write_manyAtOnce_holdAQuarterOfThePool) {
    open();

    start_writes(60, 128 * kKiB);

    std::size_t most = 0;
    while (!lower.held.empty()) {
        most = std::max(most, pool->in_use());
        EXPECT_LE(pool->in_use(), pool->capacity() / 4);
        let_go(1);
    }
    EXPECT_GT(most, pool->capacity() / 8);
    expect_all_written();
    EXPECT_EQ(pool->in_use(), 0U);
}

// More small writes than slots.
TEST_F(CryptPoolTest, Write_moreThanSlots_waitAndGoOnInOrder) {
    open();

    start_writes(2 * CryptChannel::kSlots + 10, kBlock);

    EXPECT_EQ(lower.held.size(), CryptChannel::kSlots);
    let_all_go();
    expect_all_written();
    for (std::size_t i = 0; i < lower.seen.size(); ++i) {
        EXPECT_EQ(lower.seen[i].lba, i);
    }
}

// A failure frees what the next one waits for, too.
TEST_F(CryptPoolTest, Write_fails_thoseWaitingGoOn) {
    open();
    drain_pool();
    start_writes(3, 64 * kKiB);

    let_go(1, Status::IoError);
    EXPECT_EQ(writes[0]->request.status, Status::IoError);
    let_all_go();

    EXPECT_EQ(writes[1]->request.status, Status::Ok);
    EXPECT_EQ(writes[2]->request.status, Status::Ok);
}

// A reactor whose pool the device does not know.
TEST_F(CryptPoolTest, Write_noPool_usesTheReserve) {
    on_reactor([&] {
        device =
            std::move(*CryptDevice::create(lower, {}, std::move(*XtsKey::create(key_bytes)), {}));
        channel = std::move(*device->open_channel());
        client = std::make_unique<test::BlockClient>(*channel);
    });

    start_writes(5, 100 * kKiB);
    let_all_go();

    expect_all_written();
}

}  // namespace
}  // namespace remora::services::crypto
