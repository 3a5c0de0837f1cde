// SPDX-License-Identifier: Apache-2.0
// DmaMap: what the client lets the device reach by DMA, mapped here where it can be. Owned by a
// session.
//
// A client also tells of what it gives no descriptor for (ROMs, other devices' memory) and of what
// may only be read. Both are kept, so that they can be taken away again, and are no place for DMA:
// an address there is as unknown as any other.
//
// The descriptors are kept, for a process that goes on with the session.
//
// Memory leaves in two steps, since requests may be under way in it: retire() hides it from new
// ones, release() unmaps it. Adding moves nothing that is mapped.
// Spec: QEMU docs/interop/vfio-user.rst, VFIO_USER_DMA_MAP and VFIO_USER_DMA_UNMAP.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/result.h"
#include "memory/guest_memory.h"
#include "reactor/io.h"
#include "vfio_user/message.h"
#include "vfio_user/session_state.h"

namespace remora::vfio_user {

class DmaMap {
  public:
    /// Of one client: a hostile one must not take the address space of all.
    static constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 40U;
    /// Entries that cannot be reached; those that can are at most GuestMemory::kMaxRegions.
    static constexpr std::size_t kMaxUnreachable = 1024;

    explicit DmaMap(reactor::Io& io) : io_(io) {}
    DmaMap(const DmaMap&) = delete;
    DmaMap& operator=(const DmaMap&) = delete;
    ~DmaMap() { clear(); }

    /// Adds one entry, mapped from `handle` unless that is kNoHandle; the handle is taken and set
    /// to kNoHandle if it is needed. The error is the errno to answer with: EEXIST, EINVAL, ENOSPC,
    /// or what mapping it gave.
    std::expected<void, int> add(const DmaMapRequest& request, reactor::Handle& handle);

    /// Hides the entry with exactly this address and size; where it is mapped, or an empty span.
    /// The error: ENOENT when there is none. One may be on its way out at a time.
    std::expected<std::span<std::byte>, int> retire(std::uint64_t address, std::uint64_t size);
    /// Unmaps what was retired.
    void release() { retired_.reset(); }
    [[nodiscard]] bool retiring() const { return retired_ != nullptr; }

    /// Of any entry: what unmaps all starts with.
    [[nodiscard]] const DmaMapRequest* first() const {
        return entries_.empty() ? nullptr : &entries_.front().request;
    }
    void clear();
    [[nodiscard]] std::vector<MemoryState> save() const;

    [[nodiscard]] const memory::GuestMemory& guest() const { return guest_; }
    [[nodiscard]] std::size_t size() const { return entries_.size(); }
    /// The client took memory back behind our back: what was read since is worth nothing.
    [[nodiscard]] bool poisoned() const;

  private:
    struct Entry {
        DmaMapRequest request;
        std::unique_ptr<reactor::Mapping> mapping;  // null: out of reach
        reactor::Handle handle = reactor::kNoHandle;
    };
    [[nodiscard]] bool publish();
    [[nodiscard]] std::size_t reachable() const;
    [[nodiscard]] std::uint64_t mapped_bytes() const;
    [[nodiscard]] bool overlaps(const DmaMapRequest& request) const;

    reactor::Io& io_;
    std::vector<Entry> entries_;
    std::unique_ptr<reactor::Mapping> retired_;
    memory::GuestMemory guest_;
};

}  // namespace remora::vfio_user
