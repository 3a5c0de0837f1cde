// SPDX-License-Identifier: Apache-2.0
// FaultInjections: remora.v1's errors and delays on purpose. One is put into the chain of the
// volume that it names, for all who use that, without a pause, and taken out again. Control
// reactor only.
#pragma once

#include <google/protobuf/empty.pb.h>

#include "control/context.h"

namespace remora::control {

using google::protobuf::Empty;
using reactor::Task;

class FaultInjections {
  public:
    explicit FaultInjections(Context& context) : context_(context) {}

    Task<core::Result<api::FaultInjection>> create(const api::CreateFaultInjectionRequest& request);
    Task<core::Result<Empty>> remove(const api::DeleteFaultInjectionRequest& request);
    Task<core::Result<api::FaultInjection>> update(const api::UpdateFaultInjectionRequest& request);
    Task<core::Result<api::ListFaultInjectionsResponse>> list(
        const api::ListFaultInjectionsRequest& request);
    Task<core::Result<api::FaultInjection>> get(const api::GetFaultInjectionRequest& request);

    /// Gives the data plane every stored one; volumes may appear later.
    Task<> rebuild();

  private:
    using Fault = Object<api::FaultInjection>;

    /// The resource with what has been counted.
    Task<api::FaultInjection> shown(Fault object);

    Context& context_;
};

}  // namespace remora::control
