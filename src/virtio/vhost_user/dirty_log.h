// SPDX-License-Identifier: Apache-2.0
// DirtyLog: the bitmap in which a back end marks the pages of the guest's memory that it has
// written, so that a front end which moves the guest to another machine copies them again. One bit
// a page of 4 KiB of guest physical addresses. Others mark in the same bitmap, and the front end
// takes marks out, at any moment. Any thread. Spec: QEMU docs/interop/vhost-user.rst, "Migration".
//
// A page is marked after it was written and before the driver can know of it: marked earlier, the
// mark could be taken out and the page copied before the write.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "core/result.h"
#include "reactor/io.h"

namespace remora::virtio::vhost_user {

class DirtyLog {
  public:
    static constexpr std::uint64_t kPageBytes = 4096;
    /// Enough for addresses up to 32 TiB; a hostile front end must not take the address space.
    static constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 30U;

    /// The bitmap behind `handle`, which the caller keeps. Errors: InvalidArgument, and map()'s.
    static core::Result<std::shared_ptr<const DirtyLog>> map(reactor::Io& io,
                                                             reactor::Handle handle,
                                                             std::uint64_t size,
                                                             std::uint64_t offset);
    explicit DirtyLog(std::unique_ptr<reactor::Mapping> mapping) : mapping_(std::move(mapping)) {}

    [[nodiscard]] bool poisoned() const { return mapping_->poisoned(); }

    /// Marks the pages of [address, address + bytes). False when the bitmap does not reach there.
    [[nodiscard]] bool mark(std::uint64_t address, std::uint64_t bytes) const;

  private:
    std::unique_ptr<reactor::Mapping> mapping_;
};

/// What one queue has to mark.
struct QueueLog {
    std::shared_ptr<const DirtyLog> log;  ///< Null: nothing.
    bool ring = false;                    ///< Also what is written to the ring.
    std::uint64_t used_address = 0;  ///< Guest address of the used ring, or of the device area.
};

}  // namespace remora::virtio::vhost_user
