// SPDX-License-Identifier: Apache-2.0
// DriverRing: the driver's half of a virtqueue, split or packed, in a guest's memory. It checks
// what the device gives back: each head was in flight, comes once, and tells a length that its
// chain has room for. A packed ring's head is a buffer id. Spec: VIRTIO 1.2 sections 2.7 and 2.8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tests/sim/host/guest_ram.h"
#include "virtio/packed_layout.h"
#include "virtio/ring_layout.h"
#include "virtio/vhost_user/message.h"

namespace remora::sim {

/// One descriptor of a chain.
struct ChainPart {
    std::uint64_t offset = 0;  ///< In the guest's memory.
    std::uint32_t length = 0;
    bool device_writes = false;
};

class DriverRing {
  public:
    struct Used {
        std::uint16_t head = 0;
        std::uint32_t length = 0;
    };
    using Violation = std::function<void(std::string what)>;

    DriverRing(GuestRam& ram, std::uint64_t offset, std::uint16_t size, Violation violation);
    static std::size_t bytes_for(std::uint16_t size);

    void set_event_index(bool event_index) { event_index_ = event_index; }
    /// Before anything is offered.
    void set_packed(bool packed) { packed_ = packed; }
    /// Puts a chain on the available ring; the device sees it after publish(). With `table` the
    /// descriptors lie there (16 bytes a part) and the ring holds one that points to it. The head,
    /// or nothing when too few descriptors are free.
    std::optional<std::uint16_t> offer(std::span<const ChainPart> parts,
                                       std::optional<std::uint64_t> table);
    /// Makes what was offered visible. Returns whether the device wants a kick.
    bool publish();
    /// The next chain that came back; its descriptors are free again.
    std::optional<Used> take_used();
    /// Asks for an interrupt when more comes back. Returns whether there is already.
    bool request_interrupt();
    void suppress_interrupts();

    [[nodiscard]] std::uint16_t size() const { return size_; }
    [[nodiscard]] std::size_t free_descriptors() const { return free_.size(); }
    /// The device's index made no sense: nothing comes back any more.
    [[nodiscard]] bool broken() const { return broken_; }
    [[nodiscard]] std::uint16_t in_flight() const { return in_flight_; }
    [[nodiscard]] std::uint16_t used_index() const;
    /// What the device's answer is when it stops the ring: everything it took is used.
    [[nodiscard]] std::uint32_t stopped_base() const;
    [[nodiscard]] bool packed() const { return packed_; }
    [[nodiscard]] std::uint16_t available_index() const { return published_; }
    [[nodiscard]] virtio::vhost_user::VringAddress addresses(std::uint32_t index) const;

    /// Where the parts lie, for guests that lie.
    [[nodiscard]] std::uint64_t descriptors_offset() const { return descriptors_; }
    [[nodiscard]] std::uint64_t available_offset() const { return available_; }
    [[nodiscard]] std::uint64_t used_offset() const { return used_; }

  private:
    struct Chain {
        bool in_flight = false;
        std::uint64_t writable = 0;              ///< Bytes the device may write.
        std::vector<std::uint16_t> descriptors;  ///< Of the ring's own table.
    };

    void write_chain(std::span<const ChainPart> parts,
                     std::optional<std::uint64_t> table,
                     std::span<const std::uint16_t> taken);
    void write_packed_chain(std::span<const ChainPart> parts,
                            std::optional<std::uint64_t> table,
                            std::uint16_t head);
    bool publish_packed();
    std::optional<Used> take_used_packed();
    std::optional<Used> settle(std::uint32_t head, std::uint32_t length);
    [[nodiscard]] bool is_used(virtio::PackedPlace place) const;
    [[nodiscard]] std::uint64_t place_at(std::uint16_t index) const {
        return descriptors_ + sizeof(virtio::PackedDescriptor) * index;
    }
    void describe(std::uint64_t at, const ChainPart& part, std::uint16_t flags, std::uint16_t next);

    GuestRam* ram_;
    std::uint64_t descriptors_;
    std::uint64_t available_;
    std::uint64_t used_;
    std::uint16_t size_;
    bool event_index_ = false;
    Violation violation_;
    std::vector<std::uint16_t> free_;  // last in, first out
    std::vector<Chain> chains_;        // by head
    std::uint16_t offered_ = 0;
    std::uint16_t published_ = 0;
    std::uint16_t seen_ = 0;
    bool broken_ = false;
    std::uint16_t in_flight_ = 0;  // published and not seen to be used
    // Of a packed ring:
    bool packed_ = false;
    virtio::PackedPlace available_place_;
    virtio::PackedPlace used_place_;
    std::vector<std::pair<virtio::PackedPlace, std::uint16_t>> hidden_;  // heads and their flags
};

}  // namespace remora::sim
