// SPDX-License-Identifier: Apache-2.0
// What target*.cc share: a subsystem as it was configured, and the listening sockets. On the
// control reactor.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "frontends/nvme_tcp/target.h"
#include "nvme/subsystem.h"
#include "reactor/reactor.h"

namespace remora::frontends::nvme_tcp {

/// One listening socket on the control reactor; several subsystems may be reached through it.
class Listener final : private reactor::AcceptHandler {
  public:
    static Result<std::unique_ptr<Listener>> open(Target& target,
                                                  reactor::Reactor& control,
                                                  const Endpoint& at,
                                                  std::uint16_t port_id) {
        auto listener = std::unique_ptr<Listener>(new Listener(target, port_id));
        auto acceptor = control.io().listen(at, *listener);
        if (!acceptor) {
            return std::unexpected(acceptor.error());
        }
        listener->acceptor_ = std::move(*acceptor);
        listener->local_ = listener->acceptor_->local();
        return listener;
    }
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;
    ~Listener() = default;

    [[nodiscard]] const Endpoint& local() const { return local_; }
    [[nodiscard]] std::uint16_t port_id() const { return port_id_; }

  private:
    Listener(Target& target, std::uint16_t port_id) : target_(target), port_id_(port_id) {}
    void on_accept(reactor::Handle connection) override { target_.accepted(connection, local_); }

    Target& target_;
    std::uint16_t port_id_;
    Endpoint local_;
    std::unique_ptr<reactor::Acceptor> acceptor_;
};

struct Target::Subsystem {
    nvme::SubsystemIdentity identity;
    std::set<Endpoint> listeners;
    std::map<std::uint32_t, block::Device*> namespaces;
};

}  // namespace remora::frontends::nvme_tcp
