// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/world/shared_memory.h"

#include <algorithm>
#include <cstring>
#include <sys/mman.h>

#include "core/check.h"

namespace remora::sim {

namespace {

/// Addresses for so many bytes of pages, and a page that stays closed on either side of them.
std::byte* reserve(std::size_t bytes) {
    void* at = ::mmap(nullptr, bytes + 2 * Pages::kPage, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(at != MAP_FAILED);
    return static_cast<std::byte*>(at) + Pages::kPage;
}

}  // namespace

Pages::Pages(std::size_t size) : size_(size) {
    begin_ = reserve(mapped());
    if (size_ > 0) {
        CHECK(::mmap(begin_, mapped(), PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED);
    }
}

Pages::Pages(const Pages& other, std::size_t size) : size_(size) {
    begin_ = reserve(mapped());
    if (size_ > 0) {
        // An old size of 0 asks for a second mapping of shared pages (mremap(2)).
        CHECK(::mremap(other.begin_, 0, mapped(), MREMAP_MAYMOVE | MREMAP_FIXED, begin_) !=
              MAP_FAILED);
    }
}

Pages::~Pages() {
    if (size_ > 0) {
        CHECK(::mmap(begin_, mapped(), PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED);
    }
}

void SharedMemory::cut(std::size_t size) {
    valid_ = std::min(size, valid_);
    std::memset(bytes().data() + valid_, 0, this->size() - valid_);
}

}  // namespace remora::sim
