// SPDX-License-Identifier: Apache-2.0
// HostileGuest: a QEMU and guest that lie, each in the ways its flags allow. What happens to its
// own disk does not matter; the back end must live on and serve every other.
//
//   connect ─► set up (mostly as QEMU does) ─► act, act, act … ─► hang up ─► again
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/prng.h"
#include "reactor/gate.h"
#include "reactor/reactor.h"
#include "reactor/signal.h"
#include "tests/sim/host/host_world.h"
#include "tests/sim/host/hostile_ring.h"
#include "tests/sim/host/vhost_channel.h"

namespace remora::sim {

class HostileGuest {
  public:
    HostileGuest(reactor::Reactor& reactor,
                 HostWorld& world,
                 std::string path,
                 WorkloadOptions options,
                 core::Prng prng);
    HostileGuest(const HostileGuest&) = delete;
    HostileGuest& operator=(const HostileGuest&) = delete;
    /// Requires stop(), or that start() was never called.
    ~HostileGuest();

    /// On the reactor.
    void start();
    reactor::Task<> stop();

    /// Changes bytes of descriptors, rings, headers and indirect tables, or offers a ring full of
    /// chains. For a world that calls this between two accesses of the back end to the guest's
    /// memory; it does nothing else.
    void mutate(core::Prng& prng);
    /// Whether its flags ask for that.
    [[nodiscard]] bool wants_mutation() const {
        return has(HostileMode::DoubleFetch) || has(HostileMode::FullRing);
    }

    [[nodiscard]] const std::string& path() const { return path_; }
    /// Connections made, connections that came as far as running rings, and things done.
    [[nodiscard]] std::uint64_t connections() const { return connections_; }
    [[nodiscard]] std::uint64_t sessions() const { return sessions_; }
    [[nodiscard]] std::uint64_t acts() const { return acts_; }

  private:
    using RequestType = virtio::vhost_user::RequestType;
    using Bytes = std::vector<std::byte>;
    using Handles = std::vector<reactor::Handle>;

    reactor::Task<> run();
    reactor::Task<> live();
    reactor::Task<bool> set_up();
    reactor::Task<bool> set_up_queue(std::uint16_t queue);
    reactor::Task<bool> share_memory();
    reactor::Task<bool> share_inflight();
    reactor::Task<> act();
    reactor::Task<> message_act();
    void draw_modes();
    void guest_act();
    void kick(std::uint16_t queue, std::uint64_t times);

    /// Says it, or something like it, and waits a little for an answer.
    reactor::Task<bool> say(RequestType type, Bytes payload, Handles handles = {});
    reactor::Task<bool> say_raw(std::uint32_t request, Bytes payload, Handles handles);
    void spoil_size(Bytes& message);
    void spoil_handles(Handles& handles);
    void send_unknown();
    [[nodiscard]] Bytes memory_table(std::uint32_t& count);
    /// A handle that lives until the connection has ended.
    reactor::Handle scrap_event();
    reactor::Handle scrap_memory(std::uint64_t bytes);
    void clear_scrap();

    [[nodiscard]] bool has(HostileMode mode) const { return has_mode(modes_, mode); }
    bool one_in(std::uint64_t chances) { return prng_.below(chances) == 0; }
    reactor::Task<> pause(reactor::Nanos most);

    reactor::Reactor& reactor_;
    HostWorld& world_;
    std::string path_;
    WorkloadOptions options_;
    std::uint32_t modes_;  // of options_.hostile, those of this connection
    core::Prng prng_;
    VhostChannel channel_;
    reactor::Gate gate_;
    bool stopping_ = false;
    bool spoils_ = true;  // what it says; half of the connections begin in good order
    std::unique_ptr<GuestRam> ram_;
    std::vector<std::unique_ptr<HostileRing>> rings_;
    std::vector<std::pair<reactor::Handle, std::unique_ptr<reactor::Event>>> kicks_;
    Handles scrap_;
    std::uint64_t connections_ = 0;
    std::uint64_t sessions_ = 0;
    std::uint64_t acts_ = 0;
};

}  // namespace remora::sim
