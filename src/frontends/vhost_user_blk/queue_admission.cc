// SPDX-License-Identifier: Apache-2.0
// From the ring to the channel: chains walked, parsed and turned into block requests.
#include <algorithm>
#include <array>
#include <limits>
#include <span>

#include "block/device.h"
#include "core/probe.h"
#include "frontends/vhost_user_blk/queue.h"
#include "virtio/status_map.h"

namespace remora::frontends::vhost_user_blk {

using block::Opcode;
using block::Status;
using virtio::BlkRequest;
using virtio::BlkStatus;
using virtio::BlkType;

namespace {

// Used elements tell a length of 32 bits; the status byte counts too.
static_assert(kMaxRequestBytes < std::numeric_limits<std::uint32_t>::max());

Opcode opcode_of(BlkType type) {
    switch (type) {
        case BlkType::In:
        case BlkType::GetId:
            return Opcode::Read;
        case BlkType::Out:
            return Opcode::Write;
        case BlkType::Flush:
            return Opcode::Flush;
        case BlkType::Discard:
            return Opcode::Discard;
        case BlkType::WriteZeroes:
            return Opcode::WriteZeroes;
    }
    return Opcode::Flush;
}

}  // namespace

// A group's descriptors are fetched, then its chains walked and their headers fetched, then those
// parsed: each step finds in the cache what the driver's core wrote last.
void Queue::admit_all(std::span<const std::uint16_t> heads,
                      bool fresh,
                      block::RequestBatch& batch) {
    while (!heads.empty() && !broken_) {
        const auto group = heads.first(std::min(heads.size(), kGroup));
        heads = heads.subspan(group.size());
        for (const std::uint16_t head : group) {
            ring_.prefetch(head);
            __builtin_prefetch(&slots_[head]);
        }
        admit_group(group, fresh, batch);
    }
}

void Queue::admit_group(std::span<const std::uint16_t> heads,
                        bool fresh,
                        block::RequestBatch& batch) {
    std::array<Walked, kGroup> walked;
    std::size_t count = 0;
    for (const std::uint16_t head : heads) {
        Slot& slot = slots_[head];
        if (slot.busy) {
            REMORA_COVER("guest: a head that is in flight is offered again");
            break_ring("a descriptor head that is in flight already");
            break;
        }
        slot.busy = true;
        slot.head = head;
        slot.status_byte = nullptr;
        if (fresh) {
            ring_.note_taken(head);
            REMORA_GUEST_MOMENT();
        }
        Walked& at = walked[count++];
        at.slot = &slot;
        at.chain.storage = segments_of(head);
        at.good = ring_.walk(head, at.chain);
        if (at.good) {
            last_header_ = at.chain.storage.front().data;
            __builtin_prefetch(last_header_);
        }
    }
    for (Walked& at : std::span(walked).first(count)) {
        if (admit(at) == Admission::Submit) {
            batch.push_back(*at.slot);
        }
    }
}

Queue::Admission Queue::admit(Walked& walked) {
    Slot& slot = *walked.slot;
    slot.data = {};
    if (!walked.good) {
        REMORA_COVER("guest: a chain is refused");
        ++counters_.refused_chains;
        slot.status_byte = walked.chain.last_byte;
        return finish(slot, BlkStatus::IoError, slot.status_byte != nullptr ? 1 : 0);
    }
    BlkRequest request;
    const virtio::ParseResult parsed = parse_blk_request(walked.chain, request);
    slot.status_byte = request.status_byte;
    switch (parsed) {
        case virtio::ParseResult::Ok:
            return translate(slot, request);
        case virtio::ParseResult::Unsupported:
            return finish(slot, BlkStatus::Unsupported, 1);
        case virtio::ParseResult::NoStatus:
            ++counters_.refused_chains;
            return finish(slot, BlkStatus::IoError, 0);
        case virtio::ParseResult::Malformed:
            ++counters_.refused_chains;
            return finish(slot, BlkStatus::IoError, 1);
    }
    return finish(slot, BlkStatus::IoError, 1);
}

// Sectors to blocks. What does not fall on whole blocks is refused (VIRTIO 1.2 section 5.2.6.1
// asks drivers for multiples of blk_size).
Status Queue::set_range(Slot& slot, std::uint64_t sector, std::uint64_t bytes) const {
    const std::uint32_t block_size = device_.geometry.block_size;
    const std::uint32_t sectors_per_block = block_size / virtio::kSectorBytes;
    if (sector % sectors_per_block != 0 || bytes % block_size != 0) {
        return Status::InvalidRequest;
    }
    const std::uint64_t blocks = bytes / block_size;
    if (blocks > std::numeric_limits<std::uint32_t>::max()) {
        return Status::InvalidRequest;
    }
    slot.lba = sector / sectors_per_block;
    slot.block_count = static_cast<std::uint32_t>(blocks);
    return Status::Ok;
}

Queue::Admission Queue::translate(Slot& slot, const BlkRequest& request) {
    const auto type = static_cast<BlkType>(request.type);
    slot.opcode = opcode_of(type);
    slot.status = Status::Ok;
    slot.nvme_status = 0;
    slot.force_unit_access = false;
    slot.depth = 0;
    slot.lba = 0;
    slot.block_count = 0;
    slot.bytes = 0;
    slot.used_bytes = 1;
    Status status = Status::Ok;
    switch (type) {
        case BlkType::GetId:
            return answer_identity(slot, request);
        case BlkType::Flush:
            break;
        case BlkType::In:
        case BlkType::Out:
            if (request.data_bytes > kMaxRequestBytes) {
                status = Status::InvalidRequest;
                break;
            }
            slot.data = request.data;
            slot.bytes = request.data_bytes;
            slot.used_bytes =
                type == BlkType::In ? static_cast<std::uint32_t>(request.data_bytes) + 1 : 1;
            status = set_range(slot, request.sector, request.data_bytes);
            break;
        case BlkType::Discard:
        case BlkType::WriteZeroes: {
            const std::uint32_t most =
                type == BlkType::Discard ? kMaxDiscardSectors : kMaxWriteZeroesSectors;
            slot.bytes = std::uint64_t{request.range_sectors} * virtio::kSectorBytes;
            status = request.range_sectors > most ? Status::InvalidRequest
                                                  : set_range(slot, request.sector, slot.bytes);
            break;
        }
    }
    if (status == Status::Ok) {
        status = block::validate(slot, device_.geometry);
    }
    if (type == BlkType::Discard && status == Status::Unsupported) {
        // Giving up blocks is advice. It may have been offered before the path to the volume was
        // up, which then turned out to have none.
        REMORA_COVER("guest: a discard is done that the volume cannot do");
        return finish(slot, BlkStatus::Ok, 1);
    }
    if (status != Status::Ok) {
        slot.status = status;
        slot.submitted = reactor_.now();
        count(slot);
        return finish(slot, virtio::to_blk_status(status), 1);
    }
    slot.submitted = reactor_.now();
    slot.push_frame(*this);
    return Admission::Submit;
}

Queue::Admission Queue::answer_identity(Slot& slot, const BlkRequest& request) {
    slot.data = request.data;
    core::SegmentCursor cursor(request.data);
    const std::size_t copied = cursor.copy_in(device_.identity);
    return finish(slot, BlkStatus::Ok, static_cast<std::uint32_t>(copied) + 1);
}

}  // namespace remora::frontends::vhost_user_blk
