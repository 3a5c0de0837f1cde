// SPDX-License-Identifier: Apache-2.0
// IntegrityShared: what all channels of an IntegrityDevice share. Made once; then constant, or
// guarded by the sets' locks, or single words.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "block/device.h"
#include "block/reactor_context.h"
#include "services/integrity/checksum_cache.h"
#include "services/integrity/integrity_device.h"
#include "services/integrity/integrity_format.h"
#include "services/integrity/lock_word.h"

namespace remora::services::integrity {

/// Counts blocks that do not match, and logs them: one line a second at most, with how many were
/// left out. Any reactor.
class MismatchReport {
  public:
    static constexpr core::Nanos kBetweenLines = std::chrono::seconds(1);

    /// `now`: of the reactor.
    void add(const std::string& volume, std::uint64_t lba, core::Nanos now);
    /// Logs that the checksums of `blocks` blocks from `lba` on are damaged.
    void lost(const std::string& volume, std::uint64_t lba, std::uint64_t blocks, core::Nanos now);

    [[nodiscard]] std::uint64_t count() const { return count_.load(); }
    [[nodiscard]] std::optional<std::uint64_t> first() const {
        const std::uint64_t lba = first_.load();
        return lba == kNone ? std::nullopt : std::optional(lba);
    }

  private:
    static constexpr std::uint64_t kNone = ~std::uint64_t{0};
    struct Lines {
        std::atomic<std::int64_t> next{0};
        std::atomic<std::uint64_t> left_out{0};
        [[nodiscard]] bool take(core::Nanos now);
    };

    std::atomic<std::uint64_t> count_{0};
    std::atomic<std::uint64_t> first_{kNone};
    Lines of_blocks_;
    Lines of_pages_;
};

/// What the control reactor and the scrub's tell each other.
struct ScrubState {
    static constexpr std::uint64_t kDefaultRate = std::uint64_t{64} << 20U;

    std::atomic<bool> running{false};
    std::atomic<bool> cancelled{false};
    std::atomic<std::uint64_t> done_blocks{0};
    std::atomic<std::uint64_t> bytes_per_second{kDefaultRate};
};

struct IntegrityShared {
    IntegrityShared(IntegrityOptions from,
                    block::Device& below,
                    std::span<const block::ReactorContext> contexts,
                    reactor::Reactor& keeper_reactor,
                    const Superblock& found,
                    std::unique_ptr<ChecksumCache> pages)
        : options(std::move(from)),
          lower(below),
          lower_geometry(below.geometry()),
          reactors(contexts.begin(), contexts.end()),
          home(keeper_reactor),
          superblock(found),
          layout(found.layout),
          salt(found.uuid, found.format),
          cache(std::move(pages)) {}

    /// Of the volume.
    [[nodiscard]] block::Geometry geometry() const;
    /// The current reactor's; null if it has none.
    [[nodiscard]] memory::BufferPool* pool_here() const;

    const IntegrityOptions options;
    block::Device& lower;
    const block::Geometry lower_geometry;
    const std::vector<block::ReactorContext> reactors;
    reactor::Reactor& home;  ///< Where the keeper is.
    Superblock superblock;   ///< As it lies below. At home.
    const Layout layout;
    const ChecksumSalt salt;
    const std::unique_ptr<ChecksumCache> cache;
    FlushCount flushes;
    MismatchReport mismatches;
    ScrubState scrub;
};

}  // namespace remora::services::integrity
