// SPDX-License-Identifier: Apache-2.0
// Chain: a descriptor chain translated to this process's memory, and ChainWalk, which fills it from
// one descriptor after the other. Both kinds of ring use them. The descriptors' bytes are a hostile
// driver's: what does not fit is refused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/segment.h"
#include "memory/guest_memory.h"

namespace remora::virtio {

/// First the parts the device reads, then those it writes. Value type over its owner's storage.
struct Chain {
    std::span<core::Segment> storage;  ///< Where the segments go; its size limits their number.
    std::uint16_t readable = 0;        ///< Segments the device may read: storage[0, readable).
    std::uint16_t writable = 0;        ///< Segments the device may write, after those.
    std::uint64_t readable_bytes = 0;
    std::uint64_t writable_bytes = 0;
    /// Of a chain that was refused: its last byte, if the device may write it and the memory is
    /// there. Drivers of virtio-blk have the status there.
    std::byte* last_byte = nullptr;

    [[nodiscard]] std::span<core::Segment> readable_segments() const {
        return storage.first(readable);
    }
    [[nodiscard]] std::span<core::Segment> writable_segments() const {
        return storage.subspan(readable, writable);
    }
};

/// What a queue keeps while it follows a chain. A buffer that breaks the rules does not end the
/// walk: the driver is to be told, at the end of the chain.
struct ChainWalk {
    const memory::GuestMemory& memory;
    Chain& chain;
    std::size_t segments = 0;  // filled in chain.storage
    std::uint16_t descriptors =
        0;  // seen, against the longest chain allowed: every loop ends there
    bool good = true;

    ChainWalk(const memory::GuestMemory& guest, Chain& into) : memory(guest), chain(into) {
        chain.readable = 0;
        chain.writable = 0;
        chain.readable_bytes = 0;
        chain.writable_bytes = 0;
        chain.last_byte = nullptr;
    }

    /// Adds one buffer.
    void append(std::uint64_t address, std::uint32_t length, bool writable) {
        if (good && translate(address, length, writable)) [[likely]] {
            return;
        }
        good = false;
        std::uint64_t last = 0;
        const bool there =
            writable && length > 0 && !__builtin_add_overflow(address, length - 1U, &last);
        chain.last_byte = there ? memory.run_at(last, 1).data() : nullptr;
    }
    /// The chain ends here. Whether it may be used.
    [[nodiscard]] bool finish() const { return good; }
    /// It has no end, or none that can be found.
    [[nodiscard]] bool give_up() const {
        chain.last_byte = nullptr;
        return false;
    }

  private:
    bool translate(std::uint64_t address, std::uint32_t length, bool writable) {
        // VIRTIO 1.2 section 2.7.4.2: device-readable parts come before device-writable ones.
        if ((!writable && chain.writable != 0) || length == 0) {
            return false;
        }
        std::uint64_t left = length;
        (writable ? chain.writable_bytes : chain.readable_bytes) += left;
        while (left > 0) {
            const std::span<std::byte> run = memory.run_at(address, left);
            if (run.empty() || segments == chain.storage.size()) {
                return false;
            }
            chain.storage[segments++] = {run.data(), run.size()};
            ++(writable ? chain.writable : chain.readable);
            address += run.size();
            left -= run.size();
        }
        return true;
    }
};

}  // namespace remora::virtio
