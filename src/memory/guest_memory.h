// SPDX-License-Identifier: Apache-2.0
// GuestMemory: a guest's physical memory as its regions give it. Hostile: its bytes change while
// they are read, so callers copy fixed-size parts out once and never read them again. It yields
// checked byte runs, never typed pointers. Owns nothing; used on one reactor.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "core/result.h"

namespace remora::memory {

class GuestMemory {
  public:
    static constexpr std::size_t kMaxRegions = 64;

    struct Region {
        std::uint64_t guest_address = 0;  ///< First guest physical address.
        std::uint64_t user_address = 0;   ///< The same in the front end's address space.
        std::span<std::byte> bytes;       ///< Where it is mapped here.
    };

    /// Replaces the table; sorted by guest address here. Errors: InvalidArgument for overlapping,
    /// empty, wrapping or too many regions; then the old table stays.
    core::Result<void> set_regions(std::span<const Region> regions);
    void clear() {
        count_ = 0;
        last_ = 0;
    }
    [[nodiscard]] std::span<const Region> regions() const { return {regions_.data(), count_}; }

    /// The run of at most `size` bytes at guest address `address` that lies in one region: empty
    /// when the address is in none.
    [[nodiscard]] std::span<std::byte> run_at(std::uint64_t address, std::uint64_t size) const;

    /// The bytes [address, address + size) if they lie in one region as a whole, else empty.
    [[nodiscard]] std::span<std::byte> whole_at(std::uint64_t address, std::uint64_t size) const {
        const std::span<std::byte> run = run_at(address, size);
        return run.size() == size ? run : std::span<std::byte>{};
    }

    /// The same by the front end's user address (vhost-user ring addresses).
    [[nodiscard]] std::span<std::byte> whole_at_user(std::uint64_t address,
                                                     std::uint64_t size) const;

    /// The guest address of a byte of a run; nothing when it is in no region. Looks at all of them:
    /// not for each I/O of every day.
    [[nodiscard]] std::optional<std::uint64_t> guest_address_of(const std::byte* at) const;

    /// Copies `size` bytes out of guest memory, across regions. False when any is unmapped.
    [[nodiscard]] bool copy_out(std::uint64_t address, std::span<std::byte> to) const;
    /// Copies into guest memory. False when any is unmapped (then a prefix may be written).
    [[nodiscard]] bool copy_in(std::uint64_t address, std::span<const std::byte> from) const;

  private:
    [[nodiscard]] const Region* find(std::uint64_t address) const;

    std::array<Region, kMaxRegions> regions_{};
    std::size_t count_ = 0;
    mutable std::size_t last_ = 0;  // the region that answered last: guests stay in one
};

}  // namespace remora::memory
