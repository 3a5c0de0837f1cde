// SPDX-License-Identifier: Apache-2.0
// nvme::Reservation: who is registered with a namespace and who has it reserved: a pure state
// machine, free of reactors and transports. A host is its 128-bit host identifier, however many
// controllers it has.
//
//   no registrant ─Register─► registered ─Acquire─► reserved ─Release, holder's Unregister─┐
//         ▲                      │    ▲                  │    (all registrants: the last's) │
//         └── Unregister, Clear ─┴────┼── Preempt: another ◄┘                               │
//                                     └────────────────────────────────────────────────────┘
//
// One object is the truth (control reactor, Reservations of frontends/nvme_tcp); the data path has
// copies of its access() on each reactor.
//
// NVM Express Base Specification 2.0, Reservations.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <vector>

#include "nvme/spec/command.h"
#include "nvme/spec/reservation.h"

namespace remora::nvme {

using HostId = std::array<std::uint8_t, 16>;
using spec::ReservationType;

/// Hosts that may be registered with one namespace at a time.
constexpr std::size_t kMaxRegistrants = 64;

/// What a command does, as the table of commands that a reservation lets by sees it (NVM Express
/// Base Specification 2.0, Command Behavior in the Presence of a Reservation).
enum class CommandGroup : std::uint8_t {
    Read,   ///< Read, Compare, Verify.
    Write,  ///< Write, Write Zeroes, Dataset Management, Copy, Flush.
};

struct Registrant {
    HostId host{};
    std::uint64_t key = 0;

    bool operator==(const Registrant&) const = default;
};

/// The whole state, as it is stored for after a restart.
struct ReservationRecord {
    bool persist = false;  ///< PTPL: survives a restart.
    std::uint32_t generation = 0;
    ReservationType type = ReservationType::None;
    HostId holder{};  ///< Of the types that have one.
    std::vector<Registrant> registrants{};

    bool operator==(const ReservationRecord&) const = default;
};

/// Whether a record that comes from elsewhere can be a state: hosts that differ, few enough, a
/// holder among them.
[[nodiscard]] bool is_consistent(const ReservationRecord& record);

/// Who may use a namespace: what one I/O asks. In all six types some hosts may do everything and
/// the others may read or nothing.
class ReservationAccess {
  public:
    /// Nobody has it reserved: everything is let by.
    ReservationAccess() = default;
    explicit ReservationAccess(const ReservationRecord& record);

    [[nodiscard]] bool reserved() const { return reserved_; }
    /// Of a namespace that is reserved().
    [[nodiscard]] bool admits(CommandGroup group, const HostId& host) const;

  private:
    bool reserved_ = false;
    bool others_read_ = false;
    std::vector<HostId> trusted_;  // ascending
};

/// A Reservation Register, Acquire or Release, or Set Features of Reservation Persistence.
struct ReservationCommand {
    enum class Action : std::uint8_t {
        Register,
        Unregister,
        Replace,
        Acquire,
        Preempt,
        PreemptAndAbort,
        Release,
        Clear,
        SetPersistence,
    };
    Action action = Action::Register;
    bool ignore_key = false;
    ReservationType type = ReservationType::None;
    std::uint64_t key = 0;          ///< The host's own.
    std::uint64_t other_key = 0;    ///< The new one, or the preempted one.
    std::optional<bool> persist{};  ///< What PTPL becomes.
};

/// Bytes of data of one of the four reservation commands. The error is a status field.
std::expected<std::uint32_t, std::uint16_t> reservation_data_bytes(const spec::Command& command);
/// Of those that change something, with the data that reservation_data_bytes() said. The error is
/// the status field to answer with.
std::expected<ReservationCommand, std::uint16_t> decode_reservation(
    const spec::Command& command, std::span<const std::byte> data);

struct HostNotice {
    HostId host{};
    spec::ReservationNotice type = spec::ReservationNotice::Empty;

    bool operator==(const HostNotice&) const = default;
};

/// What a command did beside the change itself.
struct ReservationOutcome {
    std::uint16_t status = 0;         ///< Not 0: nothing has changed.
    std::vector<HostNotice> notices;  ///< Never to the host that sent the command.
    std::vector<HostId> aborted;      ///< Whose commands end before the answer.
};

class Reservation {
  public:
    Reservation() = default;
    /// The record is consistent.
    explicit Reservation(ReservationRecord record);

    [[nodiscard]] const ReservationRecord& record() const { return record_; }
    [[nodiscard]] bool holds(const HostId& host) const;

    /// Carries a command of `host` out, wholly or not at all.
    ReservationOutcome apply(const ReservationCommand& command, const HostId& host);

  private:
    [[nodiscard]] const Registrant* find(const HostId& host) const;
    [[nodiscard]] bool all_registrants() const;
    void remove(const HostId& host);
    void release();
    void tell_registrants(spec::ReservationNotice type,
                          const HostId& except,
                          ReservationOutcome& outcome) const;
    template <typename Chosen>
    bool unregister_others(Chosen chosen, const HostId& host, ReservationOutcome& outcome);

    std::uint16_t change_registration(const ReservationCommand& command,
                                      const HostId& host,
                                      ReservationOutcome& outcome);
    std::uint16_t add(const HostId& host, std::uint64_t key);
    void unregister(const HostId& host, ReservationOutcome& outcome);
    std::uint16_t acquire(ReservationType type, const HostId& host);
    std::uint16_t preempt(const ReservationCommand& command,
                          const HostId& host,
                          ReservationOutcome& outcome);
    std::uint16_t release_by(ReservationType type, const HostId& host, ReservationOutcome& outcome);
    void clear(const HostId& host, ReservationOutcome& outcome);

    ReservationRecord record_;
};

/// A controller and its host, for a report.
struct HostController {
    HostId host{};
    std::uint16_t cntlid = 0;
};
/// The Reservation Status Extended structure: one entry a controller of a registrant, or one with
/// FFFFh for a registrant without any.
std::vector<std::byte> reservation_report(const Reservation& from,
                                          std::span<const HostController> controllers);

}  // namespace remora::nvme
