// SPDX-License-Identifier: Apache-2.0
#include "services/integrity/integrity_shared.h"

#include <algorithm>

#include "core/log.h"

namespace remora::services::integrity {

bool MismatchReport::Lines::take(core::Nanos now) {
    std::int64_t at = next.load();
    if (now.count() < at || !next.compare_exchange_strong(at, (now + kBetweenLines).count())) {
        left_out.fetch_add(1);
        return false;
    }
    return true;
}

void MismatchReport::add(const std::string& volume, std::uint64_t lba, core::Nanos now) {
    count_.fetch_add(1);
    std::uint64_t none = kNone;
    first_.compare_exchange_strong(none, lba);
    if (of_blocks_.take(now)) {
        log::error("a block does not match its checksum", log::kv("volume", volume),
                   log::kv("lba", lba), log::kv("left_out", of_blocks_.left_out.exchange(0)));
    }
}

void MismatchReport::lost(const std::string& volume,
                          std::uint64_t lba,
                          std::uint64_t blocks,
                          core::Nanos now) {
    if (of_pages_.take(now)) {
        log::error("checksums are damaged: those blocks cannot be read until they are written",
                   log::kv("volume", volume), log::kv("among_blocks_from", lba),
                   log::kv("blocks", blocks), log::kv("left_out", of_pages_.left_out.exchange(0)));
    }
}

block::Geometry IntegrityShared::geometry() const {
    block::Geometry geometry = lower_geometry;
    geometry.block_count = layout.block_count;
    geometry.can_write_zeroes = true;
    geometry.unwritten_reads_zeros = true;
    return geometry;
}

memory::BufferPool* IntegrityShared::pool_here() const {
    const auto here = std::ranges::find_if(
        reactors, [](const auto& context) { return context.reactor.is_current(); });
    return here != reactors.end() ? &here->buffers : nullptr;
}

}  // namespace remora::services::integrity
