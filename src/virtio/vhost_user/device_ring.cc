// SPDX-License-Identifier: Apache-2.0
#include "virtio/vhost_user/device_ring.h"

#include <utility>

#include "core/check.h"

namespace remora::virtio::vhost_user {

using Recovery = InflightQueue::Recovery;

namespace {

SplitQueue::Options split_options(const QueueSetup& setup, std::uint16_t max_chain) {
    return {.rings = setup.rings,
            .size = setup.size,
            .last_avail = static_cast<std::uint16_t>(setup.base),
            .max_chain = max_chain,
            .event_index = setup.event_index,
            .indirect = setup.indirect};
}

PackedQueue::Options packed_options(const QueueSetup& setup, std::uint16_t max_chain) {
    return {.rings = setup.rings,
            .size = setup.size,
            .base = PackedBase::decode(setup.base),
            .max_chain = max_chain,
            .event_index = setup.event_index,
            .indirect = setup.indirect};
}

}  // namespace

core::Result<void> DeviceRing::check(const QueueSetup& setup) {
    return setup.packed ? PackedQueue::check(packed_options(setup, 0))
                        : SplitQueue::check(split_options(setup, 0));
}

core::Result<Recovery> DeviceRing::start(const QueueSetup& setup, std::uint16_t max_chain) {
    packed_ = setup.packed;
    log_failed_ = false;
    update(setup.parts.memory, setup.parts.log);
    rings_ = setup.rings;
    split_inflight_.detach();
    packed_inflight_.detach();
    return packed_ ? start_packed(setup, max_chain) : start_split(setup, max_chain);
}

core::Result<Recovery> DeviceRing::start_split(const QueueSetup& setup, std::uint16_t max_chain) {
    SplitQueue::Options options = split_options(setup, max_chain);
    if (auto started = split_.start(options); !started) {
        return std::unexpected(started.error());
    }
    if (setup.inflight.empty()) {
        return Recovery{};
    }
    auto recovery = split_inflight_.attach(setup.inflight, setup.size, split_.published_index());
    if (recovery && recovery->resumed) {
        // The front end's base does not count what was in flight; the memory does.
        options.last_avail =
            static_cast<std::uint16_t>(split_.published_index() + recovery->in_flight.size());
        CHECK(split_.start(options).has_value());
    }
    return recovery;
}

core::Result<Recovery> DeviceRing::start_packed(const QueueSetup& setup, std::uint16_t max_chain) {
    if (auto started = packed_ring_.start(packed_options(setup, max_chain)); !started) {
        return std::unexpected(started.error());
    }
    if (setup.inflight.empty()) {
        return Recovery{};
    }
    // After a crash the front end's base is that of the last start; the memory knows better.
    return packed_inflight_.attach(setup.inflight, packed_ring_);
}

void DeviceRing::detach() {
    split_inflight_.detach();
    packed_inflight_.detach();
    log_ = {};
    guest_.clear();
    memory_.reset();
}

void DeviceRing::update(std::shared_ptr<const MemoryView> memory, const QueueLog& log) {
    log_ = log;
    if (memory_ != memory) {
        memory_ = std::move(memory);
        CHECK(guest_.set_regions(memory_->regions).has_value());  // the table was right
    }
}

bool DeviceRing::publish() {
    bool wanted = false;
    if (packed_) {
        packed_inflight_.publishing(packed_ring_);
        wanted = packed_ring_.publish();
        REMORA_GUEST_MOMENT();
        packed_inflight_.published();
    } else {
        wanted = split_.publish();
        REMORA_GUEST_MOMENT();
        split_inflight_.published(split_.published_index());
    }
    log_ring();
    return wanted;
}

void DeviceRing::log_written(std::span<const std::byte> bytes) {
    if (log_.log == nullptr || bytes.empty()) {
        return;
    }
    const auto address = guest_.guest_address_of(bytes.data());
    log_failed_ = log_failed_ || !address || !log_.log->mark(*address, bytes.size());
}

// A few pages, which are written all the time: as a whole.
void DeviceRing::mark_ring() {
    log_failed_ = log_failed_ || log_.log->poisoned() ||
                  !log_.log->mark(log_.used_address, rings_.used.size());
    if (packed_) {
        log_written(rings_.descriptors);
    }
}

}  // namespace remora::virtio::vhost_user
