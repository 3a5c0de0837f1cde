// SPDX-License-Identifier: Apache-2.0
#include "memory/buffer_pool.h"

#include <algorithm>
#include <bit>
#include <cstdlib>

#include "core/check.h"

namespace remora::memory {

core::Result<std::unique_ptr<BufferPool>> BufferPool::create(std::size_t bytes) {
    const std::size_t whole = std::max(bytes / kMaxBytes, std::size_t{1}) * kMaxBytes;
    std::unique_ptr<BufferPool> pool(new BufferPool(whole));
    if (pool->arena_ == nullptr) {
        return core::fail(core::ErrorKind::ResourceExhausted,
                          "no memory for a buffer pool of " + std::to_string(whole) + " bytes");
    }
    return pool;
}

BufferPool::BufferPool(std::size_t bytes) : arena_bytes_(bytes) {
    arena_ = static_cast<std::byte*>(std::aligned_alloc(kMaxBytes, bytes));
    if (arena_ == nullptr) {
        return;
    }
    free_order_.assign(bytes / kMinBytes, 0);
    for (auto& cache : cache_) {
        cache.reserve(kCachedPerOrder);
    }
    for (std::size_t offset = bytes; offset > 0; offset -= kMaxBytes) {
        link(arena_ + offset - kMaxBytes, kOrders - 1);
    }
}

BufferPool::~BufferPool() {
    CHECK(in_use_ == 0);
    std::free(arena_);
}

std::span<const std::byte> BufferPool::zeros(std::size_t bytes) {
    // Never written, so all its pages are the kernel's one zero page.
    static std::array<std::byte, kMaxBytes> zeros;
    CHECK(bytes <= zeros.size());
    return std::span(zeros).first(bytes);
}

unsigned BufferPool::order_of(std::size_t bytes) {
    const std::size_t pages = std::max((bytes + kMinBytes - 1) / kMinBytes, std::size_t{1});
    return static_cast<unsigned>(std::bit_width(pages - 1));
}

std::size_t BufferPool::page_of(const std::byte* block) const {
    return static_cast<std::size_t>(block - arena_) / kMinBytes;
}

void BufferPool::link(std::byte* block, unsigned order) {
    auto* node = reinterpret_cast<FreeNode*>(block);
    node->prev = nullptr;
    node->next = free_[order];
    if (node->next != nullptr) {
        node->next->prev = node;
    }
    free_[order] = node;
    free_order_[page_of(block)] = static_cast<std::uint8_t>(order + 1);
}

void BufferPool::unlink(FreeNode* node, unsigned order) {
    if (node->prev != nullptr) {
        node->prev->next = node->next;
    } else {
        free_[order] = node->next;
    }
    if (node->next != nullptr) {
        node->next->prev = node->prev;
    }
    free_order_[page_of(reinterpret_cast<std::byte*>(node))] = 0;
}

bool BufferPool::owns(const std::byte* block, unsigned order) const {
    // As integers: whether a foreign pointer lies before or behind the arena is undefined.
    const auto offset =
        reinterpret_cast<std::uintptr_t>(block) - reinterpret_cast<std::uintptr_t>(arena_);
    return offset < arena_bytes_ && offset % (kMinBytes << order) == 0;
}

std::byte* BufferPool::take_block(unsigned order) {
    unsigned from = order;
    while (from < kOrders && free_[from] == nullptr) {
        ++from;
    }
    if (from == kOrders) {
        return nullptr;
    }
    auto* block = reinterpret_cast<std::byte*>(free_[from]);
    unlink(free_[from], from);
    while (from > order) {
        --from;
        link(block + (kMinBytes << from), from);  // the upper half stays free
    }
    return block;
}

void BufferPool::give_block(std::byte* block, unsigned order) {
    while (order < kOrders - 1) {
        const auto offset = static_cast<std::size_t>(block - arena_);
        std::byte* buddy = arena_ + (offset ^ (kMinBytes << order));
        if (free_order_[page_of(buddy)] != order + 1) {
            break;
        }
        unlink(reinterpret_cast<FreeNode*>(buddy), order);
        block = std::min(block, buddy);
        ++order;
    }
    link(block, order);
}

void BufferPool::drain_caches() {
    for (unsigned order = 0; order < kOrders; ++order) {
        for (std::byte* block : cache_[order]) {
            give_block(block, order);
        }
        cache_[order].clear();
    }
}

std::span<std::byte> BufferPool::allocate(std::size_t bytes) {
    CHECK(bytes > 0 && bytes <= kMaxBytes);
    const unsigned order = order_of(bytes);
    std::byte* block = nullptr;
    if (!cache_[order].empty()) {
        block = cache_[order].back();
        cache_[order].pop_back();
    } else {
        block = take_block(order);
        if (block == nullptr) {
            drain_caches();
            block = take_block(order);
        }
    }
    if (block == nullptr) {
        return {};
    }
    in_use_ += kMinBytes << order;
    return {block, bytes};
}

void BufferPool::release(std::span<std::byte> buffer) {
    CHECK(!buffer.empty() && buffer.size() <= kMaxBytes);
    const unsigned order = order_of(buffer.size());
    CHECK(owns(buffer.data(), order));
    CHECK(in_use_ >= kMinBytes << order);
    in_use_ -= kMinBytes << order;
    if (cache_[order].size() < kCachedPerOrder) {
        cache_[order].push_back(buffer.data());
    } else {
        give_block(buffer.data(), order);
    }
}

}  // namespace remora::memory
