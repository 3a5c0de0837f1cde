// SPDX-License-Identifier: Apache-2.0
// The gRPC services, made behind grpc::Service so that few files see generated service code.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <grpcpp/impl/service_type.h>

#include "control/grpc_dispatcher.h"
#include "platform/machine_files.h"

namespace remora::control {

/// All services, each with its full name. gRPC threads call them; they live as long as the server.
class Services {
  public:
    struct Entry {
        std::string name;
        std::unique_ptr<grpc::Service> service;
    };

    /// `Generated` is the class that the compiler made of the service, `Own` what answers it.
    template <typename Generated, typename Own, typename... Arguments>
    void add(Dispatcher& dispatcher, Arguments&&... arguments) {
        entries_.push_back(
            {Generated::service_full_name(),
             std::make_unique<Own>(dispatcher, std::forward<Arguments>(arguments)...)});
    }
    [[nodiscard]] const std::vector<Entry>& entries() const { return entries_; }

  private:
    std::vector<Entry> entries_;
};

/// MallocVolume, NullVolume, AioVolume and NvmeRemoteController services.
void add_backend_services(Dispatcher& dispatcher, Services& services);
/// FrontendNvme and FrontendVirtioBlk services.
void add_frontend_services(Dispatcher& dispatcher, Services& services);
/// FrontendVirtioScsi service.
void add_virtio_scsi_service(Dispatcher& dispatcher, Services& services);
/// MiddleendEncryption service.
void add_encryption_service(Dispatcher& dispatcher, Services& services);
/// RaidService, IntegrityService, FaultInjectionService and QosService.
void add_own_services(Dispatcher& dispatcher, Services& services);
/// MiddleendQosVolume service.
void add_qos_service(Dispatcher& dispatcher, Services& services);
/// opi_api.inventory.v1 InventoryService.
void add_inventory_service(Dispatcher& dispatcher,
                           Services& services,
                           const platform::MachineFiles& machine);
/// RemoraService.
void add_remora_service(Dispatcher& dispatcher, Services& services);

}  // namespace remora::control

/// One call of a service: its gRPC name, its messages, and the part and method that do it.
// NOLINTBEGIN(bugprone-macro-parentheses): the arguments are a name, types and a member
#define REMORA_RPC(name, Request, Response, part, method)                                       \
    grpc::Status name(grpc::ServerContext* context, const Request* request, Response* response) \
        override {                                                                              \
        return dispatcher_.call(#name, *context, *request, *response, &ControlPlane::part,      \
                                method);                                                        \
    }                                                                                           \
    static_assert(true)
// NOLINTEND(bugprone-macro-parentheses)
