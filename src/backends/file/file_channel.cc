// SPDX-License-Identifier: Apache-2.0
#include "backends/file/file_channel.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <utility>

#include "core/probe.h"

namespace remora::backends::file {

namespace {

using block::Opcode;
using block::Request;
using block::Status;
using reactor::FileOp;

Status status_of(int result) {
    switch (-result) {
        case 0:
            return Status::Ok;
        case ENOSPC:
        case EDQUOT:
            return Status::NoSpace;
        case EOPNOTSUPP:
            return Status::Unsupported;
        case ECANCELED:
            return Status::Aborted;
        default:
            return Status::IoError;
    }
}

FileOp::Kind kind_of(Opcode opcode) {
    switch (opcode) {
        case Opcode::Read:
            return FileOp::Kind::Read;
        case Opcode::Write:
            return FileOp::Kind::Write;
        case Opcode::Flush:
            return FileOp::Kind::Flush;
        case Opcode::WriteZeroes:
            return FileOp::Kind::ZeroRange;
        case Opcode::Discard:
            return FileOp::Kind::PunchHole;
    }
    return FileOp::Kind::Flush;
}

void release(std::byte* memory) {
    std::free(memory);
}

}  // namespace

FileChannel::FileChannel(std::unique_ptr<reactor::File> file, const block::Geometry& geometry)
    : file_(std::move(file)),
      geometry_(geometry),
      done_(reactor::Reactor::current()),
      slots_(kSlots),
      bounce_(static_cast<std::byte*>(std::aligned_alloc(kBounceAlignment, kBounceBytes)),
              release) {
    CHECK(bounce_ != nullptr);
    CHECK(file_->memory_alignment() <= kBounceAlignment);
    for (Slot& slot : slots_) {
        slot.op.handler = this;
        slot.op.slot = &slot;
        free_.push_back(slot);
    }
}

FileChannel::~FileChannel() {
    CHECK(free_.size() == kSlots);
    while (free_.pop_front() != nullptr) {
    }
}

void FileChannel::submit(block::RequestBatch& batch) {
    waiting_.append(batch);
    run_waiting();
}

void FileChannel::run_waiting() {
    while (!waiting_.empty() && !free_.empty()) {
        Request& request = *waiting_.pop_front();
        if (const Status status = block::validate(request, geometry_); status != Status::Ok) {
            done_.push(request, status);
            continue;
        }
        Slot& slot = *free_.pop_front();
        slot.request = &request;
        start(slot);
    }
}

/// Direct I/O as the kernel takes it: addresses of its memory alignment, and each segment's length
/// of the logical block size, too, because every segment is a run on the disk.
bool FileChannel::aligned(const Request& request) const {
    const std::size_t address = file_->memory_alignment() - 1;
    const std::size_t length = address | (file_->offset_alignment() - 1);
    const auto fits = [address, length](const core::Segment& segment) {
        return (reinterpret_cast<std::uintptr_t>(segment.data) & address) == 0 &&
               (segment.size & length) == 0;
    };
    return std::all_of(request.data.begin(), request.data.end(), fits);
}

void FileChannel::start(Slot& slot) {
    const Request& request = *slot.request;
    FileOp& op = slot.op;
    op.kind = kind_of(request.opcode);
    op.offset = request.lba * geometry_.block_size;
    op.length = std::uint64_t{request.block_count} * geometry_.block_size;
    op.segments = request.data;
    const bool transfer = op.kind == FileOp::Kind::Read || op.kind == FileOp::Kind::Write;
    if (!transfer || aligned(request)) {
        file_->submit(op);
        return;
    }
    REMORA_COVER("file: a transfer is bounced");
    slot.bounced = 0;
    slot.bouncing = true;
    if (bounce_busy_) {
        waiting_for_bounce_.push_back(slot);
        return;
    }
    bounce_busy_ = true;
    start_bounce_part(slot);
}

void FileChannel::start_bounce_part(Slot& slot) {
    const Request& request = *slot.request;
    const std::uint64_t total = std::uint64_t{request.block_count} * geometry_.block_size;
    const std::uint64_t bytes = std::min<std::uint64_t>(total - slot.bounced, kBounceBytes);
    slot.part = {bounce_.get(), bytes};
    if (request.opcode == Opcode::Write) {
        core::SegmentCursor cursor(request.data);
        cursor.advance(slot.bounced);
        cursor.copy_out({bounce_.get(), bytes});
    }
    slot.op.offset = request.lba * geometry_.block_size + slot.bounced;
    slot.op.length = bytes;
    slot.op.segments = std::span(&slot.part, 1);
    file_->submit(slot.op);
}

/// One part of a bounced transfer is done. Returns whether there is more to do.
bool FileChannel::continue_bounce(Slot& slot) {
    const Request& request = *slot.request;
    const bool failed = slot.op.result != 0;
    if (!failed && request.opcode == Opcode::Read) {
        core::SegmentCursor cursor(request.data);
        cursor.advance(slot.bounced);
        cursor.copy_in({bounce_.get(), slot.part.size});
    }
    slot.bounced += slot.part.size;
    const std::uint64_t total = std::uint64_t{request.block_count} * geometry_.block_size;
    if (!failed && slot.bounced < total) {
        start_bounce_part(slot);
        return true;
    }
    slot.bouncing = false;
    Slot* next = waiting_for_bounce_.pop_front();
    bounce_busy_ = next != nullptr;
    if (next != nullptr) {
        start_bounce_part(*next);
    }
    return false;
}

void FileChannel::on_file_done(FileOp& op) {
    Slot& slot = *static_cast<Slot::Op&>(op).slot;
    if (slot.bouncing && continue_bounce(slot)) {
        return;
    }
    Request& request = *slot.request;
    if (op.result == 0 && request.force_unit_access &&
        (op.kind == FileOp::Kind::Write || op.kind == FileOp::Kind::ZeroRange)) {
        REMORA_COVER("file: a write with FUA is flushed");
        op.kind = FileOp::Kind::Flush;  // durable before it is answered
        op.segments = {};
        file_->submit(op);
        return;
    }
    finish(slot, status_of(op.result));
    run_waiting();
}

void FileChannel::finish(Slot& slot, Status status) {
    Request& request = *std::exchange(slot.request, nullptr);
    free_.push_front(slot);
    done_.push(request, status);
}

}  // namespace remora::backends::file
