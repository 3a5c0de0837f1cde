// SPDX-License-Identifier: Apache-2.0
// Streams over Linux sockets, TCP and Unix.
#pragma once

#include <memory>

#include "core/result.h"
#include "reactor/io.h"
#include "reactor/linux/busy_poll.h"
#include "reactor/linux/ring.h"

namespace remora::reactor {

/// Owns `fd` from now on, also on failure. Ring and BusyPoll outlive the stream.
core::Result<std::unique_ptr<Stream>> make_stream(Ring& ring, BusyPoll& busy, int fd);

}  // namespace remora::reactor
