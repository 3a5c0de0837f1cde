// SPDX-License-Identifier: Apache-2.0
#include "virtio/vhost_user/memory_table.h"

#include <algorithm>
#include <utility>

#include "core/check.h"
#include "core/units.h"

namespace remora::virtio::vhost_user {

namespace {

bool same_region(const MemoryRegion& a, const MemoryRegion& b) {
    return a.guest_address == b.guest_address && a.user_address == b.user_address &&
           a.size == b.size;
}

}  // namespace

core::Result<MemoryTable::Entry> MemoryTable::map(reactor::Io& io,
                                                  const MemoryRegion& region,
                                                  reactor::Handle handle) {
    if (region.size > kMaxBytes) {
        return core::fail(core::ErrorKind::ResourceExhausted,
                          "guest memory is at most " + core::format_size(kMaxBytes) + " a device");
    }
    auto mapping = io.map(handle, region.mmap_offset, region.size);
    if (!mapping) {
        return core::fail("guest memory", mapping.error());
    }
    return Entry{region, std::move(*mapping)};
}

core::Result<void> MemoryTable::publish(const std::vector<Entry>& entries) {
    std::uint64_t total = 0;
    for (const Entry& entry : entries) {
        total += entry.mapping->bytes().size();
    }
    if (total > kMaxBytes) {
        return core::fail(core::ErrorKind::ResourceExhausted,
                          "guest memory is at most " + core::format_size(kMaxBytes) + " a device");
    }
    CHECK(entries.size() <= memory::GuestMemory::kMaxRegions);
    auto view = std::make_shared<MemoryView>();
    for (const Entry& entry : entries) {
        view->regions.push_back({.guest_address = entry.region.guest_address,
                                 .user_address = entry.region.user_address,
                                 .bytes = entry.mapping->bytes()});
        view->mappings.push_back(entry.mapping);
    }
    auto set = guest_.set_regions(view->regions);
    if (set) {
        view_ = std::move(view);
    }
    return set;
}

core::Result<void> MemoryTable::replace(reactor::Io& io,
                                        std::span<const MemoryRegion> regions,
                                        std::span<const reactor::Handle> handles) {
    CHECK(regions.size() == handles.size() && regions.size() <= kMaxTableRegions);
    std::vector<Entry> entries;
    entries.reserve(memory::GuestMemory::kMaxRegions);
    for (std::size_t i = 0; i < regions.size(); ++i) {
        auto entry = map(io, regions[i], handles[i]);
        if (!entry) {
            return std::unexpected(entry.error());
        }
        entries.push_back(std::move(*entry));
    }
    if (auto published = publish(entries); !published) {
        return published;
    }
    entries_ = std::move(entries);
    return {};
}

core::Result<void> MemoryTable::add(reactor::Io& io,
                                    const MemoryRegion& region,
                                    reactor::Handle handle) {
    if (entries_.size() == memory::GuestMemory::kMaxRegions) {
        return core::fail(core::ErrorKind::ResourceExhausted, "all 64 memory slots are in use");
    }
    auto entry = map(io, region, handle);
    if (!entry) {
        return std::unexpected(entry.error());
    }
    entries_.push_back(std::move(*entry));
    if (auto published = publish(entries_); !published) {
        entries_.pop_back();
        return published;
    }
    return {};
}

core::Result<void> MemoryTable::remove(const MemoryRegion& region) {
    const auto at = std::ranges::find_if(
        entries_, [&region](const Entry& entry) { return same_region(entry.region, region); });
    if (at == entries_.end()) {
        return core::fail(core::ErrorKind::NotFound, "no such memory region was added");
    }
    const Entry removed = std::move(*at);  // stays mapped until the table has let it go
    entries_.erase(at);
    return publish(entries_);
}

void MemoryTable::clear() {
    guest_.clear();
    entries_.clear();
    view_.reset();
}

bool MemoryView::poisoned() const {
    return std::ranges::any_of(mappings, [](const auto& mapping) { return mapping->poisoned(); });
}

}  // namespace remora::virtio::vhost_user
