// SPDX-License-Identifier: Apache-2.0
#include "memory/guest_memory.h"

#include <algorithm>

#include "core/probe.h"

namespace remora::memory {

core::Result<void> GuestMemory::set_regions(std::span<const Region> regions) {
    using core::ErrorKind;
    if (regions.size() > kMaxRegions) {
        return core::fail(ErrorKind::InvalidArgument, "more than 64 memory regions");
    }
    std::array<Region, kMaxRegions> sorted{};
    std::copy(regions.begin(), regions.end(), sorted.begin());
    const auto end = sorted.begin() + static_cast<std::ptrdiff_t>(regions.size());
    std::sort(sorted.begin(), end,
              [](const Region& a, const Region& b) { return a.guest_address < b.guest_address; });
    std::uint64_t next_free = 0;
    for (auto at = sorted.begin(); at != end; ++at) {
        std::uint64_t past = 0;
        std::uint64_t user_past = 0;
        if (at->bytes.empty() ||
            __builtin_add_overflow(at->guest_address, at->bytes.size(), &past) ||
            __builtin_add_overflow(at->user_address, at->bytes.size(), &user_past)) {
            return core::fail(ErrorKind::InvalidArgument, "empty or wrapping memory region");
        }
        if (at->guest_address < next_free) {
            return core::fail(ErrorKind::InvalidArgument, "overlapping memory regions");
        }
        next_free = past;
    }
    regions_ = sorted;
    count_ = regions.size();
    last_ = 0;
    return {};
}

const GuestMemory::Region* GuestMemory::find(std::uint64_t address) const {
    const auto holds = [address](const Region& region) {
        return address >= region.guest_address &&
               address - region.guest_address < region.bytes.size();
    };
    if (last_ < count_ && holds(regions_[last_])) {
        return &regions_[last_];
    }
    const auto begin = regions_.begin();
    const auto end = begin + static_cast<std::ptrdiff_t>(count_);
    auto after = std::upper_bound(
        begin, end, address,
        [](std::uint64_t value, const Region& region) { return value < region.guest_address; });
    if (after == begin || !holds(*(after - 1))) {
        return nullptr;
    }
    last_ = static_cast<std::size_t>(after - 1 - begin);
    return &regions_[last_];
}

std::span<std::byte> GuestMemory::run_at(std::uint64_t address, std::uint64_t size) const {
    REMORA_GUEST_MOMENT();
    const Region* region = find(address);
    if (region == nullptr) {
        return {};
    }
    const std::uint64_t offset = address - region->guest_address;
    return region->bytes.subspan(offset, std::min(size, region->bytes.size() - offset));
}

std::span<std::byte> GuestMemory::whole_at_user(std::uint64_t address, std::uint64_t size) const {
    for (const Region& region : regions()) {
        const std::uint64_t offset = address - region.user_address;
        if (address >= region.user_address && offset < region.bytes.size() &&
            size <= region.bytes.size() - offset) {
            return region.bytes.subspan(offset, size);
        }
    }
    return {};
}

std::optional<std::uint64_t> GuestMemory::guest_address_of(const std::byte* at) const {
    const auto place = reinterpret_cast<std::uintptr_t>(at);
    for (const Region& region : regions()) {
        const auto begin = reinterpret_cast<std::uintptr_t>(region.bytes.data());
        if (place >= begin && place - begin < region.bytes.size()) {
            return region.guest_address + (place - begin);
        }
    }
    return std::nullopt;
}

bool GuestMemory::copy_out(std::uint64_t address, std::span<std::byte> to) const {
    while (!to.empty()) {
        const std::span<std::byte> run = run_at(address, to.size());
        if (run.empty()) {
            return false;
        }
        std::memcpy(to.data(), run.data(), run.size());
        to = to.subspan(run.size());
        address += run.size();
    }
    return true;
}

bool GuestMemory::copy_in(std::uint64_t address, std::span<const std::byte> from) const {
    while (!from.empty()) {
        const std::span<std::byte> run = run_at(address, from.size());
        if (run.empty()) {
            return false;
        }
        std::memcpy(run.data(), from.data(), run.size());
        from = from.subspan(run.size());
        address += run.size();
    }
    return true;
}

}  // namespace remora::memory
