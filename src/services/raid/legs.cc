// SPDX-License-Identifier: Apache-2.0
#include "services/raid/legs.h"

#include "core/check.h"
#include "reactor/call.h"

namespace remora::services::raid {

using block::Opcode;
using block::Status;

Legs::~Legs() {
    for (const Lower& lower : lower_) {
        CHECK(lower.outstanding == 0);
    }
}

core::Result<void> Legs::open(int leg, block::Device& device) {
    CHECK(!is_open(leg));
    auto channel = device.open_channel();
    if (!channel) {
        return std::unexpected(channel.error());
    }
    at(leg).channel = std::move(*channel);
    return {};
}

bool Legs::try_close(int leg) {
    if (at(leg).outstanding > 0) {
        return false;
    }
    at(leg).channel.reset();
    return true;
}

void Legs::queue(int leg, block::Request& request) {
    DCHECK(is_open(leg));
    ++at(leg).outstanding;
    at(leg).down.push_back(request);
    queued_ |= bit_of(leg);
}

void Legs::push() {
    for (int leg = 0; queued_ != 0; ++leg) {
        if ((queued_ & bit_of(leg)) != 0) {
            queued_ &= ~bit_of(leg);
            at(leg).channel->submit(at(leg).down);
        }
    }
}

void Legs::came_back(int leg) {
    CHECK(at(leg).outstanding > 0);
    --at(leg).outstanding;
}

void IoGroup::read(int leg, std::uint64_t offset, std::span<std::byte> bytes) {
    start(leg, Opcode::Read, offset, bytes);
}

void IoGroup::write(int leg, std::uint64_t offset, std::span<const std::byte> bytes, bool durably) {
    // A request's segments are writable; those of a write are only read.
    start(leg, Opcode::Write, offset, {const_cast<std::byte*>(bytes.data()), bytes.size()});
    items_[static_cast<std::size_t>(leg)].force_unit_access = durably;
}

void IoGroup::flush(int leg) {
    start(leg, Opcode::Flush, 0, {});
}

void IoGroup::start(int leg, Opcode opcode, std::uint64_t offset, std::span<std::byte> bytes) {
    CHECK((busy_ & bit_of(leg)) == 0 && offset % block_size_ == 0);
    busy_ |= bit_of(leg);
    Item& item = items_[static_cast<std::size_t>(leg)];
    item.leg = leg;
    item.tries = 0;
    item.opcode = opcode;
    item.force_unit_access = false;
    item.segment = {bytes.data(), bytes.size()};
    item.data = bytes.empty() ? std::span<const core::Segment>() : std::span(&item.segment, 1);
    item.lba = offset / block_size_;
    item.block_count = static_cast<std::uint32_t>(bytes.size() / block_size_);
    send(item);
}

void IoGroup::send(Item& item) {
    item.status = Status::Ok;
    item.push_frame(*this);
    ++pending_;
    legs_.queue(item.leg, item);
}

reactor::Task<> IoGroup::wait() {
    failed_ = 0;
    for (;;) {
        legs_.push();
        while (pending_ > 0) {
            co_await done_.wait_until(reactor::kNever);
        }
        bool again = false;
        for (Item& item : items_) {
            if (item.leg == kNoLeg || (busy_ & bit_of(item.leg)) == 0) {
                continue;
            }
            if (item.status == Status::NoResources && ++item.tries < kMostTries) {
                again = true;
                continue;
            }
            busy_ &= ~bit_of(item.leg);
            failed_ |= item.status != Status::Ok ? bit_of(item.leg) : 0;
        }
        if (!again) {
            co_return;
        }
        co_await reactor::sleep_for(kRetryAfter);
        for (Item& item : items_) {
            if (item.leg != kNoLeg && (busy_ & bit_of(item.leg)) != 0) {
                send(item);
            }
        }
    }
}

void IoGroup::complete(block::RequestBatch& batch) {
    while (block::Request* request = batch.pop_front()) {
        auto& item = static_cast<Item&>(*request);
        item.pop_frame();
        legs_.came_back(item.leg);
        --pending_;
    }
    if (pending_ == 0) {
        done_.notify();
    }
}

}  // namespace remora::services::raid
