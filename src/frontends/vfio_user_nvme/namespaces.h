// SPDX-License-Identifier: Apache-2.0
// OpenNamespace: a volume that the controller shows under an NSID, with this reactor's channel to
// it. Owned by the function; commands in flight keep it from being closed.
#pragma once

#include <cstdint>
#include <memory>

#include "block/device.h"
#include "core/check.h"
#include "nvme/namespace.h"
#include "reactor/signal.h"

namespace remora::frontends::vfio_user_nvme {

struct OpenNamespace;
/// Told on the reactor that a namespace has another size.
class NamespaceListener {
  public:
    virtual void on_namespace_resized(OpenNamespace& changed) = 0;

  protected:
    ~NamespaceListener() = default;
};

struct OpenNamespace final : nvme::Namespace, block::DeviceListener {
    OpenNamespace(NamespaceListener& to, block::Device& of) : listener(to), device(of) {
        device.add_listener(*this);
    }
    OpenNamespace(const OpenNamespace&) = delete;
    OpenNamespace& operator=(const OpenNamespace&) = delete;
    ~OpenNamespace() {
        CHECK(in_flight == 0);
        device.remove_listener(*this);
    }

    void on_geometry_changed() override {
        geometry = device.geometry();
        listener.on_namespace_resized(*this);
    }
    void enter() { ++in_flight; }
    void leave() {
        CHECK(in_flight > 0);
        if (--in_flight == 0) {
            idle.notify();
        }
    }

    NamespaceListener& listener;
    block::Device& device;
    std::unique_ptr<block::Channel> channel;
    std::uint32_t in_flight = 0;  ///< Commands.
    reactor::Signal idle;         ///< Told when in_flight becomes 0.
};

}  // namespace remora::frontends::vfio_user_nvme
