// SPDX-License-Identifier: Apache-2.0
// Memory as a peer shares it with us: not sealed, so that it can be taken away.
#pragma once

#include <cstddef>
#include <sys/mman.h>
#include <unistd.h>

#include "core/check.h"
#include "reactor/io.h"

namespace remora::test {

/// The handle is the caller's to close.
inline reactor::Handle make_peer_memory(std::size_t bytes) {
    const int memory = memfd_create("peer", MFD_CLOEXEC);
    CHECK(memory >= 0 && ftruncate(memory, static_cast<off_t>(bytes)) == 0);
    return memory;
}

}  // namespace remora::test
