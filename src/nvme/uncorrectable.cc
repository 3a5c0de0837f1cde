// SPDX-License-Identifier: Apache-2.0
#include "nvme/uncorrectable.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/check.h"

namespace remora::nvme {

namespace {

bool ends_inside(const BlockRange& range) {
    return range.blocks <= std::numeric_limits<std::uint64_t>::max() - range.lba;
}

}  // namespace

std::optional<UncorrectableBlocks> UncorrectableBlocks::from(std::vector<BlockRange> ranges) {
    if (ranges.size() > kMostRanges) {
        return std::nullopt;
    }
    const BlockRange* before = nullptr;
    for (const BlockRange& range : ranges) {
        if (range.blocks == 0 || !ends_inside(range) ||
            (before != nullptr && range.lba <= before->end())) {
            return std::nullopt;
        }
        before = &range;
    }
    UncorrectableBlocks made;
    made.ranges_ = std::move(ranges);
    return made;
}

bool UncorrectableBlocks::overlaps(const BlockRange& range) const {
    const auto at = std::ranges::upper_bound(ranges_, range.lba, {}, &BlockRange::end);
    return at != ranges_.end() && at->overlaps(range);
}

bool UncorrectableBlocks::mark(const BlockRange& range) {
    CHECK(ends_inside(range));
    if (range.blocks == 0) {
        return true;
    }
    // Those that it overlaps or touches become one with it.
    const auto first = std::ranges::lower_bound(ranges_, range.lba, {}, &BlockRange::end);
    const auto last =
        std::ranges::upper_bound(first, ranges_.end(), range.end(), {}, &BlockRange::lba);
    const std::size_t count = ranges_.size() - static_cast<std::size_t>(last - first) + 1;
    if (count > kMostMarked && count > ranges_.size()) {
        return false;
    }
    if (first == last) {
        ranges_.insert(first, range);
        return true;
    }
    const std::uint64_t begin = std::min(first->lba, range.lba);
    const std::uint64_t end = std::max((last - 1)->end(), range.end());
    *first = {begin, end - begin};
    ranges_.erase(first + 1, last);
    return true;
}

bool UncorrectableBlocks::clear(const BlockRange& range) {
    CHECK(ends_inside(range));
    if (range.blocks == 0) {
        return true;
    }
    const auto first = std::ranges::upper_bound(ranges_, range.lba, {}, &BlockRange::end);
    const auto last =
        std::ranges::lower_bound(first, ranges_.end(), range.end(), {}, &BlockRange::lba);
    if (first == last) {
        return true;
    }
    std::vector<BlockRange> left;  // of the first and of the last
    if (first->lba < range.lba) {
        left.push_back({first->lba, range.lba - first->lba});
    }
    if (const std::uint64_t end = (last - 1)->end(); end > range.end()) {
        left.push_back({range.end(), end - range.end()});
    }
    if (ranges_.size() - static_cast<std::size_t>(last - first) + left.size() > kMostRanges) {
        return false;
    }
    const auto at = ranges_.erase(first, last);
    ranges_.insert(at, left.begin(), left.end());
    return true;
}

}  // namespace remora::nvme
