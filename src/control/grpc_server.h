// SPDX-License-Identifier: Apache-2.0
// GrpcServer: the listening server with all services, health and reflection.
//
// Health says NOT_SERVING, and every call UNAVAILABLE, until set_serving(true). Made and stopped
// on the main thread; its own threads only carry calls to the control reactor and back.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/result.h"
#include "platform/machine_files.h"
#include "reactor/reactor.h"

namespace grpc {
class Channel;
}

namespace remora::control {

class AuditLog;
class ControlPlane;

class GrpcServer {
  public:
    /// `address` is ADDR:PORT; port 0 = one is picked. Errors: FailedPrecondition when the address
    /// cannot be listened on. `machine` is what the inventory is read from.
    /// Changes are told to `audit` unless it is null.
    static core::Result<std::unique_ptr<GrpcServer>> start(const std::string& address,
                                                           reactor::Reactor& control,
                                                           ControlPlane& plane,
                                                           const platform::MachineFiles& machine,
                                                           std::shared_ptr<AuditLog> audit);
    GrpcServer(const GrpcServer&) = delete;
    GrpcServer& operator=(const GrpcServer&) = delete;
    ~GrpcServer();

    /// ADDR:PORT with the port that was picked.
    [[nodiscard]] const std::string& address() const { return address_; }
    /// Full names of the services that are answered, in the order of their registration.
    [[nodiscard]] const std::vector<std::string>& services() const;
    /// A way in from this process that needs no socket; calls are handled as any other, except that
    /// what they say of whose they are (core/http_peer.h) is believed. It must be gone before the
    /// server.
    [[nodiscard]] std::shared_ptr<grpc::Channel> channel() const;
    void set_serving(bool serving);
    /// Takes no further calls, gives those under way a few seconds, ends the threads.
    void stop();

  private:
    struct Parts;
    GrpcServer(std::unique_ptr<Parts> parts, std::string address);

    std::unique_ptr<Parts> parts_;
    std::string address_;
};

}  // namespace remora::control
