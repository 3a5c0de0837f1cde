// SPDX-License-Identifier: Apache-2.0
// Acceptors and connects over Linux sockets.
#pragma once

#include <memory>
#include <string>

#include "core/result.h"
#include "reactor/io.h"
#include "reactor/linux/busy_poll.h"
#include "reactor/linux/ring.h"

namespace remora::reactor {

core::Result<std::unique_ptr<Acceptor>> make_acceptor(Ring& ring,
                                                      const Endpoint& at,
                                                      AcceptHandler& handler);
std::unique_ptr<Connecting> make_connecting(Ring& ring,
                                            BusyPoll& busy,
                                            const Endpoint& to,
                                            ConnectHandler& handler);

}  // namespace remora::reactor
