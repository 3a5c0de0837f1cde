// SPDX-License-Identifier: Apache-2.0
// What handles refer to: event counters, sockets, shared memory (shared_memory.h); and each
// process's table of them. Objects outlive a crashed process as long as another one holds them, as
// in a kernel.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
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
