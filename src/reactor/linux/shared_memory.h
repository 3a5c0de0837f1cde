// SPDX-License-Identifier: Apache-2.0
// Mappings of memory shared with a process that may be hostile, and socket calls that such memory
// cannot make fail.
#pragma once

#include <memory>
#include <sys/socket.h>

#include "core/result.h"
#include "reactor/io.h"

namespace remora::reactor {

core::Result<std::unique_ptr<Mapping>> map_shared_memory(Handle handle,
                                                         std::uint64_t offset,
                                                         std::uint64_t size);
core::Result<Handle> create_memfd(std::uint64_t size);

/// sendmsg() and recvmsg() on segments that may lie in mappings. Where a peer has taken its memory
/// away the kernel says EFAULT, for everybody whose bytes are in the same call; here zeros take
/// the place of what has gone, that mapping is poisoned, and the call is made again. It moves at
/// least one byte then, so a peer cannot end a connection that others share.
ssize_t send_message(int socket, msghdr& message, int flags);
ssize_t receive_message(int socket, msghdr& message, int flags);

}  // namespace remora::reactor
