// SPDX-License-Identifier: Apache-2.0
// Target: a hostile driver's packed virtqueue. Its ring, descriptors, indirect tables and in-flight
// memory are made and changed by the input; between changes the device takes, walks, parses and
// gives back chains, and another process goes on after this one died.
//
//   input: shape, then operations until it ends
//
// Each segment lies inside the memory, a broken ring has taken nothing, ids in flight are below the
// size and each other's difference, and what another process finds in flight is what was taken and
// not given back, in its order, unless the input wrote over the in-flight memory.
#include <algorithm>
#include <cstring>
#include <vector>

#include "core/byte_reader.h"
#include "core/check.h"
#include "memory/guest_memory.h"
#include "tests/fuzz/support/input.h"
#include "virtio/blk_request.h"
#include "virtio/packed_queue.h"
#include "virtio/vhost_user/packed_inflight.h"

namespace remora::fuzz {
namespace {

using memory::GuestMemory;
using virtio::Chain;
using virtio::PackedDescriptor;
using virtio::PackedPlace;
using virtio::PackedQueue;
using virtio::vhost_user::PackedInflight;

constexpr std::uint64_t kGuestBase = 0x10000;
constexpr std::size_t kMemoryBytes = 0x3000;
constexpr std::size_t kRingAt = 0x2000;
constexpr std::size_t kMaxSegments = 40;
constexpr std::uint16_t kMaxSize = 24;

class PackedRun {
  public:
    explicit PackedRun(Input input) : input_(input), memory_bytes_(kMemoryBytes) {}

    void run() {
        const std::uint8_t options = input_.u8();
        setup_.size = static_cast<std::uint16_t>(1 + input_.u8() % kMaxSize);
        setup_.max_chain = static_cast<std::uint16_t>(1 + input_.u8() % (kMaxSegments - 2));
        setup_.event_index = (options & 1U) != 0;
        setup_.indirect = (options & 2U) != 0;
        const auto bytes = std::span(memory_bytes_);
        setup_.rings = {bytes.subspan(kRingAt, std::size_t{16} * setup_.size),
                        bytes.subspan(kRingAt + 0x800, 4), bytes.subspan(kRingAt + 0x900, 4)};
        const GuestMemory::Region regions[2] = {
            {kGuestBase, 0x700000, bytes.first(0x1000)},
            {kGuestBase + 0x1000, 0x800000, bytes.subspan(0x1000)}};
        CHECK(memory_.set_regions(regions).has_value());
        inflight_bytes_.resize(PackedInflight::bytes_for(setup_.size) / sizeof(std::uint64_t));
        if ((options & 4U) != 0) {
            setup_.base = virtio::PackedBase::decode(input_.u32());
        }
        if (!queue_.start(setup_).has_value()) {
            return;
        }
        driver_ = setup_.base.available;
        attach();
        while (!input_.empty() && !broken_) {
            step(input_.u8());
        }
    }

  private:
    void step(std::uint8_t op) {
        switch (op % 10U) {
            case 0:
            case 1:
            case 2:
                write_descriptor(true);
                break;
            case 3:
                patch(input_, std::span(memory_bytes_));
                break;
            case 4:
                write_descriptor(false);
                break;
            case 5:
            case 6:
                process();
                break;
            case 7:
                die();
                break;
            case 8:
                if (input_.flag()) {
                    queue_.suppress_kicks();
                } else {
                    CHECK(queue_.request_kicks() == queue_.has_work());
                }
                break;
            default:
                driver_ = PackedPlace::decode(input_.u16());
                driver_.index = static_cast<std::uint16_t>(driver_.index % setup_.size);
                break;
        }
    }

    /// The driver's next descriptor in the ring, or an entry of a table somewhere.
    void write_descriptor(bool in_ring) {
        PackedDescriptor descriptor;
        const std::uint8_t flags = input_.u8();
        descriptor.address = (flags & 0x40U) != 0 ? input_.u64() : kGuestBase + input_.u16();
        descriptor.length = (flags & 0x20U) != 0 ? input_.u32() : std::uint32_t{input_.u8()};
        descriptor.id = std::uint16_t{input_.u8()};
        std::size_t at = kRingAt + std::size_t{16} * driver_.index;
        if (in_ring) {
            descriptor.flags = static_cast<std::uint16_t>(
                (flags & 0x17U) | virtio::packed_flags::available(driver_.wrap));
            driver_ = driver_.after(1, setup_.size);
        } else {
            descriptor.flags = static_cast<std::uint16_t>(flags & 0x17U);
            at = input_.u16() % (kRingAt - sizeof(descriptor));
        }
        std::memcpy(memory_bytes_.data() + at, &descriptor, sizeof(descriptor));
    }

    void process() {
        std::uint16_t heads[64];
        const auto before = queue_.base();
        const auto count = queue_.take_heads(std::span(heads).first(1 + input_.below(64)));
        if (!count) {
            CHECK(queue_.base() == before);
            broken_ = true;
            return;
        }
        for (const std::uint16_t head : std::span(heads).first(*count)) {
            queue_.prefetch(head);
            CHECK(head < setup_.size && queue_.taken(head).count != 0);
            CHECK(std::ranges::find(in_flight_, head) == in_flight_.end());
            inflight_.taken(queue_, head);
            in_flight_.push_back(head);
            run_chain(head);
        }
        give_back(input_.below(8));
    }

    /// Some of what is in flight, in an order of the input's.
    void give_back(std::size_t most) {
        for (; most > 0 && !in_flight_.empty(); --most) {
            const auto which =
                in_flight_.begin() + static_cast<std::ptrdiff_t>(input_.u8() % in_flight_.size());
            queue_.push_used(*which, input_.u8());
            inflight_.used(*which);
            in_flight_.erase(which);
        }
        if (queue_.has_unpublished()) {
            const PackedPlace end = queue_.pushed_place();
            inflight_.publishing(queue_);
            static_cast<void>(queue_.publish());
            inflight_.published();
            CHECK(queue_.base().used == end && !queue_.has_unpublished());
        }
        CHECK(!in_flight_.empty() || setup_.base.used != setup_.base.available ||
              queue_.base().used == queue_.base().available);
    }

    std::uint64_t use(std::span<const core::Segment> segments) {
        std::uint64_t total = 0;
        for (const core::Segment& segment : segments) {
            const std::byte* begin = memory_bytes_.data();
            CHECK(segment.data >= begin && segment.data + segment.size <= begin + kMemoryBytes);
            total += segment.size;
        }
        return total;
    }

    void run_chain(std::uint16_t head) {
        std::vector<core::Segment> storage(kMaxSegments);
        Chain chain{.storage = storage};
        if (!queue_.walk(memory_, head, chain)) {
            return;
        }
        CHECK(use(chain.readable_segments()) == chain.readable_bytes);
        CHECK(use(chain.writable_segments()) == chain.writable_bytes);
        virtio::BlkRequest request;
        if (virtio::parse_blk_request(chain, request) == virtio::ParseResult::Ok) {
            CHECK(use(request.data) == request.data_bytes);
            *request.status_byte = std::byte{0};
        }
    }

    [[nodiscard]] std::span<std::byte> inflight_part() {
        return std::as_writable_bytes(std::span(inflight_bytes_));
    }

    void attach() {
        const auto recovery = inflight_.attach(inflight_part(), queue_);
        if (!recovery) {
            CHECK(!trusted_ && !inflight_.attached());
            broken_ = true;
            return;
        }
        CHECK(!trusted_ || recovery->in_flight == in_flight_);
        in_flight_ = recovery->in_flight;
        for (const std::uint16_t head : in_flight_) {
            CHECK(head < setup_.size && queue_.taken(head).count != 0);
        }
    }

    void die() {
        const std::uint8_t how = input_.u8();
        if (how % 4 == 3) {
            patch(input_, inflight_part());
            trusted_ = false;
        }
        queue_ = PackedQueue{};
        inflight_ = PackedInflight{};
        CHECK(queue_.start(setup_).has_value());
        attach();
        if (how % 2 == 1 && !broken_) {
            const auto again = in_flight_;
            for (const std::uint16_t head : again) {
                run_chain(head);
            }
        }
    }

    Input input_;
    std::vector<std::byte> memory_bytes_;
    std::vector<std::uint64_t> inflight_bytes_;
    GuestMemory memory_;
    PackedQueue::Options setup_;
    PackedQueue queue_;
    PackedInflight inflight_;
    PackedPlace driver_;
    std::vector<std::uint16_t> in_flight_;  // oldest first
    bool trusted_ = true;                   // in_flight_ is what the in-flight memory must say
    bool broken_ = false;
};

}  // namespace
}  // namespace remora::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    remora::fuzz::PackedRun(remora::fuzz::Input(data, size)).run();
    return 0;
}
