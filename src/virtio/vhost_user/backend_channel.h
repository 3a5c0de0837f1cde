// SPDX-License-Identifier: Apache-2.0
// BackendChannel: the socket on which the back end tells the front end something unasked. Owned by
// a session. What arrives on it is read and thrown away: nothing we send asks for a reply.
#pragma once

#include <memory>

#include "core/result.h"
#include "reactor/io.h"

namespace remora::virtio::vhost_user {

class BackendChannel final : private reactor::ReadyHandler {
  public:
    /// Takes `handle` over, in place of an earlier one.
    core::Result<void> open(reactor::Io& io, reactor::Handle handle);
    void close() { stream_.reset(); }
    /// Tells the front end to read the configuration space again. Without a channel: nothing.
    void send_config_change();

  private:
    void on_ready(reactor::Readiness readiness) override;
    std::unique_ptr<reactor::Stream> stream_;
};

}  // namespace remora::virtio::vhost_user
