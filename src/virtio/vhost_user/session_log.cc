// SPDX-License-Identifier: Apache-2.0
// The messages by which a front end has the pages marked that are written, to move the guest. They
// come while queues run and requests are in flight, and nothing waits for those: what a request
// writes is marked when it completes.
#include <string>
#include <utility>

#include "virtio/vhost_user/session.h"

namespace remora::virtio::vhost_user {

QueueLog Session::log_of(const Vring& vring) const {
    if (!has(features_, Feature::LogAll) || log_ == nullptr) {
        return {};
    }
    const bool ring = vring.addresses && (vring.addresses->flags & kVringLogsUsed) != 0;
    return {.log = log_, .ring = ring, .used_address = ring ? vring.addresses->log.get() : 0};
}

Session::Outcome Session::handle_log(const Message& message) {
    if (message.handles.count != 1) {
        return fatal("a wrong number of descriptors");
    }
    if (message.type() == RequestType::SetLogBase) {
        return set_log_base(message);
    }
    // Where a back end may tell that it marked something. Front ends look at the bitmap.
    return done();
}

Session::Outcome Session::set_log_base(const Message& message) {
    LogDescription description;
    if (!message.read(description)) {
        return fatal("a payload of the wrong size");
    }
    if (!has(protocol_features_, ProtocolFeature::LogSharedMemory)) {
        return refused("a dirty log that cannot be shared");
    }
    auto log = DirtyLog::map(reactor_.io(), message.handles.handles[0], description.mmap_size,
                             description.mmap_offset);
    if (!log) {
        return refused(log.error().message);
    }
    log_ = std::move(*log);
    update_queues();
    return {Outcome::Kind::Echo, {}};
}

}  // namespace remora::virtio::vhost_user
