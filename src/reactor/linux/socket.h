// SPDX-License-Identifier: Apache-2.0
// Streams, acceptors and connects over Linux sockets.
#pragma once

#include <memory>
#include <string>

#include "core/result.h"
#include "reactor/io.h"
#include "reactor/linux/ring.h"

namespace remora::reactor {

/// Owns `fd` from now on, also on failure.
core::Result<std::unique_ptr<Stream>> make_stream(Ring& ring, int fd);
core::Result<std::unique_ptr<Acceptor>> make_acceptor(Ring& ring,
                                                      const Endpoint& at,
                                                      AcceptHandler& handler);
std::unique_ptr<Connecting> make_connecting(Ring& ring,
                                            const Endpoint& to,
                                            ConnectHandler& handler);

}  // namespace remora::reactor
