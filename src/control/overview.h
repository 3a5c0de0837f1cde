// SPDX-License-Identifier: Apache-2.0
// Overview: what this build and platform can do, and all volumes in one list. Reads only. Control
// reactor only.
#pragma once

#include "control/context.h"

namespace remora::control {

using reactor::Task;

class Overview {
  public:
    explicit Overview(Context& context) : context_(context) {}

    Task<core::Result<api::Capabilities>> capabilities(const api::GetCapabilitiesRequest& request);
    Task<core::Result<api::ListVolumesResponse>> volumes(const api::ListVolumesRequest& request);

  private:
    Context& context_;
};

}  // namespace remora::control
