// SPDX-License-Identifier: Apache-2.0
// The virtqueue's shared memory as the guest lays it out, and the feature bits that change it.
// Spec: Virtual I/O Device (VIRTIO) 1.2, section 2.7 "Split Virtqueues", section 6 "Reserved
// Feature Bits".
//
//   descriptor table   16 x size   the driver writes, the device reads
//   available ring      6 + 2 x size: flags, idx, ring[size], used_event
//   used ring           6 + 8 x size: flags, idx, {id, len}[size], avail_event
//
// The rings are little-endian and shared with a hostile writer: each field is read with one of the
// loads below, once, and never through a typed pointer that the compiler could read again.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include "core/endian.h"

namespace remora::virtio {

static_assert(std::endian::native == std::endian::little,
              "ring indices are loaded and stored as they lie in memory");

/// Feature bits by number. VIRTIO 1.2 section 6; bits 26 and 30 are vhost-user's own.
enum class Feature : std::uint8_t {
    BlkSegMax = 2,
    BlkReadOnly = 5,
    BlkBlkSize = 6,
    BlkFlush = 9,
    BlkTopology = 10,
    BlkConfigWce = 11,
    BlkMultiQueue = 12,
    BlkDiscard = 13,
    BlkWriteZeroes = 14,
    LogAll = 26,
    IndirectDescriptors = 28,
    EventIndex = 29,
    VhostUserProtocol = 30,
    Version1 = 32,
    RingPacked = 34,
};

constexpr std::uint64_t bit(Feature feature) {
    return std::uint64_t{1} << static_cast<unsigned>(feature);
}
constexpr bool has(std::uint64_t features, Feature feature) {
    return (features & bit(feature)) != 0;
}

// VIRTIO 1.2 section 2.7.5: struct virtq_desc.
struct Descriptor {
    core::le64 address;  ///< Guest physical.
    core::le32 length;
    core::le16 flags;
    core::le16 next;
};
static_assert(sizeof(Descriptor) == 16 && alignof(Descriptor) == 1);
static_assert(std::is_trivially_copyable_v<Descriptor>);

namespace descriptor_flags {
constexpr std::uint16_t kNext = 1;
constexpr std::uint16_t kWrite = 2;
constexpr std::uint16_t kIndirect = 4;
}  // namespace descriptor_flags

// VIRTIO 1.2 sections 2.7.6 and 2.7.8: the flags that suppress the other side's notifications.
constexpr std::uint16_t kAvailNoInterrupt = 1;
constexpr std::uint16_t kUsedNoNotify = 1;

/// Where the three parts of a virtqueue are mapped. Of a packed one: the descriptor ring, the
/// driver's and the device's event suppression area.
struct RingMemory {
    std::span<std::byte> descriptors;
    std::span<std::byte> available;
    std::span<std::byte> used;
};

constexpr std::size_t descriptor_table_bytes(std::uint16_t size) {
    return std::size_t{16} * size;
}
constexpr std::size_t available_ring_bytes(std::uint16_t size, bool event_index) {
    return 4 + std::size_t{2} * size + (event_index ? 2U : 0U);
}
constexpr std::size_t used_ring_bytes(std::uint16_t size, bool event_index) {
    return 4 + std::size_t{8} * size + (event_index ? 2U : 0U);
}

// Alignments of VIRTIO 1.2 section 2.7.
constexpr std::size_t kDescriptorAlignment = 16;
constexpr std::size_t kAvailableAlignment = 2;
constexpr std::size_t kUsedAlignment = 4;

inline std::uint16_t load16_relaxed(const std::byte* at) {
    return __atomic_load_n(reinterpret_cast<const std::uint16_t*>(at), __ATOMIC_RELAXED);
}
inline std::uint16_t load16_acquire(const std::byte* at) {
    return __atomic_load_n(reinterpret_cast<const std::uint16_t*>(at), __ATOMIC_ACQUIRE);
}
inline void store16_relaxed(std::byte* at, std::uint16_t value) {
    __atomic_store_n(reinterpret_cast<std::uint16_t*>(at), value, __ATOMIC_RELAXED);
}
inline void store16_release(std::byte* at, std::uint16_t value) {
    __atomic_store_n(reinterpret_cast<std::uint16_t*>(at), value, __ATOMIC_RELEASE);
}

/// Copies one descriptor out of guest memory, exactly once: the empty asm makes the two words
/// opaque, so that the compiler cannot fetch them again after they were checked.
inline Descriptor load_descriptor(const std::byte* at) {
    std::uint64_t words[2];
    std::memcpy(words, at, sizeof(words));
    __asm__ volatile("" : "+r"(words[0]), "+r"(words[1]));
    Descriptor copy;
    std::memcpy(&copy, words, sizeof(copy));
    return copy;
}

/// VIRTIO 1.2 section 2.7.10: whether moving an index from `before` to `now` passed the event
/// index the other side asked to be told about.
constexpr bool passes_event(std::uint16_t event, std::uint16_t now, std::uint16_t before) {
    return static_cast<std::uint16_t>(now - event - 1) < static_cast<std::uint16_t>(now - before);
}

}  // namespace remora::virtio
