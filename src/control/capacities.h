// SPDX-License-Identifier: Apache-2.0
// Capacities: remora.v1's capacities of back ends, on which minimum rates stand (minima.h), and the
// time that limits held requests back. Control reactor only.
#pragma once

#include <google/protobuf/empty.pb.h>

#include "control/context.h"

namespace remora::control {

using google::protobuf::Empty;
using reactor::Task;

class Capacities {
  public:
    explicit Capacities(Context& context) : context_(context) {}

    Task<core::Result<api::Capacity>> create(const api::CreateCapacityRequest& request);
    Task<core::Result<Empty>> remove(const api::DeleteCapacityRequest& request);
    Task<core::Result<api::Capacity>> update(const api::UpdateCapacityRequest& request);
    Task<core::Result<api::ListCapacitiesResponse>> list(const api::ListCapacitiesRequest& request);
    Task<core::Result<api::Capacity>> get(const api::GetCapacityRequest& request);
    Task<core::Result<api::Throttling>> throttling(const api::GetThrottlingRequest& request);

    /// Tells the data plane who competes for what; volumes and controllers may come later.
    Task<> rebuild();

  private:
    [[nodiscard]] api::Capacity shown(api::Capacity capacity) const;
    Task<core::Result<std::uint64_t>> throttled_ns(std::string name);

    Context& context_;
};

}  // namespace remora::control
