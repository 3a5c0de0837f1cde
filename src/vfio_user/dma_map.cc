// SPDX-License-Identifier: Apache-2.0
#include "vfio_user/dma_map.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "core/check.h"

namespace remora::vfio_user {

namespace {

/// The errno for a mapping that was refused: the client's descriptor, or our lack of means.
int errno_of(const core::Error& error) {
    return error.kind == core::ErrorKind::ResourceExhausted ? ENOMEM : EINVAL;
}

}  // namespace

std::size_t DmaMap::reachable() const {
    return static_cast<std::size_t>(std::ranges::count_if(
        entries_, [](const Entry& entry) { return entry.mapping != nullptr; }));
}

std::uint64_t DmaMap::mapped_bytes() const {
    std::uint64_t total = 0;
    for (const Entry& entry : entries_) {
        total += entry.mapping == nullptr ? 0 : entry.mapping->bytes().size();
    }
    return total;
}

bool DmaMap::overlaps(const DmaMapRequest& request) const {
    return std::ranges::any_of(entries_, [&request](const Entry& entry) {
        return request.address < entry.request.address + entry.request.size &&
               entry.request.address < request.address + request.size;
    });
}

bool DmaMap::publish() {
    std::array<memory::GuestMemory::Region, memory::GuestMemory::kMaxRegions> regions{};
    std::size_t count = 0;
    for (const Entry& entry : entries_) {
        if (entry.mapping != nullptr) {
            CHECK(count < regions.size());
            regions[count++] = {.guest_address = entry.request.address,
                                .user_address = 0,
                                .bytes = entry.mapping->bytes()};
        }
    }
    return guest_.set_regions(std::span(regions).first(count)).has_value();
}

std::expected<void, int> DmaMap::add(const DmaMapRequest& request, reactor::Handle& handle) {
    constexpr std::uint32_t kKnown = kDmaReadable | kDmaWriteable;
    std::uint64_t past = 0;
    if ((request.flags & ~kKnown) != 0 || request.size == 0 ||
        __builtin_add_overflow(request.address.get(), request.size.get(), &past)) {
        return std::unexpected(EINVAL);
    }
    if (overlaps(request)) {
        return std::unexpected(EEXIST);
    }
    const bool reach = handle != reactor::kNoHandle && (request.flags & kKnown) == kKnown;
    if (!reach) {
        if (entries_.size() - reachable() == kMaxUnreachable) {
            return std::unexpected(ENOSPC);
        }
        entries_.push_back({.request = request, .mapping = nullptr});
        return {};
    }
    if (reachable() == memory::GuestMemory::kMaxRegions || request.size > kMaxBytes ||
        mapped_bytes() > kMaxBytes - request.size) {
        return std::unexpected(ENOSPC);
    }
    auto mapping = io_.map(handle, request.offset, request.size);
    if (!mapping) {
        return std::unexpected(errno_of(mapping.error()));
    }
    entries_.push_back({.request = request, .mapping = std::move(*mapping)});
    if (!publish()) {
        entries_.pop_back();
        return std::unexpected(EINVAL);
    }
    entries_.back().handle = std::exchange(handle, reactor::kNoHandle);
    return {};
}

std::expected<std::span<std::byte>, int> DmaMap::retire(std::uint64_t address, std::uint64_t size) {
    CHECK(retired_ == nullptr);
    const auto at = std::ranges::find_if(entries_, [&](const Entry& entry) {
        return entry.request.address == address && entry.request.size == size;
    });
    if (at == entries_.end()) {
        return std::unexpected(ENOENT);
    }
    retired_ = std::move(at->mapping);
    if (at->handle != reactor::kNoHandle) {
        io_.close(at->handle);
    }
    entries_.erase(at);
    if (retired_ == nullptr) {
        return std::span<std::byte>{};
    }
    CHECK(publish());  // fewer regions of a table that was good
    return retired_->bytes();
}

void DmaMap::clear() {
    guest_.clear();
    for (const Entry& entry : entries_) {
        if (entry.handle != reactor::kNoHandle) {
            io_.close(entry.handle);
        }
    }
    entries_.clear();
    retired_.reset();
}

std::vector<MemoryState> DmaMap::save() const {
    std::vector<MemoryState> all;
    all.reserve(entries_.size());
    for (const Entry& entry : entries_) {
        all.push_back({entry.request, entry.handle});
    }
    return all;
}

bool DmaMap::poisoned() const {
    return std::ranges::any_of(entries_, [](const Entry& entry) {
        return entry.mapping != nullptr && entry.mapping->poisoned();
    });
}

}  // namespace remora::vfio_user
