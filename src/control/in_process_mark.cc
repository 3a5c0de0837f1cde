// SPDX-License-Identifier: Apache-2.0
#include "control/in_process_mark.h"

#include <array>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <utility>
#include <vector>

#include <grpcpp/server.h>
#include <grpcpp/support/channel_arguments.h>
#include <grpcpp/support/client_interceptor.h>

namespace remora::control {

namespace {

using grpc::experimental::InterceptionHookPoints;

constexpr const char* kKey = "x-remora-in-process";
constexpr std::size_t kSecretBytes = 32;

/// Adds the mark to a call's metadata.
class Marker final : public grpc::experimental::Interceptor {
  public:
    explicit Marker(std::string secret) : secret_(std::move(secret)) {}

    void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
        if (methods->QueryInterceptionHookPoint(
                InterceptionHookPoints::PRE_SEND_INITIAL_METADATA)) {
            methods->GetSendInitialMetadata()->emplace(kKey, secret_);
        }
        methods->Proceed();
    }

  private:
    std::string secret_;
};

class MarkerFactory final : public grpc::experimental::ClientInterceptorFactoryInterface {
  public:
    explicit MarkerFactory(std::string secret) : secret_(std::move(secret)) {}

    grpc::experimental::Interceptor* CreateClientInterceptor(
        grpc::experimental::ClientRpcInfo* /*info*/) override {
        return new Marker(secret_);  // gRPC deletes it.
    }

  private:
    std::string secret_;
};

}  // namespace

core::Result<InProcessMark> InProcessMark::make() {
    std::array<unsigned char, kSecretBytes> random{};
    if (RAND_bytes(random.data(), static_cast<int>(random.size())) != 1) {
        return core::fail(core::ErrorKind::Internal, "the machine gives no random numbers");
    }
    std::string secret;
    for (const unsigned byte : random) {
        secret += "0123456789abcdef"[byte >> 4U];
        secret += "0123456789abcdef"[byte & 0xfU];
    }
    return InProcessMark(std::move(secret));
}

std::shared_ptr<grpc::Channel> InProcessMark::channel(grpc::Server& server) const {
    std::vector<std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface>> creators;
    creators.push_back(std::make_unique<MarkerFactory>(secret_));
    return server.experimental().InProcessChannelWithInterceptors(grpc::ChannelArguments(),
                                                                  std::move(creators));
}

bool InProcessMark::is_on(const grpc::ServerContext& context) const {
    const auto found = context.client_metadata().find(kKey);
    return found != context.client_metadata().end() && found->second.size() == secret_.size() &&
           CRYPTO_memcmp(found->second.data(), secret_.data(), secret_.size()) == 0;
}

}  // namespace remora::control
