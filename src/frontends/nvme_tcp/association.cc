// SPDX-License-Identifier: Apache-2.0
#include "frontends/nvme_tcp/association.h"

#include "core/log.h"
#include "frontends/nvme_tcp/connection.h"
#include "frontends/nvme_tcp/replica.h"
#include "frontends/nvme_tcp/shard.h"

namespace remora::frontends::nvme_tcp {

Association::Association(Shard& home,
                         Connection& admin,
                         Replica* replica,
                         Port* port,
                         const nvme::Directory* directory,
                         nvme::ControllerOptions options)
    : home_(home),
      admin_(&admin),
      replica_(replica),
      port_(port),
      endpoint_(admin.listener()),
      controller_(home.reactor(),
                  *this,
                  replica == nullptr ? nullptr : &replica->subsystem,
                  directory,
                  std::move(options)) {
    if (replica_ != nullptr) {
        replica_->add_user(*port_);
    }
}

Association::~Association() {
    CHECK(idle());
    if (replica_ != nullptr) {
        replica_->drop_user(*port_);
    }
}

bool Association::add_queue(std::uint16_t qid, std::uint32_t shard, std::uint64_t connection) {
    CHECK(!ended());
    if (!queues_.emplace(qid, Queue{shard, connection}).second) {
        return false;
    }
    controller_.io_queue_added();
    return true;
}

void Association::remove_queue(std::uint16_t qid, std::uint64_t connection) {
    const auto at = queues_.find(qid);
    if (at == queues_.end() || at->second.connection != connection) {
        return;
    }
    queues_.erase(at);
    controller_.io_queue_removed();
    if (queues_.empty()) {
        if (std::exchange(closing_queues_, false)) {
            controller_.io_queues_closed();
        }
        home_.association_changed();
    }
}

void Association::admin_closed() {
    admin_ = nullptr;
    controller_.detach();
    close_io_queues();
    home_.association_changed();
}

void Association::end(const char* reason) {
    if (admin_ != nullptr) {
        admin_->close(reason);  // comes back as admin_closed()
    }
}

void Association::complete_event(nvme::CommandToken token,
                                 std::uint16_t status,
                                 std::uint32_t dw0) {
    CHECK(admin_ != nullptr);  // the controller is detached first
    admin_->complete_held(token, status, dw0);
}

void Association::persist_reservations(nvme::CommandToken token, std::uint32_t nsid, bool persist) {
    CHECK(admin_ != nullptr);
    admin_->persist_reservations(token, nsid, persist);
}

void Association::gather(nvme::CommandToken token) {
    CHECK(admin_ != nullptr);
    admin_->gather(token);
}

void Association::close_io_queues() {
    closing_queues_ = !queues_.empty();
    for (const auto& [qid, queue] : queues_) {
        Shard& shard = home_.peer(queue.shard);
        const std::uint64_t connection = queue.connection;
        shard.reactor().post_function(
            [&shard, connection] { shard.close_connection(connection, "controller closed"); });
    }
}

void Association::end_association() {
    home_.count_keep_alive_timeout();
    log::warn("keep alive timeout", log::kv("host", controller_.options().hostnqn),
              log::kv("cntlid", cntlid()),
              log::kv("limit_ms", controller_.options().keep_alive_ms));
    end("keep alive timeout");
}

}  // namespace remora::frontends::nvme_tcp
