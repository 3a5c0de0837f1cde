// SPDX-License-Identifier: Apache-2.0
// The capabilities that come and go with VFIO_USER_VERSION, as JSON text.
//
// The parser knows JSON as far as finding those few values needs: it checks the whole text, keeps
// nothing else of it, and stops at a depth that no client comes near.
// Spec: QEMU docs/interop/vfio-user.rst, VFIO_USER_VERSION.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/result.h"

namespace remora::vfio_user {

/// What a client may say of itself, with what is meant when it does not.
struct Capabilities {
    std::uint64_t max_message_handles = 1;
    std::uint64_t max_transfer_bytes = std::uint64_t{1} << 20U;
    bool write_multiple = false;
};

/// Errors: InvalidArgument for what is no JSON object, or has a value of another type.
core::Result<Capabilities> parse_capabilities(std::string_view json);

/// What this server answers a client that offers `client`, without the terminating zero. QEMU reads
/// the reply into the place of its request, so it is no longer than what any client sends.
std::string make_capabilities(const Capabilities& client);

}  // namespace remora::vfio_user
