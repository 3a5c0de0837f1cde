// SPDX-License-Identifier: Apache-2.0
// The calls of the control plane, each with its method's descriptor and whatever its messages: what
// the gRPC services are, without gRPC.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <google/protobuf/message.h>

#include "control/control_plane.h"

namespace remora::fuzz {

using MessagePtr = std::unique_ptr<google::protobuf::Message>;

struct PlaneCall {
    std::string method;                                  ///< "CreateMallocVolume"
    const google::protobuf::Message* request = nullptr;  ///< The empty one.
    std::function<reactor::Task<core::Result<MessagePtr>>(control::ControlPlane&,
                                                          const google::protobuf::Message&)>
        run;
};

/// In a fixed order: an input's bytes choose by index, so a new call goes to the end.
const std::vector<PlaneCall>& plane_calls();

/// Null when there is none of that name.
const PlaneCall* find_call(const std::string& method);

}  // namespace remora::fuzz
