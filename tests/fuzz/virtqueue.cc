// SPDX-License-Identifier: Apache-2.0
// Target: a hostile driver's split virtqueue. Guest memory, rings, descriptors (indirect ones, too)
// and the in-flight region are made and changed by the input; between changes the device takes,
// walks, parses and gives back chains, and starts again as after a crash.
//
//   input: shape, regions, then operations until it ends
//
// Each segment lies inside a region, sums are right, limits are kept; what the in-flight region
// gives back is what was taken and not returned, in its order, unless the input wrote there.
#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "core/byte_reader.h"
#include "core/check.h"
#include "memory/guest_memory.h"
#include "tests/fuzz/support/input.h"
#include "virtio/blk_request.h"
#include "virtio/split_queue.h"
#include "virtio/vhost_user/inflight.h"

namespace remora::fuzz {
namespace {

using memory::GuestMemory;
using virtio::Chain;
using virtio::Descriptor;
using virtio::SplitQueue;
using virtio::vhost_user::InflightQueue;

constexpr std::uint64_t kGuestBase = 0x10000;
constexpr std::uint64_t kUserBase = 0x7f0000000000;
constexpr std::size_t kMaxSegments = 40;

/// Memory of exactly its size and an alignment that rings need, so that a step outside is seen.
class Block {
  public:
    explicit Block(std::size_t size)
        : data_(static_cast<std::byte*>(::operator new(size, std::align_val_t{64}))), size_(size) {
        std::memset(data_, 0, size);
    }
    Block(const Block&) = delete;
    Block& operator=(const Block&) = delete;
    ~Block() { ::operator delete(data_, std::align_val_t{64}); }
    [[nodiscard]] std::span<std::byte> bytes() const { return {data_, size_}; }

  private:
    std::byte* data_;
    std::size_t size_;
};

class Run {
  public:
    explicit Run(Input input) : input_(input) {}

    void run() {
        make_memory();
        if (!make_queue()) {
            return;
        }
        attach();
        while (!input_.empty() && !broken_) {
            step(input_.u8());
        }
    }

  private:
    void make_memory() {
        options_ = input_.u8();
        const std::uint32_t count = 1 + input_.below(4);
        std::uint64_t at = kGuestBase;
        for (std::uint32_t i = 0; i < count; ++i) {
            at += std::uint64_t{input_.u8()} * 16;
            const std::size_t size = 1 + input_.u16() % 8192U;
            blocks_.push_back(std::make_unique<Block>(size));
            regions_.push_back({at, kUserBase + at, blocks_.back()->bytes()});
            at += size;
        }
        CHECK(memory_.set_regions(regions_).has_value());
        CHECK(memory_.regions().size() == count);
    }

    bool make_queue() {
        const auto size = static_cast<std::uint16_t>(1U << ((options_ >> 3U) % 6U));
        const bool event_index = (options_ & 1U) != 0;
        const std::size_t tables[] = {virtio::descriptor_table_bytes(size),
                                      virtio::available_ring_bytes(size, event_index),
                                      virtio::used_ring_bytes(size, event_index)};
        std::span<std::byte> parts[3];
        std::size_t at = 0;
        for (int i = 0; i < 3; ++i) {
            if ((options_ & 4U) != 0) {  // where the driver's buffers may lie as well
                parts[i] =
                    memory_.whole_at_user(kUserBase + regions_[0].guest_address + at, tables[i]);
                at += (tables[i] + 15) / 16 * 16;
            } else {
                blocks_.push_back(std::make_unique<Block>(tables[i]));
                parts[i] = blocks_.back()->bytes();
            }
        }
        setup_ = {.rings = {parts[0], parts[1], parts[2]},
                  .size = size,
                  .last_avail = input_.u8(),
                  .max_chain = static_cast<std::uint16_t>(1U + input_.u8() % (kMaxSegments - 2)),
                  .event_index = event_index,
                  .indirect = (options_ & 2U) != 0};
        set_available(setup_.last_avail);
        inflight_memory_ = std::make_unique<Block>(InflightQueue::bytes_for(size));
        return queue_.start(setup_).has_value();
    }

    void step(std::uint8_t op) {
        switch (op % 12U) {
            case 0:
            case 1:
                write_descriptor();
                break;
            case 2:
            case 3:
                offer(input_.u8());
                break;
            case 4:
                if (auto& region = regions_[input_.u8() % regions_.size()]; !region.bytes.empty()) {
                    patch(input_, region.bytes);
                }
                break;
            case 5:
                write_table_entry();
                break;
            case 6:
            case 7:
                process();
                break;
            case 8:
                set_available(input_.u16());
                break;
            case 9:
                restart();
                break;
            case 10:
                if (input_.flag()) {
                    queue_.suppress_kicks();
                } else {
                    CHECK(queue_.request_kicks() == queue_.has_work());
                }
                break;
            default:
                look_up();
                break;
        }
    }

    Descriptor take_descriptor() {
        const auto& region = regions_[input_.u8() % regions_.size()];
        Descriptor descriptor;
        descriptor.address = region.guest_address + input_.u16() % (region.bytes.size() + 3);
        const std::uint8_t flags = input_.u8();
        descriptor.length = (flags & 0x80U) != 0 ? input_.u32() : std::uint32_t{input_.u8()};
        descriptor.flags = static_cast<std::uint16_t>(flags & 0x17U);
        descriptor.next = std::uint16_t{input_.u8()};
        if ((flags & 0x40U) != 0) {
            descriptor.address = input_.u64();
        }
        return descriptor;
    }

    void write_descriptor() {
        const std::size_t index = input_.u8() % setup_.size;
        const Descriptor descriptor = take_descriptor();
        std::memcpy(setup_.rings.descriptors.data() + index * sizeof(descriptor), &descriptor,
                    sizeof(descriptor));
    }

    void write_table_entry() {
        const auto bytes = regions_[input_.u8() % regions_.size()].bytes;
        const std::size_t at = input_.u16() % bytes.size();
        const Descriptor descriptor = take_descriptor();
        std::memcpy(bytes.data() + at, &descriptor,
                    std::min(sizeof(descriptor), bytes.size() - at));
    }

    void set_available(std::uint16_t index) {
        if (setup_.rings.available.size() >= 4) {
            std::memcpy(setup_.rings.available.data() + 2, &index, sizeof(index));
        }
    }

    void offer(std::uint16_t head) {
        std::uint16_t index = 0;
        std::byte* ring = setup_.rings.available.data();
        std::memcpy(&index, ring + 2, sizeof(index));
        std::memcpy(ring + 4 + std::size_t{2} * (index % setup_.size), &head, sizeof(head));
        set_available(static_cast<std::uint16_t>(index + 1U));
    }

    /// As a queue does: take a batch, note it, run it, give it back, publish once.
    void process() {
        std::uint16_t heads[SplitQueue::kMaxBatch];
        const std::uint16_t before = queue_.last_avail();
        const auto count = queue_.take_heads(heads);
        if (!count) {
            CHECK(queue_.last_avail() == before);
            return;
        }
        CHECK(*count <= SplitQueue::kMaxBatch && *count <= setup_.size);
        CHECK(queue_.last_avail() == static_cast<std::uint16_t>(before + *count));
        const std::size_t kept = input_.below(4) == 3 ? *count : 0;
        for (std::size_t i = 0; i < *count; ++i) {
            queue_.prefetch(heads[i]);
            CHECK(heads[i] < setup_.size);
            if (std::ranges::find(in_flight_, heads[i]) != in_flight_.end()) {
                broken_ = true;  // the driver offers what it does not own: a queue ends there
                return;
            }
            inflight_.taken(heads[i]);
            in_flight_.push_back(heads[i]);
            run_chain(heads[i]);
        }
        if (kept == 0) {
            give_back(std::span(heads).first(*count));
        }
    }

    void give_back(std::span<const std::uint16_t> heads) {
        for (const std::uint16_t head : heads) {
            queue_.push_used(head, 1);
            inflight_.used(head);
            std::erase(in_flight_, head);
        }
        if (queue_.has_unpublished()) {
            static_cast<void>(queue_.publish());
            inflight_.published(queue_.published_index());
        }
        CHECK(!queue_.has_unpublished());
    }

    [[nodiscard]] bool inside(const std::byte* data, std::size_t size) const {
        return std::ranges::any_of(regions_, [&](const GuestMemory::Region& region) {
            const std::byte* begin = region.bytes.data();
            const std::byte* end = begin + region.bytes.size();
            return data >= begin && data <= end && size <= static_cast<std::size_t>(end - data);
        });
    }

    /// Reads or writes every byte, after seeing that all of them are the guest's.
    std::uint64_t use(std::span<const core::Segment> segments, bool writable) {
        std::uint64_t total = 0;
        for (const core::Segment& segment : segments) {
            CHECK(inside(segment.data, segment.size));
            if (writable) {
                std::memset(segment.data, 0x5a, segment.size);
            } else {
                for (const std::byte byte : std::span(segment.data, segment.size)) {
                    sink_ += static_cast<unsigned>(byte);
                }
            }
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
        CHECK(std::size_t{chain.readable} + chain.writable <= storage.size());
        CHECK(core::total_size(chain.readable_segments()) == chain.readable_bytes);
        CHECK(core::total_size(chain.writable_segments()) == chain.writable_bytes);
        const std::uint64_t readable = chain.readable_bytes;
        const std::uint64_t writable = chain.writable_bytes;
        virtio::BlkRequest request;
        const auto result = virtio::parse_blk_request(chain, request);
        CHECK((request.status_byte == nullptr) == (result == virtio::ParseResult::NoStatus));
        CHECK(request.status_byte == nullptr || inside(request.status_byte, 1));
        if (result != virtio::ParseResult::Ok) {
            return;
        }
        const auto type = static_cast<virtio::BlkType>(request.type);
        CHECK(core::total_size(request.data) == request.data_bytes);
        if (type == virtio::BlkType::In || type == virtio::BlkType::GetId) {
            CHECK(request.data_bytes == writable - 1 && readable == sizeof(virtio::BlkHeader));
            use(request.data, true);
        } else if (type == virtio::BlkType::Out) {
            CHECK(request.data_bytes == readable - sizeof(virtio::BlkHeader));
            use(request.data, false);
        } else {
            CHECK(request.data.empty());
        }
        *request.status_byte = std::byte{0};
    }

    void attach() {
        std::uint16_t used = 0;
        std::memcpy(&used, setup_.rings.used.data() + 2, sizeof(used));
        const auto recovery = inflight_.attach(inflight_memory_->bytes(), setup_.size, used);
        if (!recovery) {
            CHECK(!trusted_ && !inflight_.attached());
            return;
        }
        CHECK(recovery->in_flight.size() <= setup_.size);
        for (const std::uint16_t head : recovery->in_flight) {
            CHECK(head < setup_.size);
        }
        CHECK(!trusted_ || recovery->in_flight == in_flight_);
        in_flight_ = recovery->in_flight;
    }

    /// The process dies and comes back; or the memory was written by somebody else.
    void restart() {
        const std::uint8_t how = input_.u8();
        if (how % 4 == 3) {
            patch(input_, inflight_memory_->bytes());
            trusted_ = false;
        }
        setup_.last_avail = queue_.last_avail();
        queue_.discard_unpublished();
        // With its rings in buffers of the driver's the used index may be anything by now.
        trusted_ = trusted_ && (options_ & 4U) == 0;
        CHECK(queue_.start(setup_).has_value());
        attach();
        if (how % 2 == 1) {
            const auto heads = in_flight_;
            for (const std::uint16_t head : heads) {
                run_chain(head);
            }
            give_back(heads);
        }
    }

    /// The lookups of the guest memory itself, anywhere.
    void look_up() {
        const std::uint8_t how = input_.u8();
        const std::uint64_t address = (how & 1U) != 0 ? input_.u64() : kGuestBase + input_.u16();
        const std::uint64_t size = (how & 2U) != 0 ? input_.u64() : input_.u16();
        const auto run = memory_.run_at(address, size);
        CHECK(run.size() <= size && (run.empty() || inside(run.data(), run.size())));
        const auto whole = memory_.whole_at(address, size);
        CHECK(whole.empty() || (whole.size() == size && whole.data() == run.data()));
        const auto user = memory_.whole_at_user(kUserBase + address, size);
        CHECK(user.empty() || (user.size() == size && inside(user.data(), user.size())));
        std::vector<std::byte> copy(size % 512);
        if (memory_.copy_out(address, copy)) {
            CHECK(memory_.copy_in(address, copy));
            auto again = copy;
            CHECK(memory_.copy_out(address, again) && again == copy);
        }
    }

    Input input_;
    std::uint8_t options_ = 0;
    std::vector<std::unique_ptr<Block>> blocks_;
    std::vector<GuestMemory::Region> regions_;
    GuestMemory memory_;
    SplitQueue queue_;
    SplitQueue::Options setup_;
    std::unique_ptr<Block> inflight_memory_;
    InflightQueue inflight_;
    std::vector<std::uint16_t> in_flight_;  // oldest first
    bool trusted_ = true;                   // in_flight_ is what the region must say
    bool broken_ = false;
    unsigned sink_ = 0;
};

}  // namespace
}  // namespace remora::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    remora::fuzz::Run(remora::fuzz::Input(data, size)).run();
    return 0;
}
