// SPDX-License-Identifier: Apache-2.0
// FakeHost: the machine that disks are plugged into, in memory.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "platform/host_platform.h"
#include "reactor/call.h"
#include "tests/unit/control/steps.h"

namespace remora::test {

using reactor::Task;

/// The host: what is plugged into it outlives the daemon.
class FakeHost final : public platform::HostPlatform {
  public:
    FakeHost(std::map<core::HostFunction, std::string>& plugged, Steps& steps);
    ~FakeHost() override;

    platform::FunctionCounts places{platform::kMaxFunctions};
    /// Whether somebody serves the socket. A device must not be plugged where nobody does.
    std::function<bool(const std::string& socket)> served = [](const std::string&) { return true; };
    std::uint64_t changes = 1;  ///< generation()
    /// Runs once, when list() knows its answer and has not given it.
    std::function<void()> before_list_ends;
    bool busy_guest = false;  ///< It lets go only of disks that are served.
    int plugs_of_unknown_end =
        0;                    ///< So many next plugs have their effect, and say DeadlineExceeded.
    int refused_unplugs = 0;  ///< So many next unplugs time out.
    bool absent = false;      ///< Its process has ended.
    /// Functions that the host thinks about for as long as they are here.
    std::set<core::HostFunction> slow_plugs;
    std::set<core::HostFunction> slow_unplugs;

    [[nodiscard]] std::string_view kind() const override { return "fake"; }
    [[nodiscard]] bool can_plug() const override { return true; }
    [[nodiscard]] platform::FunctionCounts function_counts() const override { return places; }
    [[nodiscard]] std::string trouble() const override { return {}; }
    [[nodiscard]] std::uint64_t generation() const override { return changes; }

    Task<Result<std::string>> plug(platform::PlugRequest request) override;
    Task<Result<void>> unplug(core::HostFunction function) override;
    Task<Result<std::vector<platform::PluggedDevice>>> list() override;
    Task<> stop() override;

  private:
    static std::string address(core::HostFunction function);

    std::map<core::HostFunction, std::string>& plugged_;
    Steps& steps_;
};

}  // namespace remora::test
