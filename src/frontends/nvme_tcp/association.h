// SPDX-License-Identifier: Apache-2.0
// Association: a controller and the connections of its queues. It lives on the reactor of the
// admin queue; the I/O queues' connections may live elsewhere and are reached by message.
//
// It ends when the admin connection does: then the I/O queues are closed, and when the last of
// them is gone (their requests finished) the association is deleted.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "frontends/nvme_tcp/host_key.h"
#include "nvme/controller.h"
#include "reactor/endpoint.h"

namespace remora::frontends::nvme_tcp {

class Connection;
class Shard;
struct Port;
struct Replica;

class Association final : private nvme::ControllerTransport {
  public:
    /// `replica` and `port` are null for a discovery controller.
    Association(Shard& home,
                Connection& admin,
                Replica* replica,
                Port* port,
                const nvme::Directory* directory,
                nvme::ControllerOptions options);
    Association(const Association&) = delete;
    Association& operator=(const Association&) = delete;
    ~Association();

    nvme::Controller& controller() { return controller_; }
    [[nodiscard]] std::uint16_t cntlid() const { return controller_.options().cntlid; }
    [[nodiscard]] Replica* replica() const { return replica_; }
    /// Which it was reached through.
    [[nodiscard]] const Port* port() const { return port_; }
    [[nodiscard]] const reactor::Endpoint& endpoint() const { return endpoint_; }
    [[nodiscard]] bool ended() const { return admin_ == nullptr; }
    [[nodiscard]] bool idle() const { return ended() && queues_.empty(); }

    /// Has ended, but not its queues yet, and was this host's.
    [[nodiscard]] bool left_by(const HostKey& host) const;

    /// False when the queue exists already.
    bool add_queue(std::uint16_t qid, std::uint32_t shard, std::uint64_t connection);
    void remove_queue(std::uint16_t qid, std::uint64_t connection);

    /// The admin connection is closing.
    void admin_closed();
    /// Closes the admin connection, and with it everything.
    void end(const char* reason);

  private:
    struct Queue {
        std::uint32_t shard = 0;
        std::uint64_t connection = 0;
    };
    void complete_event(nvme::CommandToken token, std::uint16_t status, std::uint32_t dw0) override;
    void persist_reservations(nvme::CommandToken token, std::uint32_t nsid, bool persist) override;
    void gather(nvme::CommandToken token) override;
    void close_io_queues() override;
    void end_association() override;

    Shard& home_;
    Connection* admin_;  // null once it is closing
    Replica* replica_;
    Port* port_;
    reactor::Endpoint endpoint_;
    bool closing_queues_ = false;
    std::map<std::uint16_t, Queue> queues_;
    nvme::Controller controller_;
};

}  // namespace remora::frontends::nvme_tcp
