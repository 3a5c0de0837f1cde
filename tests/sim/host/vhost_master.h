// SPDX-License-Identifier: Apache-2.0
// VhostMaster: QEMU's half of a vhost-user-blk disk: the character device, which connects and
// connects again, and the protocol of the device that uses it.
//
//   Idle ──realize──► Realized ──start──► Running      a lost connection leads back to Idle, and
//                        ◄───────stop──────┘           from there up again to what is wanted
//
// A connection that comes back gets the rings as they are: what was in flight is not offered again,
// the in-flight memory is handed over and each ring goes on from its used index; a packed ring has
// none, and its base is that of the last start or stop in order.
// Spec: QEMU docs/interop/vhost-user.rst; QEMU hw/block/vhost-user-blk.c.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "reactor/gate.h"
#include "reactor/reactor.h"
#include "reactor/signal.h"
#include "tests/sim/host/driver_ring.h"
#include "tests/sim/host/host_world.h"
#include "tests/sim/host/vhost_channel.h"
#include "virtio/blk_request.h"
#include "virtio/vhost_user/message.h"

namespace remora::sim {

/// The device as its guest's driver set it up. Never called from within its own calls.
class VhostDevice {
  public:
    virtual ~VhostDevice() = default;
    /// The features to use; asked once, when the device is realized first.
    virtual std::uint64_t choose_features(std::uint64_t offered) = 0;
    [[nodiscard]] virtual const WorkloadOptions& options() const = 0;
    /// The configuration space, at each connection before anything is started.
    virtual void on_config(const virtio::BlkConfig& config) = 0;
    /// From here on asked only when it was configured.
    [[nodiscard]] virtual const GuestRam& ram() const = 0;
    [[nodiscard]] virtual const DriverRing& ring(std::uint16_t queue) const = 0;
    [[nodiscard]] virtual reactor::Handle kick(std::uint16_t queue) const = 0;
    [[nodiscard]] virtual reactor::Handle call(std::uint16_t queue) const = 0;
    /// The rings run, for the first time or again.
    virtual void on_started() = 0;
};

struct MasterLimits {
    reactor::Nanos reconnect{std::chrono::seconds(1)};
    reactor::Nanos connect{std::chrono::seconds(5)};
    reactor::Nanos answer{std::chrono::seconds(60)};
};

class VhostMaster {
  public:
    enum class State : std::uint8_t { Idle, Realized, Running };

    VhostMaster(reactor::Reactor& reactor,
                HostWorld& world,
                std::string path,
                MasterLimits limits = {});
    VhostMaster(const VhostMaster&) = delete;
    VhostMaster& operator=(const VhostMaster&) = delete;
    /// Requires close(), or that open() was never called.
    ~VhostMaster();

    /// Begins to connect, and does so until close().
    void open();
    /// Hangs up and ends. Bounded.
    reactor::Task<> close();

    /// A device to speak for, until detach(). Nothing is in flight of it.
    void attach(VhostDevice& device);
    /// The device goes; it must be stopped. The connection stays, unless it was in use just now.
    reactor::Task<> detach();
    /// Features and configuration are agreed on; false when that did not happen in time.
    reactor::Task<bool> realize(reactor::Nanos deadline);
    /// The rings shall run: as soon as there is a connection, and again after each new one.
    void start();
    /// The rings shall stop. True when they did; false when the connection had to go instead or
    /// the deadline passed.
    reactor::Task<bool> stop(reactor::Nanos deadline);
    /// The guest starts anew: its rings begin at 0 and nothing of them is in flight. They must be
    /// stopped.
    void forget_rings();
    /// Tells the running back end its memory table once more, as QEMU does when memory is plugged.
    void share_memory_again();
    /// Hangs up; it connects again after the interval, as always.
    void drop_connection();

    [[nodiscard]] const std::string& path() const { return path_; }
    [[nodiscard]] bool connected() const { return channel_.is_open(); }
    [[nodiscard]] State state() const { return state_; }
    [[nodiscard]] std::uint64_t features() const { return features_; }
    [[nodiscard]] std::uint64_t connections() const { return connections_; }

  private:
    using RequestType = virtio::vhost_user::RequestType;

    reactor::Task<> run();
    reactor::Task<bool> step();
    [[nodiscard]] bool settled() const;
    void come_to(State state);
    void drop();
    reactor::Task<bool> reach(State wanted, bool up, reactor::Nanos deadline);

    reactor::Task<bool> negotiate();
    reactor::Task<bool> read_config();
    reactor::Task<bool> share_inflight();
    reactor::Task<bool> share_memory();
    reactor::Task<bool> start_ring(std::uint16_t queue);
    reactor::Task<bool> start_rings();
    reactor::Task<bool> stop_rings();

    reactor::Task<std::optional<VhostReply>> ask(RequestType type, std::vector<std::byte> payload);
    reactor::Task<std::optional<std::uint64_t>> ask_u64(RequestType type);
    reactor::Task<bool> set(RequestType type,
                            std::vector<std::byte> payload,
                            std::vector<reactor::Handle> handles = {});
    reactor::Task<bool> set_u64(RequestType type, std::uint64_t value);
    void make_masked_calls();
    void forget_inflight();

    reactor::Reactor& reactor_;
    HostWorld& world_;
    std::string path_;
    MasterLimits limits_;
    VhostChannel channel_;
    reactor::Gate gate_;
    reactor::Signal changed_;
    std::vector<reactor::Signal*> waiting_;  // for a state
    VhostDevice* device_ = nullptr;
    State state_ = State::Idle;
    State wanted_ = State::Idle;
    bool closing_ = false;
    bool stepping_ = false;  // step() is under way
    bool drop_wanted_ = false;
    bool share_wanted_ = false;
    std::uint64_t connections_ = 0;

    // Of the device:
    bool has_features_ = false;
    std::uint64_t features_ = 0;
    std::uint64_t protocol_features_ = 0;
    std::vector<std::optional<std::uint32_t>> bases_;  // nothing: of a ring that begins
    std::vector<reactor::Handle> masked_calls_;
    reactor::Handle inflight_handle_ = reactor::kNoHandle;
    virtio::vhost_user::InflightDescription inflight_;
};

}  // namespace remora::sim
