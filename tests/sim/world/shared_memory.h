// SPDX-License-Identifier: Apache-2.0
// Shared memory as a kernel gives it: pages that are mapped in several places. A mapping that is
// gone cannot be read any more: its addresses are never used again, and a look at them ends the
// program, as it would end remorad.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "reactor/io.h"
#include "tests/sim/world/objects.h"

namespace remora::sim {

/// Pages at an address of their own, with an unmapped one on either side.
class Pages {
  public:
    static constexpr std::size_t kPage = 4096;

    /// New ones, all zeros.
    explicit Pages(std::size_t size);
    /// The same memory as `other`, at another address.
    static Pages view_of(const Pages& other) { return {other, other.size_}; }
    Pages(const Pages&) = delete;
    Pages& operator=(const Pages&) = delete;
    /// Leaves its addresses unreadable.
    ~Pages();

    [[nodiscard]] std::span<std::byte> bytes() const { return {begin_, size_}; }

  private:
    Pages(const Pages& other, std::size_t size);
    [[nodiscard]] std::size_t mapped() const { return (size_ + kPage - 1) / kPage * kPage; }

    std::size_t size_;
    std::byte* begin_ = nullptr;
};

/// It can be cut by who made it: mappings of what is gone read as zeros and are poisoned.
class SharedMemory final : public Object {
  public:
    explicit SharedMemory(std::size_t size) : pages_(size), valid_(size) {}
    [[nodiscard]] std::size_t size() const { return pages_.bytes().size(); }
    [[nodiscard]] std::span<std::byte> bytes() const { return pages_.bytes(); }
    /// How far it reaches now; size() unless it was cut.
    [[nodiscard]] std::size_t valid() const { return valid_; }
    void cut(std::size_t size);
    [[nodiscard]] const Pages& pages() const { return pages_; }

  private:
    Pages pages_;
    std::size_t valid_;
};

class SimMapping final : public reactor::Mapping {
  public:
    SimMapping(std::shared_ptr<SharedMemory> memory, std::uint64_t offset, std::uint64_t size)
        : memory_(std::move(memory)),
          view_(Pages::view_of(memory_->pages())),
          offset_(offset),
          size_(size) {}
    [[nodiscard]] std::span<std::byte> bytes() const override {
        return view_.bytes().subspan(offset_, size_);
    }
    [[nodiscard]] bool poisoned() const override { return offset_ + size_ > memory_->valid(); }

  private:
    std::shared_ptr<SharedMemory> memory_;
    Pages view_;
    std::uint64_t offset_;
    std::uint64_t size_;
};

}  // namespace remora::sim
