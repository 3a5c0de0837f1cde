// SPDX-License-Identifier: Apache-2.0
// nvme::AnaPort: how good the way through one port of a subsystem is, and what its controllers tell
// of it. All namespaces of a subsystem are one ANA group, so a port has one state.
//
// NVM Express Base 2.0, Asymmetric Namespace Access Reporting.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "nvme/spec/ana.h"
#include "nvme/subsystem.h"

namespace remora::nvme {

/// A port as one reactor sees it.
struct AnaPort {
    spec::AnaState state = spec::AnaState::Optimized;
    std::uint64_t changes = 0;  ///< Of the state, since the port is there.
};

/// The one group of every namespace (ANAGRPID).
constexpr std::uint32_t kAnaGroup = 1;
/// ANATT: how long a host should wait for the state Change to pass, in seconds.
constexpr std::uint8_t kAnaTransitionSeconds = 10;

/// The status field an I/O command gets on a port in this state; 0: it is carried out.
constexpr std::uint16_t ana_refusal(spec::AnaState state) {
    switch (state) {
        case spec::AnaState::Optimized:
        case spec::AnaState::NonOptimized:
            return 0;
        case spec::AnaState::Inaccessible:
            return spec::status_field(spec::StatusCode::AnaInaccessible);
        case spec::AnaState::PersistentLoss:
            return spec::status_field(spec::StatusCode::AnaPersistentLoss);
        case spec::AnaState::Change:
            break;
    }
    return spec::status_field(spec::StatusCode::AnaTransition);
}

/// Fills `to` with the log's bytes from `offset`, zeros behind its end. False: `offset` is behind
/// the end.
bool read_ana_log(const AnaPort& port,
                  const Subsystem& subsystem,
                  bool groups_only,
                  std::uint64_t offset,
                  std::span<std::byte> to);

}  // namespace remora::nvme
