// SPDX-License-Identifier: Apache-2.0
// A packed virtqueue's shared memory. Spec: VIRTIO 1.2 section 2.8 "Packed Virtqueues".
//
//   descriptor ring            16 x size   driver and device write it in turns
//   driver event suppression    4 bytes    the driver writes: when it wants an interrupt
//   device event suppression    4 bytes    the device writes: when it wants a kick
//
// A descriptor's flags say whose it is: available when AVAIL is the lap's wrap counter and USED is
// not, used when both are. Size need not be a power of two, so a place is an index and a wrap
// counter; both are in 16 bits on the wire, the counter in the highest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "core/endian.h"

namespace remora::virtio {

// VIRTIO 1.2 section 2.8.13: struct pvirtq_desc.
struct PackedDescriptor {
    core::le64 address;  ///< Guest physical.
    core::le32 length;
    core::le16 id;
    core::le16 flags;
};
static_assert(sizeof(PackedDescriptor) == 16 && alignof(PackedDescriptor) == 1);
static_assert(std::is_trivially_copyable_v<PackedDescriptor>);
static_assert(offsetof(PackedDescriptor, id) == 12 && offsetof(PackedDescriptor, flags) == 14);

constexpr std::size_t kPackedFlagsOffset = 14;

// VIRTIO 1.2 section 2.8.1: the two flags that carry the wrap counters.
namespace packed_flags {
constexpr std::uint16_t kAvailable = 1U << 7U;
constexpr std::uint16_t kUsed = 1U << 15U;
constexpr std::uint16_t kBoth = kAvailable | kUsed;
/// What the two are in a descriptor that was made available in a lap of that wrap counter.
constexpr std::uint16_t available(bool wrap) {
    return wrap ? kAvailable : kUsed;
}
/// And in one that was used.
constexpr std::uint16_t used(bool wrap) {
    return wrap ? kBoth : 0;
}
}  // namespace packed_flags

// VIRTIO 1.2 section 2.8.14: struct pvirtq_event_suppress, both halves in one load or store.
namespace packed_event {
constexpr std::size_t kBytes = 4;
constexpr std::uint16_t kEnable = 0;
constexpr std::uint16_t kDisable = 1;
constexpr std::uint16_t kAtDescriptor = 2;
constexpr std::uint32_t make(std::uint16_t place, std::uint16_t flags) {
    return (std::uint32_t{flags} << 16U) | place;
}
constexpr std::uint16_t place_of(std::uint32_t event) {
    return static_cast<std::uint16_t>(event & 0xffffU);
}
constexpr std::uint16_t flags_of(std::uint32_t event) {
    return static_cast<std::uint16_t>((event >> 16U) & 3U);
}
}  // namespace packed_event

/// A place in a packed ring: an index and the wrap counter of the lap.
struct PackedPlace {
    std::uint16_t index = 0;
    bool wrap = true;  ///< VIRTIO 1.2 section 2.8.1: both counters start at 1.

    /// As messages and event suppression areas carry it.
    [[nodiscard]] constexpr std::uint16_t encoded() const {
        return static_cast<std::uint16_t>((wrap ? 0x8000U : 0U) | index);
    }
    static constexpr PackedPlace decode(std::uint16_t wire) {
        return {static_cast<std::uint16_t>(wire & 0x7fffU), (wire & 0x8000U) != 0};
    }
    /// The place `count` further on in a ring of `size`; `count` is at most `size`.
    [[nodiscard]] constexpr PackedPlace after(std::uint32_t count, std::uint16_t size) const {
        const std::uint32_t next = std::uint32_t{index} + count;
        return next < size ? PackedPlace{static_cast<std::uint16_t>(next), wrap}
                           : PackedPlace{static_cast<std::uint16_t>(next - size), !wrap};
    }
    constexpr bool operator==(const PackedPlace&) const = default;
};

/// Where both ends of a packed ring are, as SET_VRING_BASE and GET_VRING_BASE tell it: available
/// place in the lower half, used place in the upper one. QEMU docs/interop/vhost-user.rst, "Vring
/// descriptor indices".
struct PackedBase {
    PackedPlace available;
    PackedPlace used;

    static constexpr std::uint32_t kStart = 0x8000'8000;
    [[nodiscard]] constexpr std::uint32_t encoded() const {
        return (std::uint32_t{used.encoded()} << 16U) | available.encoded();
    }
    constexpr bool operator==(const PackedBase&) const = default;
    static constexpr PackedBase decode(std::uint32_t wire) {
        return {PackedPlace::decode(static_cast<std::uint16_t>(wire & 0xffffU)),
                PackedPlace::decode(static_cast<std::uint16_t>(wire >> 16U))};
    }
};
static_assert(PackedBase{}.encoded() == PackedBase::kStart);

inline std::uint32_t load32_relaxed(const std::byte* at) {
    return __atomic_load_n(reinterpret_cast<const std::uint32_t*>(at), __ATOMIC_RELAXED);
}
inline void store32_relaxed(std::byte* at, std::uint32_t value) {
    __atomic_store_n(reinterpret_cast<std::uint32_t*>(at), value, __ATOMIC_RELAXED);
}

/// Copies one descriptor out of the ring, exactly once (see load_descriptor).
inline PackedDescriptor load_packed_descriptor(const std::byte* at) {
    std::uint64_t words[2];
    std::memcpy(words, at, sizeof(words));
    __asm__ volatile("" : "+r"(words[0]), "+r"(words[1]));
    PackedDescriptor copy;
    std::memcpy(&copy, words, sizeof(copy));
    return copy;
}

}  // namespace remora::virtio
