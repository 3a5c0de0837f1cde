// SPDX-License-Identifier: Apache-2.0
// The driver's half of a virtqueue, split or packed, for tests and for bench/vhost_load; and the
// guest memory it lies in. Tests describe chains as those of a split ring; of a packed one the
// table is the driver's own, and a chain's head is its buffer id.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "tests/support/vhost_socket.h"
#include "virtio/packed_layout.h"
#include "virtio/ring_layout.h"
#include "virtio/vhost_user/message.h"

namespace remora::test {

/// Guest memory: one memfd, mapped here, known to the device under a guest and a user address that
/// are neither each other nor ours.
class GuestRam {
  public:
    static constexpr std::uint64_t kGuestBase = 0x4000'0000;
    static constexpr std::uint64_t kUserBase = 0x7700'0000'0000;

    explicit GuestRam(std::size_t bytes);
    GuestRam(const GuestRam&) = delete;
    GuestRam& operator=(const GuestRam&) = delete;
    ~GuestRam();

    [[nodiscard]] std::span<std::byte> bytes() const { return {base_, size_}; }
    [[nodiscard]] std::byte* at(std::uint64_t offset) const { return base_ + offset; }
    [[nodiscard]] int fd() const { return fd_.get(); }
    [[nodiscard]] virtio::vhost_user::MemoryRegion region() const;
    static constexpr std::uint64_t guest(std::uint64_t offset) { return kGuestBase + offset; }
    static constexpr std::uint64_t user(std::uint64_t offset) { return kUserBase + offset; }

  private:
    Fd fd_;
    std::byte* base_ = nullptr;
    std::size_t size_ = 0;
};

enum class RingKind : std::uint8_t { Split, Packed };

class DriverRing {
  public:
    struct Used {
        std::uint32_t id = 0;
        std::uint32_t length = 0;
    };

    DriverRing(GuestRam& ram,
               std::uint64_t offset,
               std::uint16_t size,
               bool event_index,
               RingKind kind = RingKind::Split);
    static std::size_t bytes_for(std::uint16_t size);

    void describe(std::uint16_t index,
                  std::uint64_t guest_address,
                  std::uint32_t length,
                  std::uint16_t flags,
                  std::uint16_t next = 0);
    /// Writes an indirect table. In a packed ring's its entries follow each other.
    void write_table(std::uint64_t offset, std::span<const virtio::Descriptor> table) const;
    /// Offers a head; the device sees it after publish().
    void offer(std::uint16_t head);
    /// Makes the offered heads visible. Returns whether the device wants a kick.
    bool publish();
    /// Whether the device, as it sleeps or not now, wants a kick for the next head.
    [[nodiscard]] bool wants_kick() const;
    std::optional<Used> take_used();
    /// Asks for an interrupt when more is used than was taken. Returns whether there is already.
    bool request_interrupt();
    void suppress_interrupts();

    /// For tests that lie. Of a split ring only:
    void set_available_index(std::uint16_t index);
    /// How many heads the device has given back.
    [[nodiscard]] std::uint16_t used_index() const;
    /// Forgets the ring as a driver that starts anew does.
    void reset();

    /// What a front end tells as the ring's base when it starts it: as QEMU does, the used index,
    /// or for a packed ring where it was stopped last.
    [[nodiscard]] std::uint32_t base() const {
        return kind_ == RingKind::Packed ? base_ : std::uint32_t{used_index()};
    }
    void stopped_at(std::uint32_t base) { base_ = base; }

    [[nodiscard]] std::uint16_t size() const { return size_; }
    [[nodiscard]] RingKind kind() const { return kind_; }
    [[nodiscard]] virtio::vhost_user::VringAddress addresses(std::uint32_t index) const;
    /// Of a packed ring: where its next chain goes, and the ring's bytes, for tests that lie.
    [[nodiscard]] virtio::PackedPlace place() const { return available_place_; }
    [[nodiscard]] std::byte* descriptor(std::uint16_t index) const {
        return ram_->at(descriptors_ + sizeof(virtio::Descriptor) * index);
    }

  private:
    void offer_packed(std::uint16_t head);
    bool publish_packed();
    [[nodiscard]] bool is_used(virtio::PackedPlace place) const;
    std::optional<Used> take_used_packed();

    GuestRam* ram_;
    std::uint64_t descriptors_;
    std::uint64_t available_;
    std::uint64_t used_;
    std::uint16_t size_;
    bool event_index_;
    RingKind kind_;
    std::uint16_t offered_ = 0;
    std::uint16_t published_ = 0;
    std::uint16_t seen_ = 0;
    std::uint16_t parked_event_ = 0;  // while suppressed
    bool suppressed_ = false;
    // Of a packed ring:
    std::uint32_t base_ = virtio::PackedBase::kStart;
    std::vector<virtio::Descriptor> table_;
    std::vector<std::uint16_t> lengths_;  // descriptors of each head in flight
    std::vector<std::pair<virtio::PackedPlace, std::uint16_t>> hidden_;  // heads and their flags
    virtio::PackedPlace available_place_;
    virtio::PackedPlace used_place_;
};

}  // namespace remora::test
