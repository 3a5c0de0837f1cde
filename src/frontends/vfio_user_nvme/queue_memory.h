// SPDX-License-Identifier: Apache-2.0
// QueueMemory: a queue as it lies in guest memory. Clients may take that memory away and give it
// back while the queue exists (QEMU does when the guest's memory map changes), so it is looked up
// again then, and the queue stands still as long as it is out of reach.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "memory/guest_memory.h"

namespace remora::frontends::vfio_user_nvme {

/// Alignment that entries and doorbells are loaded and stored with.
constexpr std::size_t kWordBytes = 4;

/// The bytes if they are in one region and lie here as guest addresses say; else empty. A hostile
/// client can make them lie askew.
inline std::span<std::byte> aligned_memory(const memory::GuestMemory& guest,
                                           std::uint64_t address,
                                           std::uint64_t size) {
    const std::span<std::byte> bytes = guest.whole_at(address, size);
    const bool askew = reinterpret_cast<std::uintptr_t>(bytes.data()) % kWordBytes != 0;
    return askew ? std::span<std::byte>{} : bytes;
}

struct QueueMemory {
    std::uint64_t address = 0;
    std::uint32_t entries = 0;
    std::uint32_t entry_bytes = 0;
    std::span<std::byte> bytes;  ///< Empty: out of reach now.

    void locate(const memory::GuestMemory& guest) {
        bytes = aligned_memory(guest, address, std::uint64_t{entries} * entry_bytes);
    }
    [[nodiscard]] bool reachable() const { return !bytes.empty(); }
    [[nodiscard]] std::byte* entry(std::uint32_t index) const {
        return bytes.data() + std::size_t{index} * entry_bytes;
    }
    [[nodiscard]] std::uint32_t after(std::uint32_t index) const {
        return index + 1 == entries ? 0 : index + 1;
    }
};

}  // namespace remora::frontends::vfio_user_nvme
