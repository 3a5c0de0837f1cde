// SPDX-License-Identifier: Apache-2.0
// Sockets of a simulated process: streams, listeners and connects over the world's network.
#pragma once

#include <deque>
#include <memory>

#include "tests/sim/world/connection.h"
#include "tests/sim/world/sim_io.h"

namespace remora::sim {

/// The stream holds `handle` of the process's table, which refers to nothing any more.
std::unique_ptr<reactor::Stream> make_sim_stream(SimIo& io,
                                                 std::shared_ptr<Connection> connection,
                                                 std::size_t side,
                                                 Handle handle);

/// Somebody listens there: new connections are put into its backlog.
class Listener {
  public:
    virtual void on_connection(std::shared_ptr<Connection> connection) = 0;
    [[nodiscard]] virtual Process& process() = 0;

  protected:
    ~Listener() = default;
};

core::Result<std::unique_ptr<reactor::Acceptor>> make_sim_acceptor(SimIo& io,
                                                                   const reactor::Endpoint& at,
                                                                   reactor::AcceptHandler& handler);
std::unique_ptr<reactor::Connecting> make_sim_connecting(SimIo& io,
                                                         const reactor::Endpoint& to,
                                                         reactor::ConnectHandler& handler);

}  // namespace remora::sim
