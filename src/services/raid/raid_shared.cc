// SPDX-License-Identifier: Apache-2.0
#include "services/raid/raid_shared.h"

#include <algorithm>
#include <bit>

namespace remora::services::raid {

RaidShared::RaidShared(RaidHomeCalls& calls,
                       RaidLayout array_layout,
                       const core::Uuid& uuid,
                       std::uint32_t block_bytes)
    : home(calls),
      layout(std::move(array_layout)),
      array(uuid),
      block_size(block_bytes),
      data_offset(data_offset_of(layout.level())) {
    if (is_mirrored(layout.level())) {
        const std::size_t most = Bitmap::kMaxRegions / layout.sets();
        const std::uint64_t bytes = layout.slot_bytes(0);
        region_bytes = std::max(RangeLocks::kSpanBytes, std::bit_ceil((bytes + most - 1) / most));
        regions_per_set = static_cast<std::size_t>((bytes + region_bytes - 1) / region_bytes);
        CHECK(regions_per_set * layout.sets() <= Bitmap::kMaxRegions);
        intent = std::make_unique<WriteIntent>(regions_per_set * layout.sets());
    }
    if (layout.level() == Level::Raid5) {
        for (std::size_t slot = 0; slot < layout.slots(); ++slot) {
            rings.push_back(std::make_unique<LogRing>());
        }
    }
}

}  // namespace remora::services::raid
