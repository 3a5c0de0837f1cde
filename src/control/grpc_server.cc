// SPDX-License-Identifier: Apache-2.0
#include "control/grpc_server.h"

#include <cstdint>
#include <utility>

#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/impl/server_builder_option.h>
#include <grpcpp/impl/server_builder_plugin.h>
#include <grpcpp/impl/server_initializer.h>

#include "control/grpc_malformed.h"
#include "control/grpc_services.h"
#include "core/log.h"

namespace remora::control {

namespace {

/// Calls under way at once, each with a thread of the server.
constexpr int kMostThreads = 128;
constexpr std::int64_t kStopSeconds = 5;

/// gRPC writes to stderr in a form of its own; what matters of it comes back as an error anyway.
void quiet_grpc(gpr_log_func_args* said) {
    log::debug("grpc", log::kv("text", said->message));
}

/// And so does protobuf, about text of a client's that is no UTF-8.
void quiet_protobuf(google::protobuf::LogLevel /*level*/,
                    const char* /*file*/,
                    int /*line*/,
                    const std::string& text) {
    log::debug("protobuf", log::kv("text", text));
}

/// Asks the server, once it is built, which services it has.
class ServiceList final : public grpc::ServerBuilderPlugin {
  public:
    explicit ServiceList(std::vector<std::string>& names) : names_(names) {}

    std::string name() override { return "service list"; }
    void InitServer(grpc::ServerInitializer* /*made*/) override {}
    void Finish(grpc::ServerInitializer* made) override { names_ = *made->GetServiceList(); }
    void ChangeArguments(const std::string& /*name*/, void* /*value*/) override {}

  private:
    std::vector<std::string>& names_;
};

class ListServices final : public grpc::ServerBuilderOption {
  public:
    explicit ListServices(std::vector<std::string>& names) : names_(names) {}

    void UpdateArguments(grpc::ChannelArguments* /*arguments*/) override {}
    void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
        plugins->push_back(std::make_unique<ServiceList>(names_));
    }

  private:
    std::vector<std::string>& names_;
};

}  // namespace

struct GrpcServer::Parts {
    Parts(reactor::Reactor& control,
          ControlPlane& plane,
          std::shared_ptr<AuditLog> audit,
          const InProcessMark& own)
        : mark(own), dispatcher(control, plane, std::move(audit), own) {}

    InProcessMark mark;
    Dispatcher dispatcher;
    Services services;
    std::vector<std::string> names;
    std::unique_ptr<grpc::Server> server;
};

GrpcServer::GrpcServer(std::unique_ptr<Parts> parts, std::string address)
    : parts_(std::move(parts)), address_(std::move(address)) {}

GrpcServer::~GrpcServer() {
    stop();
}

core::Result<std::unique_ptr<GrpcServer>> GrpcServer::start(const std::string& address,
                                                            reactor::Reactor& control,
                                                            ControlPlane& plane,
                                                            const platform::MachineFiles& machine,
                                                            std::shared_ptr<AuditLog> audit) {
    gpr_set_log_function(&quiet_grpc);
    google::protobuf::SetLogHandler(&quiet_protobuf);
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    const auto mark = InProcessMark::make();
    if (!mark) {
        return std::unexpected(mark.error());
    }
    auto parts = std::make_unique<Parts>(control, plane, std::move(audit), *mark);
    add_backend_services(parts->dispatcher, parts->services);
    add_frontend_services(parts->dispatcher, parts->services);
    add_virtio_scsi_service(parts->dispatcher, parts->services);
    add_encryption_service(parts->dispatcher, parts->services);
    add_qos_service(parts->dispatcher, parts->services);
    add_own_services(parts->dispatcher, parts->services);
    add_inventory_service(parts->dispatcher, parts->services, machine);
    add_remora_service(parts->dispatcher, parts->services);

    grpc::ServerBuilder builder;
    builder.SetOption(std::make_unique<ListServices>(parts->names));
    // Without this two daemons could listen on one port and share its clients at random.
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    grpc::ResourceQuota quota("remorad");
    quota.SetMaxThreads(kMostThreads);
    builder.SetResourceQuota(quota);
    builder.experimental().SetInterceptorCreators(malformed_request_interceptors());
    int port = 0;
    builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port);
    for (const auto& [name, service] : parts->services.entries()) {
        builder.RegisterService(service.get());
    }
    parts->server = builder.BuildAndStart();
    if (parts->server == nullptr || port == 0) {
        return core::fail(core::ErrorKind::FailedPrecondition,
                          "cannot listen for gRPC on " + address +
                              "; it is no address of this machine, or in use");
    }
    auto& health = *parts->server->GetHealthCheckService();
    health.SetServingStatus(false);
    for (const auto& [name, service] : parts->services.entries()) {
        health.SetServingStatus(name, false);  // from now on set_serving() changes it, too
    }
    const std::string host = address.substr(0, address.rfind(':'));
    return std::unique_ptr<GrpcServer>(
        new GrpcServer(std::move(parts), host + ":" + std::to_string(port)));
}

const std::vector<std::string>& GrpcServer::services() const {
    return parts_->names;
}

std::shared_ptr<grpc::Channel> GrpcServer::channel() const {
    return parts_->mark.channel(*parts_->server);
}

void GrpcServer::set_serving(bool serving) {
    parts_->dispatcher.set_ready(serving);
    parts_->server->GetHealthCheckService()->SetServingStatus(serving);
}

void GrpcServer::stop() {
    if (parts_->server == nullptr) {
        return;
    }
    set_serving(false);
    parts_->server->Shutdown(gpr_time_add(gpr_now(GPR_CLOCK_REALTIME),
                                          gpr_time_from_seconds(kStopSeconds, GPR_TIMESPAN)));
    parts_->server->Wait();
    parts_->server.reset();
}

}  // namespace remora::control
