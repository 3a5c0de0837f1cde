// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/integrity/crash_disk.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/check.h"
#include "core/crc32c.h"

namespace remora::services::integrity {

using block::Opcode;
using block::Request;
using block::Status;

namespace {

bool changes(Opcode opcode) {
    return opcode == Opcode::Write || opcode == Opcode::WriteZeroes || opcode == Opcode::Discard;
}

std::uint32_t sum_of(const Request& request) {
    core::Crc32c crc;
    for (const core::Segment& segment : request.data) {
        crc.update({segment.data, segment.size});
    }
    return crc.value();
}

}  // namespace

class CrashDisk::DiskChannel final : public block::Channel {
  public:
    explicit DiskChannel(CrashDisk& disk)
        : disk_(disk), reactor_(reactor::Reactor::current()), done_(reactor_) {}
    void submit(block::RequestBatch& batch) override {
        while (Request* request = batch.pop_front()) {
            disk_.take(*request, *this);
        }
    }
    void end(Request& request, Status status) {
        if (reactor_.is_current()) {
            done_.push(request, status);
        } else {
            reactor_.post_function([this, &request, status] { done_.push(request, status); });
        }
    }

  private:
    CrashDisk& disk_;
    reactor::Reactor& reactor_;
    block::DeferredCompletions done_;
};

CrashDisk::CrashDisk(std::uint32_t block_size, std::uint64_t block_count, bool volatile_cache)
    : Device("disk", {}), medium_(block_size * block_count) {
    shape.block_size = block_size;
    shape.block_count = block_count;
    shape.can_discard = true;
    shape.can_write_zeroes = true;
    shape.unwritten_reads_zeros = false;
    shape.volatile_cache = volatile_cache;
    for (std::uint64_t i = 0; i < block_count; i += 3) {  // somebody else's old data
        std::memset(medium_.data() + i * block_size, 0x5a, block_size);
    }
}

CrashDisk::~CrashDisk() {
    CHECK(held_.empty());
}

core::Result<std::unique_ptr<block::Channel>> CrashDisk::open_channel() {
    return std::make_unique<DiskChannel>(*this);
}

void CrashDisk::take(Request& request, DiskChannel& channel) {
    CHECK(block::validate(request, shape) == Status::Ok);
    CHECK(request.status == Status::Ok && request.nvme_status == 0 && !request.is_hole);
    seen.push_back({request.opcode, request.lba, request.block_count, request.force_unit_access,
                    request.takes_in_place});
    check_overlap(request);
    const Held held{&request, &channel, versions_, sum_of(request)};
    if (dead_) {
        channel.end(request, Status::Aborted);
    } else if (automatic) {
        const Status status = outcome(request);
        if (status == Status::Ok) {
            perform(held);
        }
        channel.end(request, status);
    } else {
        held_.push_back(held);
    }
}

/// Of two that write the same block at a time nobody could say which is the last.
void CrashDisk::check_overlap(const Request& request) const {
    if (!changes(request.opcode)) {
        return;
    }
    for (const Held& held : held_) {
        const Request& other = *held.request;
        CHECK(!changes(other.opcode) || request.lba >= other.lba + other.block_count ||
              other.lba >= request.lba + request.block_count);
    }
}

Status CrashDisk::outcome(const Request& request) const {
    if (bad_block && request.opcode != Opcode::Flush && bad_block->first >= request.lba &&
        bad_block->first < request.lba + request.block_count) {
        return bad_block->second;
    }
    return Status::Ok;
}

void CrashDisk::let_go(std::size_t which, Status status, core::Prng& prng) {
    const Held held = held_[which];
    held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(which));
    if (status == Status::Ok) {
        status = outcome(*held.request);
    }
    if (status == Status::Ok) {
        perform(held);
    } else if (changes(held.request->opcode)) {
        tear(*held.request, prng);
    }
    held.channel->end(*held.request, status);
}

void CrashDisk::perform(const Held& held) {
    Request& request = *held.request;
    switch (request.opcode) {
        case Opcode::Read: {
            core::SegmentCursor cursor(request.data);
            for (std::uint32_t i = 0; i < request.block_count; ++i) {
                cursor.copy_in(block(request.lba + i));
            }
            break;
        }
        case Opcode::Write:
            CHECK(sum_of(request) == held.sum);  // the bytes were not to change
            write(request);
            break;
        case Opcode::WriteZeroes:
        case Opcode::Discard:
            for (std::uint32_t i = 0; i < request.block_count; ++i) {
                put(request.lba + i, bytes_of(request, i), request.force_unit_access);
            }
            break;
        case Opcode::Flush:
            flush(held.flushes);
            break;
    }
}

void CrashDisk::write(const Request& request) {
    std::uint64_t lba = request.lba;
    if (lose_write_to == lba) {
        lose_write_to.reset();
        return;
    }
    if (misdirect_write && misdirect_write->first == lba) {
        lba = misdirect_write->second;
        misdirect_write.reset();
    }
    for (std::uint32_t i = 0; i < request.block_count; ++i) {
        put(lba + i, bytes_of(request, i), request.force_unit_access && !drop_fua);
    }
}

Bytes CrashDisk::bytes_of(const Request& request, std::uint32_t block) const {
    Bytes bytes(shape.block_size);
    if (request.opcode == Opcode::Write) {
        core::SegmentCursor cursor(request.data);
        cursor.advance(std::size_t{block} * shape.block_size);
        CHECK(cursor.copy_out(bytes) == bytes.size());
    } else if (request.opcode == Opcode::Discard) {
        std::memset(bytes.data(), 0xd5, bytes.size());
    }
    return bytes;
}

void CrashDisk::put(std::uint64_t lba, Bytes bytes, bool durable) {
    if (durable || !shape.volatile_cache) {
        cached_.erase(lba);
        std::ranges::copy(bytes, medium_.data() + lba * shape.block_size);
    } else {
        cached_[lba].push_back({versions_++, std::move(bytes)});
    }
}

/// What has been cached before the flush began; later versions stay what they are.
void CrashDisk::flush(std::uint64_t limit) {
    for (auto at = cached_.begin(); at != cached_.end();) {
        auto& versions = at->second;
        while (!versions.empty() && versions.front().number < limit) {
            std::ranges::copy(versions.front().bytes,
                              medium_.data() + at->first * shape.block_size);
            versions.erase(versions.begin());
        }
        at = versions.empty() ? cached_.erase(at) : std::next(at);
    }
}

/// Some of its blocks are written.
void CrashDisk::tear(const Request& request, core::Prng& prng) {
    const std::uint64_t odds = prng.below(3);
    for (std::uint32_t i = 0; i < request.block_count; ++i) {
        if (odds == 2 || (odds == 1 && prng.below(2) == 0)) {
            put(request.lba + i, bytes_of(request, i), false);
        }
    }
}

void CrashDisk::crash(Crash kind, core::Prng& prng) {
    CHECK(!dead_);
    dead_ = true;
    for (const Held& held : std::exchange(held_, {})) {
        if (changes(held.request->opcode)) {
            tear(*held.request, prng);
        }
        held.channel->end(*held.request, Status::Aborted);
    }
    if (kind == Crash::Process) {
        return;
    }
    for (auto& [lba, versions] : std::exchange(cached_, {})) {
        if (const std::uint64_t kept = prng.below(versions.size() + 1); kept > 0) {
            std::ranges::copy(versions[kept - 1].bytes, medium_.data() + lba * shape.block_size);
        }
    }
}

void CrashDisk::revive() {
    CHECK(dead_ && held_.empty());
    dead_ = false;
}

Bytes CrashDisk::block(std::uint64_t lba) const {
    if (const auto at = cached_.find(lba); at != cached_.end()) {
        return at->second.back().bytes;
    }
    const std::byte* from = medium_.data() + lba * shape.block_size;
    return {from, from + shape.block_size};
}

void CrashDisk::put_block(std::uint64_t lba, const Bytes& bytes) {
    put(lba, bytes, true);
}

void CrashDisk::flip_bit(std::uint64_t lba, std::size_t bit) {
    Bytes bytes = block(lba);
    bytes[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    put(lba, bytes, true);
}

}  // namespace remora::services::integrity
