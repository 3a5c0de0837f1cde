// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/host/hostile_ring.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace remora::sim {

using namespace virtio::descriptor_flags;
using virtio::BlkType;

namespace {

// Within the memory of a chain.
constexpr std::uint64_t kTableAt = 64;
constexpr std::uint64_t kStatusAt = 1000;
constexpr std::uint64_t kDataAt = 1024;
constexpr std::uint64_t kDataBytes = 4096;
constexpr std::uint64_t kOfChain = 4;  // descriptors

std::uint64_t wild(core::Prng& prng) {
    const std::array<std::uint64_t, 8> liked{0,
                                             1,
                                             511,
                                             0x7fff'ffff,
                                             0xffff'ffff,
                                             0x7fff'ffff'ffff'ffff,
                                             ~std::uint64_t{0},
                                             ~std::uint64_t{0} - 511};
    const std::uint64_t which = prng.below(liked.size() + 2);
    return which < liked.size() ? liked[which] : prng.next() >> prng.below(64);
}

}  // namespace

HostileRing::HostileRing(GuestRam& ram, std::uint64_t offset, std::uint32_t modes)
    : ram_(ram), offset_(offset), modes_(modes), layout_(ram, offset, kSize, {}) {}

void HostileRing::describe(std::uint64_t at,
                           std::uint64_t address,
                           std::uint32_t length,
                           std::uint16_t flags,
                           std::uint16_t next) {
    virtio::Descriptor descriptor;
    descriptor.address = address;
    descriptor.length = length;
    descriptor.flags = flags;
    descriptor.next = next;
    std::memcpy(ram_.at(at), &descriptor, sizeof(descriptor));
}

void HostileRing::reset(bool packed) {
    std::ranges::fill(ram_.bytes(offset_, 4096), std::byte{0});
    available_ = 0;
    packed_ = packed;
    place_ = {};
}

void HostileRing::write_request(std::uint64_t at, core::Prng& prng) {
    const std::array<BlkType, 6> types{BlkType::In,    BlkType::Out,     BlkType::Flush,
                                       BlkType::GetId, BlkType::Discard, BlkType::WriteZeroes};
    virtio::BlkHeader header;
    header.type = static_cast<std::uint32_t>(types[prng.below(types.size())]);
    header.sector = prng.below(64) * 8;
    if (has(HostileMode::UnknownType) && prng.below(2) == 0) {
        header.type = static_cast<std::uint32_t>(wild(prng));
    }
    if (has(HostileMode::HugeSectors) && prng.below(2) == 0) {
        header.sector = wild(prng);
    }
    std::memcpy(ram_.at(at), &header, sizeof(header));
    virtio::BlkRange range;
    range.sector = has(HostileMode::HugeSectors) ? wild(prng) : prng.below(64) * 8;
    range.num_sectors = has(HostileMode::HugeSectors) ? static_cast<std::uint32_t>(wild(prng)) : 8U;
    range.flags = static_cast<std::uint32_t>(prng.below(4));
    std::memcpy(ram_.at(at + sizeof(header)), &range, sizeof(range));
}

// Header, data and status in four descriptors or in a table; then some of it is spoilt.
void HostileRing::offer(core::Prng& prng) {
    const std::uint64_t chain = next_chain_++ % kChains;
    const std::uint64_t at = memory_of(chain);
    write_request(at, prng);
    virtio::BlkHeader header;
    std::memcpy(&header, ram_.at(at), sizeof(header));
    const auto type = static_cast<BlkType>(header.type.get());
    const bool to_guest = type == BlkType::In || type == BlkType::GetId;
    const bool range = type == BlkType::Discard || type == BlkType::WriteZeroes;
    const bool table = prng.below(4) == 0;
    const auto first = static_cast<std::uint16_t>(chain * kOfChain);
    const std::uint64_t where = table ? at + kTableAt : descriptor_at(first);
    const auto next = [table, first](std::uint64_t index) {
        return static_cast<std::uint16_t>(index + (table ? 0 : first));
    };
    const std::uint16_t body = to_guest ? (kNext | kWrite) : kNext;
    const std::uint64_t data = range ? at + sizeof(header) : at + kDataAt;
    const auto half = static_cast<std::uint32_t>(range ? 8 : kDataBytes / 2);
    describe(where, ram_.guest(at), sizeof(header), kNext, next(1));
    describe(where + 16, ram_.guest(data), half, body, next(2));
    describe(where + 32, ram_.guest(data + half), half, body, next(3));
    describe(where + 48, ram_.guest(at + kStatusAt), 1, kWrite, 0);
    if (table) {
        describe(descriptor_at(first), ram_.guest(where), 64, kIndirect, 0);
    }
    if (prng.below(3) != 0) {
        spoil(chain, prng);
    }
    publish(first, prng);
}

void HostileRing::flood() {
    // Descriptors that are no heads otherwise: none of these chains is in flight.
    const std::uint64_t ring = layout_.available_offset();
    for (std::uint64_t slot = 0; slot < kSize; ++slot) {
        constexpr std::uint64_t kOthers = kOfChain - 1;
        const std::uint64_t which = slot % (kOthers * kChains);
        const auto head =
            static_cast<std::uint16_t>(which / kOthers * kOfChain + 1 + which % kOthers);
        describe(descriptor_at(head), ram_.guest(memory_of(0) + kStatusAt), 1, kWrite, 0);
        if (packed_) {
            publish_packed(head);
            continue;
        }
        const std::uint64_t place = (available_ + slot) & (kSize - 1U);
        virtio::store16_relaxed(ram_.at(ring + 4 + 2 * place), head);
    }
    if (!packed_) {
        available_ = static_cast<std::uint16_t>(available_ + kSize);
        virtio::store16_release(ram_.at(ring + 2), available_);
    }
}

void HostileRing::spoil(std::uint64_t chain, core::Prng& prng) {
    const std::uint64_t at = memory_of(chain);
    const std::uint64_t first = chain * kOfChain;
    const std::uint64_t some = descriptor_at(first + prng.below(kOfChain));
    virtio::Descriptor descriptor;
    std::memcpy(&descriptor, ram_.at(some), sizeof(descriptor));
    if (has(HostileMode::ChainLoops) && prng.below(2) == 0) {
        descriptor.flags = static_cast<std::uint16_t>(descriptor.flags | kNext);
        descriptor.next = static_cast<std::uint16_t>(
            prng.below(2) == 0 ? first + prng.below(kOfChain) : wild(prng));
    }
    if (has(HostileMode::ZeroLength) && prng.below(2) == 0) {
        descriptor.length = 0;
    }
    std::memcpy(ram_.at(some), &descriptor, sizeof(descriptor));
    if (has(HostileMode::ReadOnlyStatus) && prng.below(2) == 0) {
        describe(descriptor_at(first + 3), ram_.guest(at + kStatusAt), 1, 0, 0);
    }
    if (has(HostileMode::OutsideMemory) && prng.below(2) == 0) {
        spoil_address(prng.below(4) == 0 ? at + kTableAt : some, prng);
    }
    if (has(HostileMode::BadIndirect) && prng.below(2) == 0) {
        spoil_indirect(chain, prng);
    }
}

void HostileRing::spoil_address(std::uint64_t descriptor, core::Prng& prng) {
    virtio::Descriptor copy;
    std::memcpy(&copy, ram_.at(descriptor), sizeof(copy));
    switch (prng.below(4)) {
        case 0:
            copy.address = wild(prng);
            break;
        case 1:  // over the end
            copy.address = ram_.guest(ram_.size() - 1) - prng.below(64);
            break;
        case 2:  // over the hole, or far too long
            copy.length = static_cast<std::uint32_t>(wild(prng));
            break;
        default:  // right behind the end
            copy.address = ram_.guest(ram_.size() - 1) + 1;
            break;
    }
    std::memcpy(ram_.at(descriptor), &copy, sizeof(copy));
}

void HostileRing::spoil_indirect(std::uint64_t chain, core::Prng& prng) {
    const std::uint64_t at = memory_of(chain);
    const std::uint64_t head = descriptor_at(chain * kOfChain);
    const std::uint64_t table = ram_.guest(at + kTableAt);
    switch (prng.below(6)) {
        case 0:  // of a length that is no table's
            describe(head, table, static_cast<std::uint32_t>(1 + prng.below(63)), kIndirect, 0);
            break;
        case 1:
            describe(head, table, 0, kIndirect, 0);
            break;
        case 2:  // far too long
            describe(head, table, 0xffff'fff0, kIndirect, 0);
            break;
        case 3:  // a table in a table, in itself
            describe(head, table, 64, kIndirect, 0);
            describe(at + kTableAt, table, 64, kIndirect, 0);
            break;
        case 4:  // with a next of its own
            describe(head, table, 64, kIndirect | kNext,
                     static_cast<std::uint16_t>(chain * kOfChain + 1));
            break;
        default:  // one that the device may write, cut by the end of the memory
            describe(head, ram_.guest(ram_.size() - 1) - 15 - prng.below(16), 64,
                     kIndirect | kWrite, 0);
            break;
    }
}

void HostileRing::publish(std::uint16_t head, core::Prng& prng) {
    if (packed_) {
        const bool lies = has(HostileMode::RingIndexJumps) && prng.below(8) == 0;
        publish_packed(lies ? static_cast<std::uint16_t>(wild(prng)) : head);
        lie_about_flags(prng);
        return;
    }
    const std::uint64_t ring = layout_.available_offset();
    const std::uint64_t slot = available_ & (kSize - 1U);
    if (has(HostileMode::RingIndexJumps) && prng.below(8) == 0) {
        head = static_cast<std::uint16_t>(wild(prng));
    }
    virtio::store16_relaxed(ram_.at(ring + 4 + 2 * slot), head);
    ++available_;
    if (has(HostileMode::RingIndexJumps) && prng.below(8) == 0) {
        available_ = static_cast<std::uint16_t>(available_ + wild(prng));
    }
    virtio::store16_release(ram_.at(ring + 2), available_);
    if (has(HostileMode::RingIndexJumps) && prng.below(16) == 0) {
        // The device's own ring is in the guest's memory, too.
        virtio::store16_relaxed(ram_.at(layout_.used_offset() + 2 * prng.below(2)),
                                static_cast<std::uint16_t>(wild(prng)));
    }
}

// An indirect table in order, if there is one in that chain's memory.
void HostileRing::write_packed_table(std::uint64_t at) {
    for (std::uint64_t i = 0; i < kOfChain; ++i) {
        virtio::Descriptor from;
        std::memcpy(&from, ram_.at(at + 16 * i), sizeof(from));
        virtio::PackedDescriptor to;
        to.address = from.address;
        to.length = from.length;
        to.flags = from.flags;
        std::memcpy(ram_.at(at + 16 * i), &to, sizeof(to));
    }
}

// Copies a staged chain into the ring, a circle once around it, with the head as its id.
void HostileRing::publish_packed(std::uint16_t head) {
    const virtio::PackedPlace first = place_;
    std::uint16_t first_flags = 0;
    std::uint16_t index = head;
    bool more = true;
    for (std::uint16_t i = 0; more && i < kSize; ++i) {
        virtio::Descriptor from;
        std::memcpy(&from, ram_.at(descriptor_at(index % kSize)), sizeof(from));
        if (i == 0 && (from.flags & kIndirect) != 0) {
            write_packed_table(memory_of(head % kSize / kOfChain) + kTableAt);
        }
        virtio::PackedDescriptor to;
        to.address = from.address;
        to.length = from.length;
        to.id = head;
        to.flags = static_cast<std::uint16_t>((from.flags & ~virtio::packed_flags::kBoth) |
                                              virtio::packed_flags::available(place_.wrap));
        if (i == 0) {
            first_flags = to.flags;
            to.flags = static_cast<std::uint16_t>(0);
            std::memcpy(ram_.at(layout_.descriptors_offset() + std::uint64_t{16} * place_.index),
                        &to, virtio::kPackedFlagsOffset);
        } else {
            std::memcpy(ram_.at(layout_.descriptors_offset() + std::uint64_t{16} * place_.index),
                        &to, sizeof(to));
        }
        more = (from.flags & kNext) != 0;
        index = from.next;
        place_ = place_.after(1, kSize);
    }
    virtio::store16_release(ram_.at(layout_.descriptors_offset() + std::uint64_t{16} * first.index +
                                    virtio::kPackedFlagsOffset),
                            first_flags);
}

// Flags and event areas as no driver writes them; some belong to the device.
void HostileRing::lie_about_flags(core::Prng& prng) {
    if (!has(HostileMode::RingIndexJumps) || prng.below(8) != 0) {
        return;
    }
    const std::uint64_t which = prng.below(kSize);
    virtio::store16_release(
        ram_.at(layout_.descriptors_offset() + 16 * which + virtio::kPackedFlagsOffset),
        static_cast<std::uint16_t>(prng.next()));
    virtio::store32_relaxed(
        ram_.at(prng.below(2) == 0 ? layout_.available_offset() : layout_.used_offset()),
        static_cast<std::uint32_t>(wild(prng)));
}

void HostileRing::mutate(core::Prng& prng) {
    const std::uint64_t chain = prng.below(kChains);
    std::uint64_t at = 0;
    switch (prng.below(4)) {
        case 0:
            at = layout_.descriptors_offset() + sizeof(virtio::Descriptor) * prng.below(kSize) +
                 prng.below(sizeof(virtio::Descriptor));
            break;
        case 1:  // flags, index, ring and used event
            at = layout_.available_offset() + prng.below(4 + 2 * std::uint64_t{kSize} + 2);
            break;
        case 2:  // header and range
            at = memory_of(chain) + prng.below(32);
            break;
        default:
            at = memory_of(chain) + kTableAt + prng.below(64);
            break;
    }
    *ram_.at(at) = static_cast<std::byte>(prng.below(3) == 0 ? prng.next() & 0xffU : prng.below(4));
}

}  // namespace remora::sim
