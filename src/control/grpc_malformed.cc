// SPDX-License-Identifier: Apache-2.0
#include "control/grpc_malformed.h"

#include <string>

namespace remora::control {

namespace {

using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::Interceptor;
using grpc::experimental::InterceptorBatchMethods;
using grpc::experimental::ServerRpcInfo;

class Translator final : public Interceptor {
  public:
    explicit Translator(const ServerRpcInfo& info) : method_(info.method()) {}

    void Intercept(InterceptorBatchMethods* methods) override {
        if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
            const grpc::Status status = methods->GetSendStatus();
            if (status.error_code() == grpc::StatusCode::INTERNAL &&
                status.error_message().empty()) {
                methods->ModifySendStatus(
                    {grpc::StatusCode::INVALID_ARGUMENT,
                     "what was sent is not a request of " + std::string(method_) +
                         "; is the client made of the same .proto files, and its text UTF-8?"});
            }
        }
        methods->Proceed();
    }

  private:
    const char* method_;
};

class Factory final : public grpc::experimental::ServerInterceptorFactoryInterface {
  public:
    Interceptor* CreateServerInterceptor(ServerRpcInfo* info) override {
        return new Translator(*info);  // gRPC deletes it
    }
};

}  // namespace

std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>>
malformed_request_interceptors() {
    std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> all;
    all.push_back(std::make_unique<Factory>());
    return all;
}

}  // namespace remora::control
