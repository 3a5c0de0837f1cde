// SPDX-License-Identifier: Apache-2.0
// HostWorld: what the actors of a host ask of the world they run in, and what they tell it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "reactor/io.h"
#include "tests/sim/host/volume_oracle.h"
#include "tests/sim/host/workload.h"

namespace remora::sim {

class HostWorld {
  public:
    virtual ~HostWorld() = default;

    /// A new event of this process (as eventfd makes it). The taker owns the handle.
    virtual reactor::Handle create_event() = 0;
    /// Who judges the volume behind a socket. Lives as long as the world.
    virtual VolumeOracle* oracle_for(const std::string& socket_path) = 0;
    virtual WorkloadOptions workload_for(const std::string& socket_path) = 0;
    /// Whether somebody listens at the socket, or may have a reason not to.
    [[nodiscard]] virtual bool served(const std::string& /*socket_path*/) { return true; }
    /// Something happened that no correct back end does: the run has failed.
    virtual void violation(std::string what) = 0;
    /// Whether a guest's request that is `age` old may fail now.
    virtual bool errors_allowed(reactor::Nanos age) = 0;
    /// Nothing is to go wrong any more: hostile guests rest.
    [[nodiscard]] virtual bool calm() { return false; }
    virtual void trace(std::string_view what, std::uint64_t a, std::uint64_t b) = 0;
    /// A guest's request failed with a status other than OK (while that was allowed).
    virtual void on_guest_error(VolumeOracle::OpId /*op*/, std::uint8_t /*status*/) {}
};

}  // namespace remora::sim
