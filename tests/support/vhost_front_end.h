// SPDX-License-Identifier: Apache-2.0
// The other end of a vhost-user-blk device, for tests and for bench/vhost_load: guest memory in a
// memfd, a split-ring driver, and a front end that puts them together with a socket as QEMU does.
// Blocking calls with time-outs, on the caller's thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/byte_reader.h"
#include "tests/support/vhost_socket.h"
#include "virtio/blk_request.h"
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

/// The driver's half of a split virtqueue that lies at an offset of the guest memory.
class DriverRing {
  public:
    struct Used {
        std::uint32_t id = 0;
        std::uint32_t length = 0;
    };

    DriverRing(GuestRam& ram, std::uint64_t offset, std::uint16_t size, bool event_index);
    static std::size_t bytes_for(std::uint16_t size);

    void describe(std::uint16_t index,
                  std::uint64_t guest_address,
                  std::uint32_t length,
                  std::uint16_t flags,
                  std::uint16_t next = 0);
    /// Puts a head on the available ring; the device sees it after publish().
    void offer(std::uint16_t head);
    /// Makes the offered heads visible. Returns whether the device wants a kick.
    bool publish();
    /// Whether the device, as it sleeps or not now, wants a kick for the next head.
    [[nodiscard]] bool wants_kick() const;
    std::optional<Used> take_used();
    /// Asks for an interrupt when more is used than was taken. Returns whether there is already.
    bool request_interrupt();
    void suppress_interrupts();

    /// For tests that lie.
    void set_available_index(std::uint16_t index);
    [[nodiscard]] std::uint16_t used_index() const;
    /// Forgets the ring as a driver that starts anew does.
    void reset();

    [[nodiscard]] std::uint16_t size() const { return size_; }
    [[nodiscard]] virtio::vhost_user::VringAddress addresses(std::uint32_t index) const;

  private:
    GuestRam* ram_;
    std::uint64_t descriptors_;
    std::uint64_t available_;
    std::uint64_t used_;
    std::uint16_t size_;
    bool event_index_;
    std::uint16_t offered_ = 0;
    std::uint16_t published_ = 0;
    std::uint16_t seen_ = 0;
};

struct FrontEndOptions {
    std::string path;
    std::uint16_t queues = 1;
    std::uint16_t queue_size = 128;
    std::size_t memory_bytes = std::size_t{16} << 20U;
    bool event_index = true;
    bool indirect = true;
    bool inflight = true;  ///< Used where the device offers it.
};

/// A front end and driver as QEMU and a guest are together. The rings lie at the start of the
/// memory; what is behind data_offset() is the caller's.
class VhostFrontEnd {
  public:
    explicit VhostFrontEnd(FrontEndOptions options);

    /// Connects, negotiates, shares the memory and starts all queues. After disconnect() it does so
    /// again with the rings as they are, which is what QEMU does when the device comes back.
    /// False, with error(), when anything was refused.
    bool connect();
    void disconnect() { socket_.reset(); }
    /// The next connect() is a new machine's: nothing is in flight.
    void forget_inflight() { inflight_fd_ = Fd(); }
    [[nodiscard]] const std::string& error() const { return error_; }

    /// The steps of connect(), for tests that leave the path.
    bool negotiate();
    bool share_memory();
    bool share_inflight();
    bool start_queue(std::uint16_t index);
    /// Stops a queue; where it stopped.
    std::optional<std::uint16_t> stop_queue(std::uint16_t index);

    /// Sends a message that sets something and, where negotiated, checks the answer.
    bool set(RequestType type, std::span<const std::byte> payload, std::span<const int> fds = {});
    std::optional<virtio::BlkConfig> read_config();

    VhostSocket& socket() { return *socket_; }
    GuestRam& ram() { return ram_; }
    DriverRing& ring(std::uint16_t index) { return rings_[index]; }
    void kick(std::uint16_t index) { signal_eventfd(kicks_[index]); }
    [[nodiscard]] const Fd& call(std::uint16_t index) const { return calls_[index]; }
    [[nodiscard]] std::uint64_t data_offset() const { return data_offset_; }
    [[nodiscard]] std::uint64_t offered_features() const { return offered_; }
    [[nodiscard]] std::uint64_t features() const { return features_; }
    [[nodiscard]] bool has_inflight() const { return inflight_fd_.valid(); }
    [[nodiscard]] std::uint64_t device_queues() const { return device_queues_; }

  private:
    bool fail(const std::string& what);
    std::optional<std::uint64_t> get(RequestType type);

    FrontEndOptions options_;
    GuestRam ram_;
    std::vector<DriverRing> rings_;
    std::vector<Fd> kicks_;
    std::vector<Fd> calls_;
    std::uint64_t data_offset_ = 0;
    std::optional<VhostSocket> socket_;
    std::uint64_t offered_ = 0;
    std::uint64_t features_ = 0;
    std::uint64_t protocol_features_ = 0;
    std::uint64_t device_queues_ = 1;
    Fd inflight_fd_;
    virtio::vhost_user::InflightDescription inflight_;
    std::string error_;
};

/// One virtio-blk request in three descriptors (header, data, status) at fixed places.
struct BlkSlot {
    std::uint16_t head = 0;
    std::uint64_t header_offset = 0;  ///< 16 bytes; the status byte follows.
    std::uint64_t data_offset = 0;
    [[nodiscard]] std::uint64_t status_offset() const {
        return header_offset + sizeof(virtio::BlkHeader);
    }
};

/// Describes `type` at `sector` with `length` data bytes in the slot's descriptors and offers it.
void offer_request(GuestRam& ram,
                   DriverRing& ring,
                   const BlkSlot& slot,
                   virtio::BlkType type,
                   std::uint64_t sector,
                   std::uint32_t length);

}  // namespace remora::test
