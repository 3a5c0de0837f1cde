// SPDX-License-Identifier: Apache-2.0
// GuestRam: a guest's memory as QEMU shares it: one shared memory object, told to the device as one
// region, or as two with a hole between them (as below and above 4 GiB).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "reactor/io.h"
#include "virtio/vhost_user/message.h"

namespace remora::sim {

struct GuestRamOptions {
    std::uint64_t bytes = 0;   ///< Rounded up to whole pages.
    std::uint8_t regions = 1;  ///< 1 or 2.
    bool gap = true;           ///< The second region does not follow the first one directly.
    std::uint64_t split = 0;   ///< Where the second region begins; 0: in the middle.
};

/// Everything else names memory by its offset from the start, which is contiguous here.
class GuestRam {
  public:
    static constexpr std::uint64_t kPageBytes = 4096;
    static constexpr std::uint64_t kGuestBase = 0x4000'0000;
    static constexpr std::uint64_t kUserBase = 0x7700'0000'0000;
    static constexpr std::uint64_t kGap = 0x1'0000'0000;

    GuestRam(reactor::Io& io, GuestRamOptions options);
    GuestRam(const GuestRam&) = delete;
    GuestRam& operator=(const GuestRam&) = delete;
    ~GuestRam();

    [[nodiscard]] std::byte* at(std::uint64_t offset) const { return base_ + offset; }
    [[nodiscard]] std::span<std::byte> bytes(std::uint64_t offset, std::size_t length) const {
        return {base_ + offset, length};
    }
    [[nodiscard]] std::uint64_t size() const { return size_; }
    [[nodiscard]] reactor::Handle handle() const { return handle_; }
    [[nodiscard]] std::vector<virtio::vhost_user::MemoryRegion> regions() const;
    /// The address a descriptor holds.
    [[nodiscard]] std::uint64_t guest(std::uint64_t offset) const {
        return kGuestBase + offset + (offset >= split_ ? gap_ : 0);
    }
    /// The address a vring message holds.
    [[nodiscard]] std::uint64_t user(std::uint64_t offset) const {
        return kUserBase + offset + (offset >= split_ ? gap_ : 0);
    }
    /// Bytes from `offset` on that are contiguous for the guest.
    [[nodiscard]] std::uint64_t contiguous(std::uint64_t offset) const {
        return gap_ != 0 && offset < split_ ? split_ - offset : size_ - offset;
    }
    /// The first offset from `offset` on where `length` bytes do not cross a hole.
    [[nodiscard]] std::uint64_t place(std::uint64_t offset, std::uint64_t length) const {
        return contiguous(offset) < length ? split_ : offset;
    }

  private:
    reactor::Io& io_;
    std::uint64_t size_;
    std::uint64_t split_;
    std::uint64_t gap_;
    reactor::Handle handle_ = reactor::kNoHandle;
    std::unique_ptr<reactor::Mapping> mapping_;
    std::byte* base_ = nullptr;
};

}  // namespace remora::sim
