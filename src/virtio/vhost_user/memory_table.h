// SPDX-License-Identifier: Apache-2.0
// MemoryTable: the guest's memory as the front end shares it, mapped here. Owned by a session, on
// its reactor. Queues, on whatever reactors, have it as a MemoryView.
//
// Regions leave the table only while no queue runs: the session drains them first. Adding one
// moves nothing that is mapped, so it needs no drain; queues are given a new view.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "core/result.h"
#include "memory/guest_memory.h"
#include "reactor/io.h"
#include "virtio/vhost_user/message.h"

namespace remora::virtio::vhost_user {

/// The table as it was at one time, which keeps what is in it mapped. Never changes; any thread.
struct MemoryView {
    std::vector<memory::GuestMemory::Region> regions;
    std::vector<std::shared_ptr<const reactor::Mapping>> mappings;

    /// The front end took memory back behind our back: what was read since is worth nothing.
    [[nodiscard]] bool poisoned() const;
};

class MemoryTable {
  public:
    /// Of one front end: a hostile one must not take the address space of all.
    static constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 40U;

    /// Maps `regions` from `handles` (one each; the caller closes them) in place of what was there.
    /// Errors leave the old table.
    core::Result<void> replace(reactor::Io& io,
                               std::span<const MemoryRegion> regions,
                               std::span<const reactor::Handle> handles);
    /// Errors: ResourceExhausted past kMaxRegions or kMaxBytes; InvalidArgument.
    core::Result<void> add(reactor::Io& io, const MemoryRegion& region, reactor::Handle handle);
    /// Removes the region with the same guest address, user address and size. Errors: NotFound.
    core::Result<void> remove(const MemoryRegion& region);
    void clear();

    [[nodiscard]] const memory::GuestMemory& guest() const { return guest_; }
    [[nodiscard]] bool empty() const { return entries_.empty(); }
    [[nodiscard]] std::shared_ptr<const MemoryView> view() const { return view_; }

  private:
    struct Entry {
        MemoryRegion region;
        std::shared_ptr<const reactor::Mapping> mapping;
    };
    static core::Result<Entry> map(reactor::Io& io,
                                   const MemoryRegion& region,
                                   reactor::Handle handle);
    core::Result<void> publish(const std::vector<Entry>& entries);

    std::vector<Entry> entries_;
    memory::GuestMemory guest_;
    std::shared_ptr<const MemoryView> view_;
};

}  // namespace remora::virtio::vhost_user
