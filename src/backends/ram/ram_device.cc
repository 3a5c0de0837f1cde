// SPDX-License-Identifier: Apache-2.0
#include "backends/ram/ram_device.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "block/deferred.h"
#include "core/check.h"
#include "core/probe.h"
#include "core/units.h"
#include "reactor/timer.h"

namespace remora::backends::ram {

namespace {

using block::Opcode;
using block::Request;
using block::Status;

// Bytes that a channel copies or clears in one turn (about 0.5 ms): a guest that asks for more at
// once waits for the next turns, and its neighbours on the reactor do not wait for it. What is
// touched for the first time ends the turn's share, since the system clears it, all of a huge page.
constexpr std::size_t kBytesPerTurn = std::size_t{4} << 20U;

// Requests whose places are fetched together, so that the processor looks several pages up in its
// tables at once: a lock is taken for each page later, and nothing passes a lock.
constexpr std::uint32_t kFetchedAhead = 16;
constexpr std::size_t kLine = 64;  // of a cache

class RamChannel final : public block::Channel, private reactor::TimerHandler {
  public:
    RamChannel(const Extent* extents, PageLocks& locks, const block::Geometry& geometry)
        : extents_(extents),
          locks_(locks),
          geometry_(geometry),
          reactor_(reactor::Reactor::current()),
          next_turn_(*this),
          done_(reactor_) {}
    RamChannel(const RamChannel&) = delete;
    RamChannel& operator=(const RamChannel&) = delete;
    ~RamChannel() override { CHECK(current_ == nullptr && waiting_.empty()); }

    void submit(block::RequestBatch& batch) override {
        waiting_.append(batch);
        take_turn();
    }

  private:
    void on_timer(reactor::Timer& /*timer*/) override { take_turn(); }

    void take_turn() {
        if (turn_ != reactor_.now()) {
            turn_ = reactor_.now();
            left_ = kBytesPerTurn;
        }
        perform();
    }

    // Takes requests in their order until none is left, the turn's share is used up, which may be
    // in the middle of one, or somebody else is at the page.
    void perform() {
        while (current_ != nullptr || next()) {
            if (left_ == 0 || !step()) {
                if (!next_turn_.armed()) {
                    // A page may be free when this turn's sends are done.
                    const core::Nanos wait{left_ == 0 ? 1 : 0};
                    reactor_.arm(next_turn_, reactor_.now() + wait);
                }
                return;
            }
            if (position_ == current_bytes_) {
                done_.push(*std::exchange(current_, nullptr), Status::Ok);
            }
        }
    }

    // What the request asks for of one page. False when others are there.
    bool step() {
        const std::uint64_t at = current_->lba * geometry_.block_size + position_;
        const Extent& extent = extent_of(at);
        const std::size_t bytes =
            std::min({current_bytes_ - position_, left_,
                      static_cast<std::size_t>(PageLocks::kPageBytes - at % PageLocks::kPageBytes),
                      static_cast<std::size_t>(extent.end - at)});
        const std::uint64_t offset = at - extent.begin;
        const std::span<std::byte> there(extent.memory + offset, bytes);
        PageLocks::Word& lock = locks_.of(at);
        if (!(current_->opcode == Opcode::Read ? read(there, lock) : change(there, lock))) {
            REMORA_COVER("ram: a page is in use elsewhere");
            return false;
        }
        position_ += bytes;
        left_ -= bytes;
        // Zeros are only written where something else was.
        if (current_->opcode == Opcode::Write && touches_first(extent, offset)) {
            left_ = 0;
        }
        return true;
    }

    static bool touches_first(const Extent& extent, std::uint64_t offset) {
        std::atomic<bool>& touched = extent.touched[offset / Extent::kTouchBytes];
        return !touched.load(std::memory_order_relaxed) &&
               !touched.exchange(true, std::memory_order_relaxed);
    }

    bool read(std::span<const std::byte> from, PageLocks::Word& lock) {
        if (current_->takes_in_place && from.size() == current_bytes_ &&
            PageLocks::try_lend(lock)) {
            current_->loan = block::Loan(from.data(), lock);
            return true;
        }
        if (!PageLocks::try_hold(lock)) {
            return false;
        }
        const std::byte* next = next_place(from.size());
        while (!from.empty()) {
            const core::Segment run = cursor_.peek(from.size());
            DCHECK(run.size > 0);
            copy_and_fetch(run.data, from.first(run.size), next);
            cursor_.advance(run.size);
            from = from.subspan(run.size);
            next += run.size;
        }
        PageLocks::let_go(lock);
        return true;
    }

    // Where the copy goes on behind these bytes: in this request or in the next.
    [[nodiscard]] const std::byte* next_place(std::size_t bytes) const {
        const std::uint64_t at = current_->lba * geometry_.block_size + position_;
        if (position_ + bytes < current_bytes_) {
            return memory_at(at + bytes);
        }
        const Request* follower = waiting_.front();
        const std::byte* there = follower != nullptr ? place_of(*follower) : nullptr;
        return there != nullptr ? there : memory_at(at);
    }

    // A copy from memory that no cache holds waits for most of its lines. Fetching as many of the
    // next one meanwhile, line by line, keeps the memory busy; all at once would be too many.
    static void copy_and_fetch(std::byte* to,
                               std::span<const std::byte> from,
                               const std::byte* next) {
        std::size_t done = 0;
        for (; done + kLine <= from.size(); done += kLine) {
            __builtin_prefetch(next + done);
            std::memcpy(to + done, from.data() + done, kLine);
        }
        std::memcpy(to + done, from.data() + done, from.size() - done);
    }

    bool change(std::span<std::byte> at, PageLocks::Word& lock) {
        if (!PageLocks::try_write(lock)) {
            return false;
        }
        if (current_->opcode == Opcode::Write) {
            cursor_.copy_out(at);
        } else {
            clear(at);
        }
        PageLocks::written(lock);
        return true;
    }

    // Null when it begins behind the volume's end: it is not checked yet.
    [[nodiscard]] const std::byte* place_of(const Request& request) const {
        if (request.lba >= geometry_.block_count) {
            return nullptr;
        }
        return memory_at(request.lba * geometry_.block_size);
    }
    [[nodiscard]] std::byte* memory_at(std::uint64_t at) const {
        const Extent& extent = extent_of(at);
        return extent.memory + (at - extent.begin);
    }

    /// `at` is inside the volume, whose extents follow each other.
    [[nodiscard]] const Extent& extent_of(std::uint64_t at) const {
        const Extent* extent = extents_;
        while (at >= extent->end) {
            ++extent;
        }
        return *extent;
    }

    void fetch_ahead() {
        const Request* request = waiting_.front();
        for (ahead_ = 0; ahead_ < kFetchedAhead && request != nullptr; ++ahead_) {
            if (const std::byte* place = place_of(*request)) {
                __builtin_prefetch(place);
                __builtin_prefetch(place + kLine);
            }
            request = waiting_.next(*request);
        }
    }

    bool next() {
        if (ahead_ == 0) {
            fetch_ahead();
        }
        while (Request* request = waiting_.pop_front()) {
            ahead_ -= ahead_ > 0 ? 1 : 0;
            const Status status = block::validate(*request, geometry_);
            if (status == Status::Ok && request->opcode != Opcode::Flush) {
                current_ = request;
                current_bytes_ = std::size_t{request->block_count} * geometry_.block_size;
                position_ = 0;
                cursor_ = core::SegmentCursor(request->data);
                return true;
            }
            done_.push(*request, status);
        }
        return false;
    }

    // Pages that are zero already are not written: those never touched stay without memory.
    static void clear(std::span<std::byte> page) {
        static constexpr std::array<std::byte, PageLocks::kPageBytes> kZeros{};
        if (std::memcmp(page.data(), kZeros.data(), page.size()) != 0) {
            std::memset(page.data(), 0, page.size());
        }
    }

    const Extent* extents_;
    PageLocks& locks_;
    const block::Geometry& geometry_;  // of this reactor; it may grow
    reactor::Reactor& reactor_;
    reactor::Timer next_turn_;
    core::Nanos turn_{-1};  // the turn that `left_` belongs to
    std::size_t left_ = 0;
    block::RequestBatch waiting_;
    std::uint32_t ahead_ = 0;     // of the waiting ones, whose places are being fetched
    Request* current_ = nullptr;  // begun
    std::size_t current_bytes_ = 0;
    std::size_t position_ = 0;
    core::SegmentCursor cursor_{{}};
    block::DeferredCompletions done_;
};

std::unexpected<core::Error> no_memory(const block::Geometry& geometry) {
    return core::fail(core::ErrorKind::ResourceExhausted,
                      "no memory for a RAM volume of " + core::format_size(geometry.size_bytes()) +
                          "; ask for less");
}

}  // namespace

core::Result<std::unique_ptr<RamDevice>> RamDevice::create(std::string name,
                                                           core::Uuid uuid,
                                                           std::uint32_t block_size,
                                                           std::uint64_t block_count) {
    block::Geometry geometry;
    geometry.block_size = block_size;
    geometry.block_count = block_count;
    geometry.can_discard = true;
    geometry.can_write_zeroes = true;
    if (auto valid = block::check_geometry(geometry); !valid) {
        return std::unexpected(valid.error());
    }
    memory::ZeroedMemory memory = memory::allocate_zeroed(geometry.size_bytes());
    if (memory == nullptr) {
        return no_memory(geometry);
    }
    return std::unique_ptr<RamDevice>(
        new RamDevice(std::move(name), uuid, geometry, std::move(memory)));
}

RamDevice::RamDevice(std::string name,
                     core::Uuid uuid,
                     block::Geometry geometry,
                     memory::ZeroedMemory memory)
    : GrowingDevice(std::move(name), uuid, geometry) {
    add_extent(0, geometry.size_bytes(), std::move(memory));
}

void RamDevice::add_extent(std::uint64_t begin, std::uint64_t end, memory::ZeroedMemory memory) {
    const std::size_t touches = (end - begin + Extent::kTouchBytes - 1) / Extent::kTouchBytes;
    extents_[extent_count_++] = {begin, end, memory.get(),
                                 std::make_unique<std::atomic<bool>[]>(touches)};
    memory_.push_back(std::move(memory));
}

core::Result<void> RamDevice::make_room(const block::Geometry& after) {
    if (extent_count_ == kMaxExtents) {
        return core::fail(core::ErrorKind::ResourceExhausted,
                          "volume '" + name() + "' has grown " + std::to_string(kMaxExtents - 1) +
                              " times, as often as a RAM volume can");
    }
    const std::uint64_t begin = extents_[extent_count_ - 1].end;
    memory::ZeroedMemory memory = memory::allocate_zeroed(after.size_bytes() - begin);
    if (memory == nullptr) {
        return no_memory(after);
    }
    add_extent(begin, after.size_bytes(), std::move(memory));
    return {};
}

core::Result<std::unique_ptr<block::Channel>> RamDevice::open_channel() {
    return std::make_unique<RamChannel>(extents_.data(), locks_, shown_geometry());
}

}  // namespace remora::backends::ram
