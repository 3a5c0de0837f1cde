// SPDX-License-Identifier: Apache-2.0
// FakeHost: the machine that disks are plugged into, in memory.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "platform/host_platform.h"
#include "reactor/call.h"
#include "tests/unit/control/steps.h"

namespace remora::test {

using reactor::Task;

/// The host: what is plugged into it outlives the daemon.
class FakeHost final : public platform::HostPlatform {
  public:
    FakeHost(std::map<std::uint32_t, std::string>& plugged, Steps& steps)
        : plugged_(plugged), steps_(steps) {}

    std::uint32_t places = platform::kMaxFunctions;
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
    std::set<std::uint32_t> slow_plugs;
    std::set<std::uint32_t> slow_unplugs;

    [[nodiscard]] std::string_view kind() const override { return "fake"; }
    [[nodiscard]] bool can_plug() const override { return true; }
    [[nodiscard]] std::uint32_t function_count() const override { return places; }
    [[nodiscard]] std::string trouble() const override { return {}; }
    [[nodiscard]] std::uint64_t generation() const override { return changes; }

    Task<Result<std::string>> plug(platform::PlugRequest request) override {
        if (auto step = steps_.take("plug"); !step) {
            co_return std::unexpected(step.error());
        }
        while (slow_plugs.contains(request.function)) {
            co_await reactor::sleep_for(std::chrono::milliseconds(1));
        }
        EXPECT_TRUE(served(request.socket_path)) << "QEMU would wait for it with the guest stopped";
        plugged_[request.function] = request.socket_path;
        if (plugs_of_unknown_end > 0) {
            --plugs_of_unknown_end;
            co_return fail(ErrorKind::DeadlineExceeded, "no answer");
        }
        co_return address(request.function);
    }
    Task<Result<void>> unplug(std::uint32_t function) override {
        if (auto step = steps_.take("unplug"); !step) {
            co_return step;
        }
        if (absent) {
            co_return fail(ErrorKind::NotFound, "no monitor");
        }
        while (slow_unplugs.contains(function)) {
            co_await reactor::sleep_for(std::chrono::milliseconds(1));
        }
        const auto device = plugged_.find(function);
        const bool stuck = busy_guest && device != plugged_.end() && !served(device->second);
        if (refused_unplugs > 0 || stuck) {
            refused_unplugs -= refused_unplugs > 0 ? 1 : 0;
            co_return fail(ErrorKind::DeadlineExceeded, "the guest does not let go");
        }
        if (device != plugged_.end()) {
            plugged_.erase(device);
        }
        co_return Result<void>();
    }
    Task<Result<std::vector<platform::PluggedDevice>>> list() override {
        std::vector<platform::PluggedDevice> devices;
        for (const auto& [function, socket] : plugged_) {
            devices.push_back({function, socket, address(function)});
        }
        if (const auto then = std::exchange(before_list_ends, nullptr)) {
            then();
        }
        co_return devices;
    }
    Task<> stop() override { co_return; }

  private:
    static std::string address(std::uint32_t function) {
        return "0000:00:" + std::to_string(function) + ".0";
    }
    std::map<std::uint32_t, std::string>& plugged_;
    Steps& steps_;
};

}  // namespace remora::test
