// SPDX-License-Identifier: Apache-2.0
// What handles refer to: shared memory, event counters, sockets; and each process's table of them.
// Objects outlive a crashed process as long as another one holds them, as in a kernel.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <span>
#include <utility>
#include <vector>

#include "reactor/io.h"

namespace remora::sim {

using reactor::Handle;

class Object {
  public:
    Object() = default;
    Object(const Object&) = delete;
    Object& operator=(const Object&) = delete;
    virtual ~Object() = default;
};
using ObjectRef = std::shared_ptr<Object>;

/// Memory that processes share. It can be cut by who made it: mappings of what is gone read as
/// zeros and are poisoned.
class SharedMemory final : public Object {
  public:
    static constexpr std::size_t kPage = 4096;

    explicit SharedMemory(std::size_t size)
        : size_(size),
          bytes_(static_cast<std::byte*>(::operator new(size + 1, std::align_val_t{kPage}))) {
        std::memset(bytes_.get(), 0, size);
    }
    [[nodiscard]] std::size_t size() const { return size_; }
    [[nodiscard]] std::span<std::byte> bytes() const { return {bytes_.get(), size_}; }
    /// How far it reaches now; size() unless it was cut.
    [[nodiscard]] std::size_t valid() const { return valid_; }
    void cut(std::size_t size) {
        valid_ = std::min(size, valid_);
        std::memset(bytes_.get() + valid_, 0, size_ - valid_);
    }

  private:
    struct Free {
        void operator()(std::byte* bytes) const {
            ::operator delete(bytes, std::align_val_t{kPage});
        }
    };
    std::size_t size_;
    std::size_t valid_ = size_;
    std::unique_ptr<std::byte, Free> bytes_;
};

class SimEvent;

/// An eventfd. Whoever adopted a handle to it and set a handler hears of a signal.
class EventCounter final : public Object {
  public:
    std::uint64_t count = 0;
    std::vector<SimEvent*> listeners;
};

/// The open handles of a process, with the lowest free number given next, as the kernel does: a
/// handle used after its close meets another object.
class HandleTable {
  public:
    Handle add(ObjectRef object) {
        Handle lowest = kFirst;
        for (const auto& [handle, other] : table_) {
            if (handle != lowest) {
                break;
            }
            ++lowest;
        }
        table_.emplace(lowest, std::move(object));
        return lowest;
    }
    [[nodiscard]] ObjectRef find(Handle handle) const {
        const auto found = table_.find(handle);
        return found == table_.end() ? nullptr : found->second;
    }
    bool remove(Handle handle) { return table_.erase(handle) > 0; }
    [[nodiscard]] std::size_t size() const { return table_.size(); }
    void clear() { table_.clear(); }

  private:
    static constexpr Handle kFirst = 3;
    std::map<Handle, ObjectRef> table_;
};

}  // namespace remora::sim
