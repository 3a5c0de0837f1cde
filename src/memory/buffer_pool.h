// SPDX-License-Identifier: Apache-2.0
// BufferPool: payload memory of one reactor, taken once at start.
//
// One aligned arena cut into power-of-two buffers from 4 KiB to 1 MiB by buddies. Freed buffers of
// a class are kept in a short LIFO list (the next I/O finds them in the cache) before they are
// merged. An empty pool is a normal state: the caller waits for the next release.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/result.h"

namespace remora::memory {

class BufferPool {
  public:
    static constexpr std::size_t kMinBytes = 4096;
    static constexpr std::size_t kMaxBytes = std::size_t{1} << 20U;

    /// An arena of `bytes`, rounded down to whole MiB (at least one). Errors: ResourceExhausted.
    static core::Result<std::unique_ptr<BufferPool>> create(std::size_t bytes);
    BufferPool(const BufferPool&) = delete;
    BufferPool& operator=(const BufferPool&) = delete;
    ~BufferPool();

    /// A buffer of at least `bytes` (up to kMaxBytes), aligned to its size's power of two (at least
    /// 4096), contents undefined; the span has exactly `bytes`. Empty when the pool has none now.
    std::span<std::byte> allocate(std::size_t bytes);
    /// Gives back what allocate returned (its data pointer and the same length).
    void release(std::span<std::byte> buffer);

    /// So many (up to kMaxBytes) zeros, to read from; the same memory for all.
    static std::span<const std::byte> zeros(std::size_t bytes);

    [[nodiscard]] std::size_t capacity() const { return arena_bytes_; }
    [[nodiscard]] std::size_t in_use() const { return in_use_; }

  private:
    static constexpr unsigned kOrders = 9;  // 4 KiB << 0 .. 4 KiB << 8 = 1 MiB
    static constexpr std::size_t kCachedPerOrder = 64;
    struct FreeNode {
        FreeNode* next;
        FreeNode* prev;
    };
    explicit BufferPool(std::size_t bytes);

    static unsigned order_of(std::size_t bytes);
    std::byte* take_block(unsigned order);
    void give_block(std::byte* block, unsigned order);
    void drain_caches();
    void link(std::byte* block, unsigned order);
    void unlink(FreeNode* node, unsigned order);
    [[nodiscard]] std::size_t page_of(const std::byte* block) const;
    [[nodiscard]] bool owns(const std::byte* block, unsigned order) const;

    std::byte* arena_ = nullptr;
    std::size_t arena_bytes_ = 0;
    std::size_t in_use_ = 0;
    std::array<FreeNode*, kOrders> free_{};
    std::vector<std::uint8_t>
        free_order_;  // per 4 KiB page: order + 1 when a free block starts there
    std::array<std::vector<std::byte*>, kOrders> cache_;
};

}  // namespace remora::memory
