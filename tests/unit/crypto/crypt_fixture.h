// SPDX-License-Identifier: Apache-2.0
// CryptFixture: a CryptDevice over a HeldDevice, on a reactor in a world where nothing happens but
// what the test does.
#pragma once

#include <memory>
#include <utility>

#include "memory/buffer_pool.h"
#include "services/crypto/crypt_channel.h"
#include "services/crypto/crypt_device.h"
#include "tests/support/block_client.h"
#include "tests/unit/block/still_world.h"
#include "tests/unit/crypto/held_device.h"
#include "tests/unit/crypto/xts_reference.h"

namespace remora::services::crypto {

constexpr std::size_t kKiB = core::kKiB;
constexpr std::size_t kMiB = core::kMiB;

class CryptFixture : public block::StillWorld {
  public:
    static constexpr std::uint32_t kBlock = 512;

    CryptFixture()
        : key_bytes(test::pattern(64, 99)),
          lower(kBlock, 16 * kMiB / kBlock),
          pool(std::move(*memory::BufferPool::create(8 * kMiB))) {}
    ~CryptFixture() override {
        on_reactor([this] { channel.reset(); });
        for (const auto& buffer : drained_) {
            pool->release(buffer);
        }
    }

    void open(CryptOptions options = {}) {
        on_reactor([&] {
            const block::ReactorContext context{reactor, *pool};
            device = std::move(*CryptDevice::create(
                lower, options, std::move(*XtsKey::create(key_bytes)), std::span(&context, 1)));
            channel = std::move(*device->open_channel());
            client = std::make_unique<test::BlockClient>(*channel);
        });
    }

    /// Takes all that the pool has.
    void drain_pool() {
        for (std::size_t bytes = kMiB; bytes >= memory::BufferPool::kMinBytes; bytes /= 2) {
            for (auto buffer = pool->allocate(bytes); !buffer.empty();
                 buffer = pool->allocate(bytes)) {
                drained_.push_back(buffer);
            }
        }
    }

    /// A request over `bytes` as one segment.
    struct Io {
        Io(block::Opcode opcode, std::uint64_t lba, std::span<std::byte> bytes)
            : segment{bytes.data(), bytes.size()} {
            request.opcode = opcode;
            request.lba = lba;
            request.block_count = static_cast<std::uint32_t>(bytes.size() / kBlock);
            if (!bytes.empty()) {
                request.data = std::span(&segment, 1);
            }
        }
        core::Segment segment;
        test::AwaitedRequest request;
    };
    void start(Io& io) {
        on_reactor([&] { client->start(io.request); });
    }
    void let_go(std::size_t count, block::Status status = block::Status::Ok) {
        on_reactor([&, count, status] { lower.let_go(count, status); });
    }
    void let_all_go() {
        while (!lower.held.empty()) {
            let_go(lower.held.size());
        }
    }

    [[nodiscard]] DmCrypt dm_crypt() const { return {key_bytes, kBlock, true}; }
    [[nodiscard]] std::span<std::byte> below(std::uint64_t lba, std::size_t bytes) {
        return std::span(lower.memory).subspan(lba * kBlock, bytes);
    }

    Bytes key_bytes;
    HeldDevice lower;
    std::unique_ptr<memory::BufferPool> pool;
    std::unique_ptr<CryptDevice> device;
    std::unique_ptr<block::Channel> channel;
    std::unique_ptr<test::BlockClient> client;

  private:
    std::vector<std::span<std::byte>> drained_;
};

}  // namespace remora::services::crypto
