// SPDX-License-Identifier: Apache-2.0
// QueueSetup: what a session gives to a queue to run on. The queue may be on another reactor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "reactor/io.h"
#include "virtio/ring_layout.h"
#include "virtio/vhost_user/dirty_log.h"
#include "virtio/vhost_user/memory_table.h"

namespace remora::virtio::vhost_user {

/// What may change while the queue runs.
struct QueueParts {
    std::shared_ptr<const MemoryView> memory;
    std::shared_ptr<reactor::EventSource> call;  ///< Null: the driver polls.
    QueueLog log;
};

/// `rings` and `inflight` stay valid until the queue has said that it stopped.
struct QueueSetup {
    RingMemory rings;
    std::uint16_t size = 0;
    /// Where to go on: the available index, or a PackedBase.
    std::uint32_t base = 0;
    bool packed = false;
    bool event_index = false;
    bool indirect = false;
    std::span<std::byte> inflight;               ///< Empty: not tracked.
    std::shared_ptr<reactor::EventSource> kick;  ///< Null: never; only polling helps.
    QueueParts parts;
};

}  // namespace remora::virtio::vhost_user
