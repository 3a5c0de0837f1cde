// SPDX-License-Identifier: Apache-2.0
#include "virtio/vhost_user/dirty_log.h"

#include <span>
#include <string>
#include <utility>

namespace remora::virtio::vhost_user {

core::Result<std::shared_ptr<const DirtyLog>> DirtyLog::map(reactor::Io& io,
                                                            reactor::Handle handle,
                                                            std::uint64_t size,
                                                            std::uint64_t offset) {
    if (size == 0 || size > kMaxBytes) {
        return core::fail(core::ErrorKind::InvalidArgument,
                          "a dirty log has 1 byte to 1 GiB, not " + std::to_string(size));
    }
    auto mapping = io.map(handle, offset, size);
    if (!mapping) {
        return core::fail("dirty log", mapping.error());
    }
    return std::make_shared<const DirtyLog>(std::move(*mapping));
}

bool DirtyLog::mark(std::uint64_t address, std::uint64_t bytes) const {
    if (bytes == 0) {
        return true;
    }
    std::uint64_t last = 0;
    if (__builtin_add_overflow(address, bytes - 1, &last)) {
        return false;
    }
    const std::span<std::byte> bits = mapping_->bytes();
    if (last / kPageBytes / 8 >= bits.size()) {
        return false;
    }
    // What was written comes before the looks at the bitmap also where the processor would rather
    // have it later: a set bit may be taken out, and the page copied, at any moment.
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    for (std::uint64_t page = address / kPageBytes; page <= last / kPageBytes; ++page) {
        auto* at = reinterpret_cast<std::uint8_t*>(bits.data() + page / 8);
        const auto bit = static_cast<std::uint8_t>(1U << (page % 8));
        // One that is set already was not taken out yet, so the page is copied after this.
        if ((__atomic_load_n(at, __ATOMIC_SEQ_CST) & bit) == 0) {
            __atomic_fetch_or(at, bit, __ATOMIC_SEQ_CST);
        }
    }
    return true;
}

}  // namespace remora::virtio::vhost_user
