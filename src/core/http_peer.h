// SPDX-License-Identifier: Apache-2.0
// The gRPC metadata in which the HTTP front says whose call it passes on. Its channel is within the
// process; the same metadata from anywhere else is nothing but what a client wrote.
#pragma once

namespace remora::core {

inline constexpr const char* kHttpPeerKey = "x-remora-http-peer";

}  // namespace remora::core
