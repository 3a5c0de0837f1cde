// SPDX-License-Identifier: Apache-2.0
// The other end of a vhost-user-blk device, for tests and for bench/vhost_load: a front end that
// puts guest memory, a driver's rings and a socket together as QEMU does. Blocking calls with
// time-outs, on the caller's thread.
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
#include "tests/support/driver_ring.h"
#include "tests/support/vhost_socket.h"
#include "virtio/blk_request.h"
#include "virtio/ring_layout.h"
#include "virtio/vhost_user/message.h"

namespace remora::test {

struct FrontEndOptions {
    std::string path;
    std::uint16_t queues = 1;
    std::uint16_t queue_size = 128;
    std::size_t memory_bytes = std::size_t{16} << 20U;
    bool event_index = true;
    bool indirect = true;
    bool inflight = true;  ///< Used where the device offers it.
    RingKind ring = RingKind::Split;
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
    std::optional<std::uint32_t> stop_queue(std::uint16_t index);

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
