// SPDX-License-Identifier: Apache-2.0
// What gRPC itself answers to bytes that are no message of the method's request type (or hold text
// that is no UTF-8): INTERNAL without a word. This makes INVALID_ARGUMENT with a sentence of it;
// an answer of ours always has a sentence.
#pragma once

#include <memory>
#include <vector>

#include <grpcpp/support/server_interceptor.h>

namespace remora::control {

std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>>
malformed_request_interceptors();

}  // namespace remora::control
