// SPDX-License-Identifier: Apache-2.0
#include "services/crypto/crypt_channel.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <utility>

#include "core/check.h"
#include "core/probe.h"
#include "services/crypto/crypt_device.h"

namespace remora::services::crypto {

namespace {

using block::Opcode;
using block::Request;
using block::RequestBatch;
using block::Status;

constexpr std::size_t kAlignment = 4096;  // of direct I/O, as the pool's buffers have it

// What our frame has.
constexpr std::size_t kOwn = 0;     // a read's takes_in_place, a write's slot
constexpr std::size_t kParity = 1;  // that its lane gave it

/// What a buffer of `bytes` takes from the pool.
std::size_t pool_cost(std::size_t bytes) {
    return std::bit_ceil(std::max(bytes, memory::BufferPool::kMinBytes));
}

void release(std::byte* memory) {
    std::free(memory);
}

}  // namespace

core::Result<std::unique_ptr<CryptChannel>> CryptChannel::create(
    const CryptDevice& device,
    KeyLane& lane,
    std::unique_ptr<block::Channel> lower,
    std::unique_ptr<AesXts> cipher,
    memory::BufferPool* pool) {
    Reserve reserve(static_cast<std::byte*>(std::aligned_alloc(kAlignment, kReserveBytes)),
                    release);
    if (reserve == nullptr) {
        return core::fail(core::ErrorKind::ResourceExhausted,
                          "no memory to encrypt the writes of volume '" + device.name() + "' in");
    }
    return std::unique_ptr<CryptChannel>(new CryptChannel(
        device, lane, std::move(lower), std::move(cipher), pool, std::move(reserve)));
}

CryptChannel::CryptChannel(const CryptDevice& device,
                           KeyLane& lane,
                           std::unique_ptr<block::Channel> lower,
                           std::unique_ptr<AesXts> cipher,
                           memory::BufferPool* pool,
                           Reserve reserve)
    : device_(device),
      lane_(lane),
      lower_(std::move(lower)),
      cipher_(std::move(cipher)),
      pool_(pool),
      reserve_(std::move(reserve)),
      sector_size_(device.sector_size()),
      block_size_(device.geometry().block_size),
      sectors_per_block_(block_size_ / sector_size_),
      reactor_(reactor::Reactor::current()),
      next_turn_(*this),
      slots_(kSlots),
      refused_(reactor_) {
    for (Slot& slot : slots_) {
        free_.push_back(slot);
    }
    lane_.channels.push_back(*this);
}

CryptChannel::~CryptChannel() {
    CHECK(free_.size() == kSlots && waiting_.empty() && to_decrypt_.empty());
    CHECK(decrypting_ == nullptr && pool_bytes_ == 0 && !reserve_used_);
    CHECK(held_.empty());
    unlink();
    while (free_.pop_front() != nullptr) {
    }
}

void CryptChannel::submit(RequestBatch& batch) {
    begin_turn();
    const block::Geometry geometry = device_.geometry();
    RequestBatch down;
    while (Request* request = batch.pop_front()) {
        // What is encrypted is as long as the range says, and a discard may not be allowed.
        if (const Status status = block::validate(*request, geometry); status != Status::Ok) {
            refused_.push(*request, status);
        } else {
            take(*request, down);
        }
    }
    encrypt_some(down);
    if (!down.empty()) {
        lower_->submit(down);
    }
}

void CryptChannel::take(Request& request, RequestBatch& down) {
    if (request.opcode == Opcode::Flush || request.opcode == Opcode::Discard) {
        down.push_back(request);  // completed past us
        return;
    }
    if (lane_.split.holds(request.lba, request.block_count)) {
        if (lane_.split.refused) {
            refused_.push(request, Status::IoError);
        } else {
            REMORA_COVER("crypt: a request waits for the change of the key");
            held_.push_back(request);
        }
        return;
    }
    block::Frame& frame = request.push_frame(*this);
    frame.scratch[kParity] = lane_.entered();
    if (request.opcode == Opcode::Read) {
        frame.scratch[kOwn] = request.takes_in_place ? 1 : 0;
        request.takes_in_place = false;
        down.push_back(request);
    } else {
        waiting_.push_back(request);  // a write, or zeros: those below are not zeros here
    }
}

void CryptChannel::finish(Request& request, RequestBatch& up) {
    lane_.left(request.top_frame().scratch[kParity]);
    request.pop_frame();
    up.push_back(request);
}

void CryptChannel::complete(RequestBatch& batch) {
    begin_turn();
    RequestBatch up;
    RequestBatch down;
    while (Request* request = batch.pop_front()) {
        if (request->opcode == Opcode::Read) {
            take_read(*request, up);
        } else {
            take_piece(*request, up);
        }
    }
    work(up, down);
}

void CryptChannel::on_timer(reactor::Timer& /*timer*/) {
    turn_ = core::kNever;  // a new turn, also where the clock stands still
    begin_turn();
    RequestBatch up;
    RequestBatch down;
    work(up, down);
}

void CryptChannel::begin_turn() {
    if (turn_ != reactor_.now()) {
        turn_ = reactor_.now();
        encrypt_left_ = kBytesPerTurn;
        decrypt_left_ = kBytesPerTurn;
    }
}

void CryptChannel::go_on_next_turn() {
    if (!next_turn_.armed()) {
        reactor_.arm(next_turn_, reactor_.now());
    }
}

void CryptChannel::work(RequestBatch& up, RequestBatch& down) {
    decrypt_some(up);
    encrypt_some(down);
    if (!down.empty()) {
        lower_->submit(down);
    }
    // The last thing done here: whoever gets its last request back may end this channel.
    if (!up.empty()) {
        block::complete_batch(up);
    }
}

// Reads.

void CryptChannel::take_read(Request& request, RequestBatch& up) {
    CHECK(!request.is_hole);  // it was not taken, so the bytes are there
    request.takes_in_place = request.top_frame().scratch[kOwn] != 0;
    if (request.status == Status::Ok) {
        to_decrypt_.push_back(request);
        return;
    }
    finish(request, up);
}

void CryptChannel::decrypt_some(RequestBatch& up) {
    for (;;) {
        if (decrypting_ == nullptr) {
            decrypting_ = to_decrypt_.pop_front();
            if (decrypting_ == nullptr) {
                return;
            }
            decrypting_left_ = decrypting_->block_count * block_size_;
            decrypting_at_ = {core::SegmentCursor(decrypting_->data), sector_of(decrypting_->lba)};
        }
        if (decrypt_left_ == 0) {
            REMORA_COVER("crypt: reads are decrypted in the next turn");
            go_on_next_turn();
            return;
        }
        const std::size_t bytes = std::min(decrypting_left_, decrypt_left_);
        decrypt(decrypting_at_, bytes);
        decrypting_left_ -= bytes;
        decrypt_left_ -= bytes;
        if (decrypting_left_ == 0) {
            finish(*std::exchange(decrypting_, nullptr), up);
        }
    }
}

// Writes.

void CryptChannel::encrypt_some(RequestBatch& down) {
    while (!next_pieces_.empty() || !waiting_.empty()) {
        if (encrypt_left_ == 0) {
            REMORA_COVER("crypt: writes are encrypted in the next turn");
            go_on_next_turn();
            return;
        }
        Slot* slot = next_pieces_.pop_front();
        if (slot == nullptr) {
            slot = begin_write();
        }
        if (slot == nullptr) {
            // Another write of this channel has what is missing: its end comes by here.
            CHECK(free_.size() < kSlots);
            REMORA_COVER("crypt: a write waits for a buffer");
            return;
        }
        encrypt_piece(*slot, down);
    }
}

/// The first write that waits, with a slot and a buffer; null when there is none of either.
CryptChannel::Slot* CryptChannel::begin_write() {
    if (free_.empty()) {
        return nullptr;
    }
    const std::size_t bytes = waiting_.front()->block_count * block_size_;
    const std::span<std::byte> buffer = take_buffer(bytes);
    if (buffer.empty()) {
        return nullptr;
    }
    Request& request = *waiting_.pop_front();
    Slot& slot = *free_.pop_front();
    slot.request = &request;
    slot.zeros = request.opcode == Opcode::WriteZeroes;
    slot.data = request.data;
    slot.lba = request.lba;
    slot.block_count = request.block_count;
    slot.done = 0;
    slot.position = {core::SegmentCursor(request.data), sector_of(request.lba)};
    slot.buffer = buffer;
    request.top_frame().scratch[kOwn] = reinterpret_cast<std::uintptr_t>(&slot);
    return &slot;
}

void CryptChannel::encrypt_piece(Slot& slot, RequestBatch& down) {
    Request& request = *slot.request;
    const std::size_t left = (slot.block_count - slot.done) * block_size_;
    const std::size_t bytes = std::min(left, slot.buffer.size());
    const std::span<std::byte> piece = slot.buffer.first(bytes);
    if (slot.zeros) {
        encrypt_zeros(slot.position, piece);
        request.opcode = Opcode::Write;
    } else {
        encrypt(slot.position, piece);
    }
    encrypt_left_ -= std::min(encrypt_left_, bytes);
    slot.piece = {slot.buffer.data(), bytes};
    request.lba = slot.lba + slot.done;
    request.block_count = static_cast<std::uint32_t>(bytes / block_size_);
    request.data = std::span(&slot.piece, 1);
    down.push_back(request);
}

/// A piece has come back: the next one, or the request as it was.
void CryptChannel::take_piece(Request& request, RequestBatch& up) {
    Slot& slot = *reinterpret_cast<Slot*>(request.top_frame().scratch[kOwn]);
    CHECK(slot.request == &request);
    slot.done += request.block_count;
    if (request.status == Status::Ok && slot.done < slot.block_count) {
        next_pieces_.push_back(slot);
        return;
    }
    request.opcode = slot.zeros ? Opcode::WriteZeroes : Opcode::Write;
    request.data = slot.data;
    request.lba = slot.lba;
    request.block_count = slot.block_count;
    slot.request = nullptr;
    give_buffer(slot.buffer);
    free_.push_front(slot);
    finish(request, up);
}

/// For a write of `bytes`: as much as fits one buffer, else the reserve, else nothing.
std::span<std::byte> CryptChannel::take_buffer(std::size_t bytes) {
    const std::size_t wanted = std::min(bytes, memory::BufferPool::kMaxBytes);
    if (pool_ != nullptr && pool_bytes_ + pool_cost(wanted) <= pool_->capacity() / 4 &&
        !REMORA_SOMETIMES("crypt: the pool has no buffer")) {
        const std::span<std::byte> buffer = pool_->allocate(wanted);
        if (!buffer.empty()) {
            pool_bytes_ += pool_cost(wanted);
            return buffer;
        }
    }
    if (reserve_used_) {
        return {};
    }
    reserve_used_ = true;
    return {reserve_.get(), std::min(bytes, kReserveBytes)};
}

void CryptChannel::give_buffer(std::span<std::byte> buffer) {
    if (buffer.data() == reserve_.get()) {
        reserve_used_ = false;
        return;
    }
    pool_bytes_ -= pool_cost(buffer.size());
    pool_->release(buffer);
}

}  // namespace remora::services::crypto
