// SPDX-License-Identifier: Apache-2.0
// Faults: what may go wrong in a run and how often, drawn from the seed. Each kind draws from its
// own generator, so that one can be switched off (to shrink a failure) and the others stay as they
// were. What must be survived is the budget in docs/TESTING.md.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/prng.h"
#include "core/result.h"
#include "core/units.h"

namespace remora::sim {

enum class Fault : std::uint8_t {
    Delay,          ///< A segment of a TCP stream takes long.
    Split,          ///< A stream arrives in pieces, down to single bytes.
    HalfClose,      ///< One direction of a TCP connection ends.
    Reset,          ///< A TCP connection is reset at some byte.
    Partition,      ///< Two machines do not hear each other for a while.
    RefuseConnect,  ///< A connect is refused though somebody listens.
    SlowConnect,    ///< A connect takes seconds.
    BitFlip,        ///< A bit of a TCP segment changes under its checksum.
    DiskError,      ///< A file operation fails with EIO.
    DiskSlow,       ///< A file operation takes up to seconds.
    DiskFull,       ///< A write finds no space.
    FlushError,     ///< A flush fails.
    PowerLoss,      ///< A target's machine loses power: unflushed writes are torn, lost, reordered.
    KillTarget,     ///< A target's process is killed between two turns.
    KillIpu,        ///< The IPU's process is killed between two turns.
    KillInCall,     ///< A process is killed in the middle of a turn, at some call of its Io.
    KillHost,       ///< QEMU is killed and started anew.
    Stop,           ///< A daemon is stopped in good order, under load, and started again.
    Reboot,         ///< A guest reboots, with requests in flight.
    DropVhost,      ///< QEMU drops a vhost-user connection, or shares its memory anew.
    SmallPool,      ///< Payload buffers are nearly used up by somebody else.
    Stall,          ///< A reactor does not run for a while: its timers are late.
    EarlyWake,      ///< A reactor runs without reason, before its timers.
    ClockJump,      ///< A machine's monotonic clock leaps forward (it was suspended).
    ClockRate,      ///< Clocks run at different speeds: keep-alive races.
    Churn,          ///< The control client attaches and detaches all the time.
    NamespaceGone,  ///< A target's namespace is taken away under load and given back.
    LostCall,       ///< The control client loses a call's answer and tries again.
    HostTrouble,    ///< QEMU refuses, answers late or not at all, drops its monitor.
    HostileGuest,   ///< A guest that breaks every rule, beside the good ones.
    SmallLimits,    ///< Queue depth 1, one slot, tiny windows.
    Unlucky,        ///< REMORA_SOMETIMES places are taken.
    AnaChange,      ///< A way to a target gets worse or is lost, and is good again.
    Linger,         ///< What a killed process listened on stays taken for a while.
    MemberLoss,     ///< Members of arrays are taken away under load and replaced.
    Rekey,          ///< Encrypted volumes are given other keys under load.
    Throttle,       ///< Volumes in use get limits, other ones, and none again.
    Inject,         ///< Delays and errors on purpose come and go in volumes in use.
};
constexpr std::size_t kFaultCount = static_cast<std::size_t>(Fault::Inject) + 1;

std::string_view to_string(Fault fault);
std::optional<Fault> parse_fault(std::string_view text);

class Faults {
  public:
    /// Draws which kinds are on: a run has some of them, not all (swarm testing).
    Faults(core::Prng prng, const core::Nanos& now);

    /// Never again in this run; for shrinking.
    void disable(Fault fault) { at(fault).on = false; }
    /// Switches on what a scenario is about.
    void enable(Fault fault) { at(fault).on = true; }
    /// From now on nothing goes wrong any more.
    void stop() { stopped_ = true; }
    [[nodiscard]] bool stopped() const { return stopped_; }

    /// Whether the kind is on in this run (also after stop()).
    [[nodiscard]] bool drawn(Fault fault) const { return at(fault).on; }
    /// True once in `one_in` on average, while the kind is on. Draws in any case.
    bool strikes(Fault fault, std::uint64_t one_in);
    /// A number below `bound` from the kind's own generator.
    std::uint64_t pick(Fault fault, std::uint64_t bound) { return at(fault).prng.below(bound); }
    [[nodiscard]] std::uint64_t struck(Fault fault) const { return at(fault).struck; }
    /// What it struck says so only now: a slow disk fails an operation seconds after, and requests
    /// that came meanwhile fail with it.
    void is_told(Fault fault) { at(fault).last = now_; }
    /// When it struck last, or what it struck last said so; before all time if it has not.
    [[nodiscard]] core::Nanos last_strike(Fault fault) const { return at(fault).last; }

  private:
    struct Kind {
        core::Prng prng{0};
        bool on = false;
        std::uint64_t struck = 0;
        core::Nanos last = core::Nanos::min();
    };
    [[nodiscard]] Kind& at(Fault fault) { return kinds_[static_cast<std::size_t>(fault)]; }
    [[nodiscard]] const Kind& at(Fault fault) const {
        return kinds_[static_cast<std::size_t>(fault)];
    }
    const core::Nanos& now_;
    std::array<Kind, kFaultCount> kinds_;
    bool stopped_ = false;
};

}  // namespace remora::sim
