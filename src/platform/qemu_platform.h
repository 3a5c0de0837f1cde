// SPDX-License-Identifier: Apache-2.0
// QemuPlatform: plugs our devices into a running QEMU over its machine protocol.
//
// A virtio-blk device is a socket character device (which reconnects by itself when remorad comes
// back) and a vhost-user-blk-pci device on it, both called "remora-<function>". An NVMe controller
// is a vfio-user-pci device, "remora-<function>-<tag>"; it is dead once its socket is closed, and
// has to be plugged anew. What carries such a name is ours; nothing else is touched. One monitor
// connection is kept; a lost one is made anew by the next call. Control reactor only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "platform/functions_spec.h"
#include "platform/host_platform.h"
#include "platform/qmp_client.h"
#include "reactor/endpoint.h"
#include "reactor/signal.h"

namespace remora::platform {

/// How long things may take. Defaults are for a busy machine that emulates its CPUs.
struct QemuLimits {
    core::Nanos connect{std::chrono::seconds(3)};
    core::Nanos command{std::chrono::seconds(20)};
    core::Nanos unplug_try{std::chrono::seconds(4)};  ///< Then the guest is asked again.
    core::Nanos unplug_total{std::chrono::seconds(40)};
    core::Nanos address{std::chrono::seconds(2)};  ///< For the guest to show up a PCI address.
};

class QemuPlatform final : public HostPlatform {
  public:
    QemuPlatform(reactor::Endpoint monitor, FunctionPlaces places, QemuLimits limits = {});
    ~QemuPlatform() override;

    [[nodiscard]] std::string_view kind() const override { return "qemu"; }
    [[nodiscard]] bool can_plug() const override { return true; }
    [[nodiscard]] FunctionCounts function_counts() const override;
    [[nodiscard]] std::string trouble() const override;
    [[nodiscard]] std::uint64_t generation() const override;

    reactor::Task<core::Result<std::string>> plug(PlugRequest request) override;
    reactor::Task<core::Result<void>> unplug(core::HostFunction function) override;
    reactor::Task<core::Result<std::vector<PluggedDevice>>> list() override;
    reactor::Task<> stop() override;

  private:
    using Client = std::shared_ptr<QmpClient>;
    using Json = QmpClient::Json;

    reactor::Task<core::Result<Client>> connected();
    reactor::Task<core::Result<Json>> run(Client client, std::string command, Json arguments);
    reactor::Task<core::Result<std::vector<std::string>>> devices_at(Client client,
                                                                     core::HostFunction function);
    reactor::Task<core::Result<bool>> has_device(Client client, std::string id);
    reactor::Task<core::Result<std::string>> socket_behind(Client client, std::string id);
    reactor::Task<core::Result<bool>> has_right_device(Client client, PlugRequest request);
    [[nodiscard]] Json device_of(const PlugRequest& request) const;
    reactor::Task<core::Result<void>> add_socket(Client client,
                                                 std::string id,
                                                 std::string socket_path);
    reactor::Task<core::Result<void>> remove_socket(Client client, std::string id);
    reactor::Task<core::Result<std::string>> take_back(Client client,
                                                       PlugRequest request,
                                                       core::Error why);
    reactor::Task<core::Result<void>> remove_device(Client client, std::string id);
    reactor::Task<core::Result<std::string>> await_address(Client client, std::string id);

    reactor::Endpoint monitor_;
    FunctionPlaces places_;
    QemuLimits limits_;
    Client client_;
    bool connecting_ = false;
    bool stopped_ = false;
    std::vector<reactor::Signal*> waiting_for_connect_;
    std::string connect_error_;
    bool absent_ = false;  // nobody listened at the last try to connect
    std::uint64_t generation_ = 0;
};

}  // namespace remora::platform
