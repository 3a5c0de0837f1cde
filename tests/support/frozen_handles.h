// SPDX-License-Identifier: Apache-2.0
// In a test two controllers are in one process, where each closes its own descriptors.
#pragma once

#include <unistd.h>

#include "core/check.h"
#include "frontends/vfio_user_nvme/function_state.h"

namespace remora::test {

/// Gives what was frozen handles of its own.
inline void duplicate_handles(frontends::vfio_user_nvme::FrozenController& frozen) {
    for_each_handle(frozen, [](reactor::Handle& handle) {
        handle = dup(handle);
        CHECK(handle >= 0);
    });
}

}  // namespace remora::test
