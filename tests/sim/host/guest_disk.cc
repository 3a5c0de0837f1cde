// SPDX-License-Identifier: Apache-2.0
// The driver: set-up, issue, completion. What is issued is chosen in guest_workload.cc.
#include "tests/sim/host/guest_disk.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/check.h"

namespace remora::sim {

using reactor::Nanos;
using virtio::BlkType;
using virtio::Feature;

GuestDisk::GuestDisk(reactor::Reactor& reactor,
                     HostWorld& world,
                     std::string path,
                     WorkloadOptions options,
                     core::Prng prng)
    : reactor_(reactor),
      world_(world),
      oracle_(world.oracle_for(path)),
      path_(std::move(path)),
      options_(options),
      prng_(prng) {
    CHECK(oracle_ != nullptr);
    CHECK(options_.queues >= 1 && options_.depth >= 1);
    CHECK(options_.queue_size >= RequestMemory::kMaxParts);
}

GuestDisk::~GuestDisk() {
    forget_requests();
}

void GuestDisk::forget_requests() {
    for (const auto& queue : queues_) {
        for (Slot& slot : queue->slots) {
            if (slot.busy) {
                end(slot, VolumeOracle::End::Failed);
                ++counts_.completed;
                ++counts_.failed;
            }
        }
    }
}

void GuestDisk::violation(const std::string& what) {
    world_.violation(path_ + ": " + what);
}

std::uint64_t GuestDisk::choose_features(std::uint64_t offered) {
    std::uint64_t known = virtio::bit(Feature::Version1) | virtio::bit(Feature::BlkSegMax) |
                          virtio::bit(Feature::BlkBlkSize) | virtio::bit(Feature::BlkFlush) |
                          virtio::bit(Feature::BlkMultiQueue) | virtio::bit(Feature::BlkDiscard) |
                          virtio::bit(Feature::BlkWriteZeroes) | virtio::bit(Feature::BlkReadOnly) |
                          virtio::bit(Feature::BlkTopology);
    known |= options_.event_index ? virtio::bit(Feature::EventIndex) : 0;
    known |= options_.indirect ? virtio::bit(Feature::IndirectDescriptors) : 0;
    // Without the in-flight memory nobody knows where a packed ring is after a crash.
    known |= options_.packed && options_.inflight ? virtio::bit(Feature::RingPacked) : 0;
    features_ = offered & known;
    if (!virtio::has(features_, Feature::Version1)) {
        violation("the device does not offer VERSION_1");
    }
    return features_;
}

void GuestDisk::on_config(const virtio::BlkConfig& config) {
    config_ = config;
    const std::uint32_t block_size = config.blk_size;
    if (block_size < virtio::kSectorBytes || block_size % virtio::kSectorBytes != 0 ||
        (block_size_ != 0 && block_size_ != block_size)) {
        violation("a block size of " + std::to_string(block_size) + ", it was " +
                  std::to_string(block_size_));
        return;
    }
    block_size_ = block_size;
    block_count_ = config.capacity / (block_size / virtio::kSectorBytes);
    set_region();
    if (ram_ == nullptr) {
        build();
    }
}

void GuestDisk::set_region() {
    first_ = std::min(options_.first_lba, block_count_);
    end_ = options_.lba_count == 0 ? block_count_
                                   : std::min(first_ + options_.lba_count, block_count_);
}

// Memory, rings, events: all that the driver sets up once.
void GuestDisk::build() {
    const std::uint64_t data_bytes = std::uint64_t{options_.max_io_blocks} * block_size_;
    const std::uint64_t slot_bytes = RequestMemory::bytes_for(data_bytes);
    const std::uint64_t rings = DriverRing::bytes_for(options_.queue_size) * options_.queues;
    const std::uint64_t slots = std::uint64_t{options_.queues} * options_.depth;
    GuestRamOptions ram;
    ram.bytes = rings + slot_bytes * (slots + 1);
    ram.regions = options_.memory_regions;
    ram.gap = options_.memory_gap;
    ram.split = std::max(rings, ram.bytes / 2);
    ram_ = std::make_unique<GuestRam>(reactor_.io(), ram);
    std::uint64_t at = rings;
    for (std::uint16_t i = 0; i < options_.queues; ++i) {
        auto queue = std::make_unique<Queue>(*this, i);
        queue->ring =
            std::make_unique<DriverRing>(*ram_, DriverRing::bytes_for(options_.queue_size) * i,
                                         options_.queue_size, [this, i](const std::string& what) {
                                             violation("queue " + std::to_string(i) + ": " + what);
                                         });
        queue->ring->set_event_index(virtio::has(features_, Feature::EventIndex));
        queue->ring->set_packed(virtio::has(features_, Feature::RingPacked));
        queue->by_head.resize(options_.queue_size);
        queue->slots.resize(options_.depth);
        for (Slot& slot : queue->slots) {
            at = ram_->place(at, slot_bytes);
            slot.memory = RequestMemory::at(at);
            at += slot_bytes;
        }
        queue->kick_handle = world_.create_event();
        queue->call_handle = world_.create_event();
        auto kick = reactor_.io().adopt_event(queue->kick_handle);
        auto call = reactor_.io().adopt_event(queue->call_handle);
        CHECK(kick.has_value() && call.has_value());
        queue->kick = std::move(*kick);
        queue->call = std::move(*call);
        queue->call->set_handler(queue.get());
        queues_.push_back(std::move(queue));
    }
    CHECK(at <= ram_->size());
}

const DriverRing& GuestDisk::ring(std::uint16_t queue) const {
    return *queues_[queue]->ring;
}

reactor::Handle GuestDisk::kick(std::uint16_t queue) const {
    return queues_[queue]->kick_handle;
}

reactor::Handle GuestDisk::call(std::uint16_t queue) const {
    return queues_[queue]->call_handle;
}

void GuestDisk::on_started() {
    if (!started_) {
        started_ = true;
        for (const auto& queue : queues_) {
            static_cast<void>(queue->ring->request_interrupt());
        }
        pump_all();
    }
}

void GuestDisk::reboot() {
    forget_requests();
    started_ = false;
    timer_.cancel();
    if (ram_ != nullptr) {
        queues_.clear();
        ram_.reset();
        build();
    }
    if (mode_ == Mode::Verifying) {
        verify_all();
    }
}

void GuestDisk::resume() {
    mode_ = Mode::Working;
    pump_all();
}

void GuestDisk::quiesce() {
    mode_ = Mode::Quiet;
    timer_.cancel();
}

void GuestDisk::verify_all() {
    mode_ = Mode::Verifying;
    verify_next_ = first_;
    verify_again_.clear();
    for (const auto& queue : queues_) {
        for (Slot& slot : queue->slots) {
            slot.ready_at = {};  // nobody thinks any more
        }
    }
    pump_all();
}

bool GuestDisk::verified() const {
    return mode_ == Mode::Verifying && started_ && in_flight_ == 0 && verify_next_ >= end_ &&
           verify_again_.empty();
}

Nanos GuestDisk::oldest_request(Nanos now) const {
    Nanos oldest{0};
    for (const auto& queue : queues_) {
        for (const Slot& slot : queue->slots) {
            if (slot.busy) {
                oldest = std::max(oldest, now - slot.since);
            }
        }
    }
    return oldest;
}

void GuestDisk::pump_all() {
    for (const auto& queue : queues_) {
        pump(*queue);
    }
}

void GuestDisk::pump(Queue& queue) {
    if (!started_ || mode_ == Mode::Quiet) {
        return;
    }
    const Nanos now = reactor_.now();
    bool offered = false;
    for (Slot& slot : queue.slots) {
        if (slot.busy || !may_issue()) {
            continue;
        }
        if (slot.ready_at > now) {
            if (!timer_.armed() || timer_.at() > slot.ready_at) {
                reactor_.arm(timer_, slot.ready_at);
            }
            continue;
        }
        offered = issue(queue, slot) || offered;
    }
    if (offered && queue.ring->publish()) {
        queue.kick->signal();
    }
}

bool GuestDisk::issue(Queue& queue, Slot& slot) {
    // A chain without an indirect table may need this many.
    if (queue.ring->free_descriptors() < RequestMemory::kMaxParts) {
        return false;
    }
    if (!prepare(slot)) {
        return false;
    }
    slot.layout = lay_out(*ram_, slot.memory, slot.shape, prng_);
    const auto head = queue.ring->offer(slot.layout.parts, slot.layout.table);
    if (!head) {
        violation("a ring of " + std::to_string(queue.ring->size()) +
                  " descriptors is too small for one request");
        return false;
    }
    begin(slot);
    slot.busy = true;
    slot.since = reactor_.now();
    queue.by_head[*head] = &slot;
    ++in_flight_;
    ++counts_.issued;
    return true;
}

// Drains the used ring and asks for the next interrupt, in the order a driver does.
void GuestDisk::take_completions(Queue& queue) {
    do {
        queue.ring->suppress_interrupts();
        while (const auto used = queue.ring->take_used()) {
            Slot* slot = std::exchange(queue.by_head[used->head], nullptr);
            CHECK(slot != nullptr && slot->busy);
            complete(*slot, used->length);
        }
    } while (queue.ring->request_interrupt() && !queue.ring->broken());
    pump_all();
}

void GuestDisk::complete(Slot& slot, std::uint32_t used_bytes) {
    const auto status = std::to_integer<std::uint8_t>(*ram_->at(slot.layout.status));
    const auto good = static_cast<std::uint8_t>(virtio::BlkStatus::Ok);
    if (status > static_cast<std::uint8_t>(virtio::BlkStatus::Unsupported)) {
        violation("a request came back with status " + std::to_string(status));
    }
    if (used_bytes == 0 || used_bytes > slot.layout.writable ||
        (status == good && slot.shape.type == BlkType::In && used_bytes != slot.layout.writable)) {
        violation("a request came back with " + std::to_string(used_bytes) + " of " +
                  std::to_string(slot.layout.writable) + " bytes written");
    }
    if (status == good) {
        if (slot.shape.type == BlkType::GetId) {
            check_identity(slot);
        }
        end(slot, VolumeOracle::End::Ok);
    } else {
        ++counts_.failed;
        if (used_bytes != 1) {
            violation("a failed request came back with " + std::to_string(used_bytes) +
                      " bytes written, where only the status is");
        }
        if (!world_.errors_allowed(reactor_.now() - slot.since)) {
            violation("a request of type " +
                      std::to_string(static_cast<std::uint32_t>(slot.shape.type)) + " at block " +
                      std::to_string(slot.lba) + " failed with status " + std::to_string(status));
        }
        world_.on_guest_error(slot.op, status);
        if (slot.verifies) {
            verify_again_.push_back({slot.lba, slot.count});
        }
        end(slot, VolumeOracle::End::Failed);
    }
    ++counts_.completed;
    slot.ready_at = reactor_.now();
    if (options_.think_time.count() > 0 && mode_ != Mode::Verifying) {
        slot.ready_at += Nanos(static_cast<Nanos::rep>(
            prng_.below(2 * static_cast<std::uint64_t>(options_.think_time.count()) + 1)));
    } else if (status != good) {
        slot.ready_at += kRestAfterError;
    }
}

void GuestDisk::end(Slot& slot, VolumeOracle::End how) {
    slot.busy = false;
    --in_flight_;
    if (slot.shape.type == BlkType::GetId) {
        return;
    }
    if (slot.shape.type == BlkType::In) {
        oracle_->end_read(slot.op, how, ram_->bytes(slot.layout.data, slot.shape.data_bytes));
    } else {
        oracle_->end(slot.op, how);
    }
}

void GuestDisk::check_identity(const Slot& slot) {
    std::array<std::byte, virtio::kBlkIdBytes> found;
    std::memcpy(found.data(), ram_->at(slot.layout.data), found.size());
    if (identity_ && *identity_ != found) {
        violation("the disk tells another identity than before");
    }
    identity_ = found;
}

}  // namespace remora::sim
