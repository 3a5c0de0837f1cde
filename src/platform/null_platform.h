// SPDX-License-Identifier: Apache-2.0
// NullPlatform: no host to plug into. vhost-user sockets are served all the same; whoever starts
// the virtual machine connects to them.
#pragma once

#include "platform/host_platform.h"

namespace remora::platform {

class NullPlatform final : public HostPlatform {
  public:
    [[nodiscard]] std::string_view kind() const override { return "none"; }
    [[nodiscard]] bool can_plug() const override { return false; }
    [[nodiscard]] FunctionCounts function_counts() const override { return {kMaxFunctions}; }
    [[nodiscard]] std::string trouble() const override { return {}; }
    [[nodiscard]] std::uint64_t generation() const override { return 0; }
    reactor::Task<core::Result<std::string>> plug(PlugRequest /*request*/) override {
        co_return std::string();
    }
    reactor::Task<core::Result<void>> unplug(core::HostFunction /*function*/) override {
        co_return core::Result<void>();
    }
    reactor::Task<core::Result<std::vector<PluggedDevice>>> list() override {
        co_return std::vector<PluggedDevice>();
    }
    reactor::Task<> stop() override { co_return; }
};

}  // namespace remora::platform
