// SPDX-License-Identifier: Apache-2.0
// The gRPC services, made behind grpc::Service so that few files see generated service code.
#pragma once

#include <memory>
#include <vector>

#include <grpcpp/impl/service_type.h>

#include "control/grpc_dispatcher.h"

namespace remora::control {

using Services = std::vector<std::unique_ptr<grpc::Service>>;

/// MallocVolume, NullVolume, AioVolume and NvmeRemoteController services.
void add_backend_services(Dispatcher& dispatcher, Services& services);
/// FrontendNvme and FrontendVirtioBlk services.
void add_frontend_services(Dispatcher& dispatcher, Services& services);
/// RemoraService.
void add_remora_service(Dispatcher& dispatcher, Services& services);

}  // namespace remora::control

/// One call of a service: its gRPC name, its messages, and the part and method that do it.
// NOLINTBEGIN(bugprone-macro-parentheses): the arguments are a name, types and a member
#define REMORA_RPC(name, Request, Response, part, method)                                       \
    grpc::Status name(grpc::ServerContext* context, const Request* request, Response* response) \
        override {                                                                              \
        return dispatcher_.call(*context, *request, *response, &ControlPlane::part, method);    \
    }                                                                                           \
    static_assert(true)
// NOLINTEND(bugprone-macro-parentheses)
