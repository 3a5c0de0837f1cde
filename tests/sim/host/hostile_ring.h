// SPDX-License-Identifier: Apache-2.0
// HostileRing: a virtqueue whose driver writes whatever it likes, by the modes that it was given.
// Between the lies it offers requests that are in order, so that there is something in flight.
#pragma once

#include <cstdint>

#include "core/prng.h"
#include "tests/sim/host/driver_ring.h"
#include "tests/sim/host/guest_ram.h"
#include "virtio/blk_request.h"

namespace remora::sim {

/// The ways to lie, as bits of WorkloadOptions::hostile.
enum class HostileMode : std::uint32_t {
    RingIndexJumps = 1U << 0U,  ///< Available indices and heads that no driver writes.
    ChainLoops = 1U << 1U,
    OutsideMemory = 1U << 2U,  ///< Descriptors that lead out of the guest's memory.
    BadIndirect = 1U << 3U,    ///< Nested, cut, empty, far too long indirect tables.
    UnknownType = 1U << 4U,
    HugeSectors = 1U << 5U,
    ZeroLength = 1U << 6U,
    ReadOnlyStatus = 1U << 7U,
    MemoryReplaced = 1U << 8U,  ///< Another memory table during I/O.
    MemoryUnmapped = 1U << 9U,  ///< A region goes during I/O.
    BadHandles = 1U << 10U,     ///< Missing, extra, of the wrong kind, memory that is too short.
    ByteByByte = 1U << 11U,     ///< No lie: messages in pieces of one byte.
    UnknownMessages = 1U << 12U,
    BadSizes = 1U << 13U,
    DisconnectMidMessage = 1U << 14U,
    KickStorms = 1U << 15U,
    DoubleFetch = 1U << 16U,  ///< The world calls HostileGuest::mutate().
    BadInflight = 1U << 17U,  ///< In-flight memory of the guest's own making.
    VringChurn = 1U << 18U,   ///< Vring messages in any order while the rings run.
    FullRing = 1U << 19U,     ///< A ring's length of chains at once, while others are in flight.
};
constexpr std::uint32_t kHostileModes = 20;

constexpr bool has_mode(std::uint32_t modes, HostileMode mode) {
    return (modes & static_cast<std::uint32_t>(mode)) != 0;
}

class HostileRing {
  public:
    static constexpr std::uint16_t kSize = 64;
    static constexpr std::uint64_t kChains = 16;  ///< Chains at a time, four descriptors each.
    static constexpr std::uint64_t kChainBytes = 8192;  ///< Header, table, data of one.
    static constexpr std::uint64_t kBytes = 4096 + kChains * kChainBytes;

    HostileRing(GuestRam& ram, std::uint64_t offset, std::uint32_t modes);

    /// Lies in these ways from now on.
    void set_modes(std::uint32_t modes) { modes_ = modes; }
    /// Writes a chain, in order or not, and makes it available.
    void offer(core::Prng& prng);
    /// Makes as many chains available as the ring has places, each to be refused at once.
    void flood();
    /// Everything as a driver that starts anew leaves it, with rings of that kind.
    void reset(bool packed);
    [[nodiscard]] bool packed() const { return packed_; }
    void mutate(core::Prng& prng);

    [[nodiscard]] virtio::vhost_user::VringAddress addresses(std::uint32_t index) const {
        return layout_.addresses(index);
    }

  private:
    void describe(std::uint64_t at,
                  std::uint64_t address,
                  std::uint32_t length,
                  std::uint16_t flags,
                  std::uint16_t next);
    void write_request(std::uint64_t at, core::Prng& prng);
    void spoil(std::uint64_t chain, core::Prng& prng);
    void spoil_indirect(std::uint64_t chain, core::Prng& prng);
    void spoil_address(std::uint64_t descriptor, core::Prng& prng);
    void publish(std::uint16_t head, core::Prng& prng);
    void publish_packed(std::uint16_t head);
    void write_packed_table(std::uint64_t at);
    void lie_about_flags(core::Prng& prng);
    [[nodiscard]] bool has(HostileMode mode) const { return has_mode(modes_, mode); }
    [[nodiscard]] std::uint64_t descriptor_at(std::uint64_t index) const {
        const std::uint64_t table = packed_ ? offset_ + kStaged : layout_.descriptors_offset();
        return table + sizeof(virtio::Descriptor) * index;
    }
    [[nodiscard]] std::uint64_t memory_of(std::uint64_t chain) const {
        return offset_ + 4096 + chain * kChainBytes;
    }

    /// A packed ring's chains are written here as those of a split ring, and copied from here.
    static constexpr std::uint64_t kStaged = 2048;

    GuestRam& ram_;
    std::uint64_t offset_;
    std::uint32_t modes_;
    DriverRing layout_;  // for where things lie
    std::uint16_t available_ = 0;
    bool packed_ = false;
    virtio::PackedPlace place_;
    std::uint64_t next_chain_ = 0;
};

}  // namespace remora::sim
