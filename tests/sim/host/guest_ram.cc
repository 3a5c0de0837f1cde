// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/host/guest_ram.h"

#include <utility>

#include "core/check.h"

namespace remora::sim {

namespace {

constexpr std::uint64_t to_pages(std::uint64_t bytes) {
    return (bytes + GuestRam::kPageBytes - 1) / GuestRam::kPageBytes * GuestRam::kPageBytes;
}

}  // namespace

GuestRam::GuestRam(reactor::Io& io, GuestRamOptions options)
    : io_(io),
      size_(to_pages(options.bytes)),
      split_(options.split != 0 ? to_pages(options.split) : to_pages(size_ / 2)),
      gap_(options.gap ? kGap : 0) {
    CHECK(options.regions == 1 || options.regions == 2);
    if (options.regions == 1 || split_ >= size_) {
        split_ = size_;
        gap_ = 0;
    }
    auto handle = io_.create_shared_memory(size_);
    CHECK(handle.has_value());
    handle_ = *handle;
    auto mapping = io_.map(handle_, 0, size_);
    CHECK(mapping.has_value());
    mapping_ = std::move(*mapping);
    base_ = mapping_->bytes().data();
}

GuestRam::~GuestRam() {
    mapping_.reset();
    io_.close(handle_);
}

std::vector<virtio::vhost_user::MemoryRegion> GuestRam::regions() const {
    std::vector<virtio::vhost_user::MemoryRegion> regions(split_ == size_ ? 1 : 2);
    regions[0].guest_address = guest(0);
    regions[0].user_address = user(0);
    regions[0].size = split_;
    regions[0].mmap_offset = 0;
    if (regions.size() == 2) {
        regions[1].guest_address = guest(split_);
        regions[1].user_address = user(split_);
        regions[1].size = size_ - split_;
        regions[1].mmap_offset = split_;
    }
    return regions;
}

}  // namespace remora::sim
