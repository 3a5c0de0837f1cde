// SPDX-License-Identifier: Apache-2.0
// Reservations: the one truth about who has which namespace of the target reserved, on the control
// reactor. The shards have copies of what the data path asks (nvme::ReservationAccess).
//
//   connection ──call──► change: turn of the namespace ─► what it would become
//                          ─► made durable (PTPL) ─► on every shard ─► hosts told
//                          ─► commands that it shuts out have ended ─► answer
//
// A command that is admitted anywhere after the answer has met the new state. It waits neither for
// Target's own turn nor for a lock of the control plane, both of which may be held by somebody who
// waits for the connection or the namespace of this very command.
#pragma once

#include <cstdint>
#include <expected>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "frontends/nvme_tcp/turnstile.h"
#include "nvme/reservation.h"
#include "nvme/reservation_keeper.h"
#include "reactor/gate.h"
#include "reactor/reactor.h"
#include "reactor/task.h"

namespace remora::frontends::nvme_tcp {

using core::Nanos;
using core::Result;
using reactor::Task;

class Shard;

/// A namespace, and which of those that had its NSID (0: whichever is there).
struct NamespacePlace {
    std::string nqn;
    std::uint32_t nsid = 0;
    std::uint64_t incarnation = 0;
};

/// A change on its way to the shards.
struct ReservationUpdate {
    nvme::ReservationAccess access;
    bool persist = false;
    std::vector<nvme::HostId> aborted;  ///< All of their commands are waited for.
};

class Reservations {
  public:
    /// `shards` outlive it. `drain`: how long an answer waits for commands to end.
    Reservations(reactor::Reactor& control,
                 std::span<const std::unique_ptr<Shard>> shards,
                 Nanos drain);
    Reservations(const Reservations&) = delete;
    Reservations& operator=(const Reservations&) = delete;
    /// After every namespace was removed.
    ~Reservations();

    reactor::Reactor& control() { return control_; }
    /// Null, which it is at first: nothing can be made to survive a restart.
    void set_keeper(nvme::ReservationKeeper* keeper) { keeper_ = keeper; }
    [[nodiscard]] bool can_persist() const { return keeper_ != nullptr; }

    // --- For the target; the record is consistent ---
    void add(const NamespacePlace& place, nvme::ReservationRecord record);
    /// Refuses further commands and returns when those under way have been answered.
    Task<> remove(std::string nqn, std::uint32_t nsid);
    /// The same for all of a subsystem.
    Task<> remove_all(std::string nqn);

    // --- For connections, by call_on(control()) ---
    /// Carries the command out; returns the status field.
    Task<std::uint16_t> change(NamespacePlace place,
                               nvme::HostId host,
                               nvme::ReservationCommand command);
    /// PTPL of one namespace, or of all (FFFFFFFFh).
    Task<std::uint16_t> persist(NamespacePlace place, nvme::HostId host, bool persist);
    /// The data structure of a Reservation Report; the error is a status field.
    Task<std::expected<std::vector<std::byte>, std::uint16_t>> report(NamespacePlace place);

  private:
    using Key = std::pair<std::string, std::uint32_t>;  // NQN, NSID
    struct Entry {
        NamespacePlace place;
        nvme::Reservation state;
        Turnstile turn;      // one change at a time
        reactor::Gate gate;  // commands under way: the entry outlives them
    };

    Entry* enter(const NamespacePlace& place);
    Task<std::uint16_t> change_now(Entry& entry,
                                   const nvme::HostId& host,
                                   const nvme::ReservationCommand& command);
    Task<Result<void>> keep(const Entry& entry, const nvme::ReservationRecord& next);
    Task<> update_shards(const NamespacePlace& place, const ReservationUpdate& update);
    Task<> tell_hosts(const NamespacePlace& place, const std::vector<nvme::HostNotice>& notices);
    Task<bool> drain(const NamespacePlace& place);

    reactor::Reactor& control_;
    std::span<const std::unique_ptr<Shard>> shards_;
    Nanos drain_;
    nvme::ReservationKeeper* keeper_ = nullptr;
    std::map<Key, std::unique_ptr<Entry>> entries_;
};

}  // namespace remora::frontends::nvme_tcp
