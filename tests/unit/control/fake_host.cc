// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/control/fake_host.h"

#include <chrono>
#include <utility>

#include <gtest/gtest.h>

namespace remora::test {

FakeHost::FakeHost(std::map<core::HostFunction, std::string>& plugged, Steps& steps)
    : plugged_(plugged), steps_(steps) {}

FakeHost::~FakeHost() = default;

Task<Result<std::string>> FakeHost::plug(platform::PlugRequest request) {
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

Task<Result<void>> FakeHost::unplug(core::HostFunction function) {
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

Task<Result<std::vector<platform::PluggedDevice>>> FakeHost::list() {
    std::vector<platform::PluggedDevice> devices;
    for (const auto& [function, socket] : plugged_) {
        devices.push_back({function, socket, address(function)});
    }
    if (const auto then = std::exchange(before_list_ends, nullptr)) {
        then();
    }
    co_return devices;
}

Task<> FakeHost::stop() {
    co_return;
}

std::string FakeHost::address(core::HostFunction function) {
    return "0000:0" + std::to_string(function.vf) + ":" + std::to_string(function.pf) + ".0";
}

}  // namespace remora::test
