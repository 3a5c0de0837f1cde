// SPDX-License-Identifier: Apache-2.0
// MovedState: a function that its client moves to another server, as bytes. Interrupts, memory and
// the connection are the client's own to set up there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/result.h"
#include "core/uuid.h"
#include "frontends/vfio_user_nvme/function_state.h"

namespace remora::frontends::vfio_user_nvme {

/// The volume that the other server must have under this number.
struct MovedNamespace {
    std::uint32_t nsid = 0;
    core::Uuid uuid;
    std::uint32_t block_size = 0;
    std::uint64_t block_count = 0;
};

struct MovedState {
    FunctionState function;  ///< Its handle of the doorbells means nothing.
    std::vector<std::byte> doorbells;
    std::vector<MovedNamespace> namespaces;
};

/// With a check sum, so that what was cut or mixed up on the way is seen.
std::vector<std::byte> encode_moved(const MovedState& from);
/// Hostile bytes: counts and sizes are within bounds after this, the rest is to be checked where it
/// is used. Errors: InvalidArgument.
core::Result<MovedState> decode_moved(std::span<const std::byte> bytes);

}  // namespace remora::frontends::vfio_user_nvme
