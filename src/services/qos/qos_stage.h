// SPDX-License-Identifier: Apache-2.0
// QosStage: holds I/O back to the rates that one object may have, and to its turn where volumes
// compete (share.h). The object is a volume or a host disk (qos_device.h), or an NVMe controller,
// whose requests go to many volumes. The stage is one for all reactors and has a channel for each
// way that its requests go; all of them share its limits.
//
//   submit ─► no limit this way, no competition, nobody waits ─────────► lower
//        └──► lane (reads, writes) ─► bundle, reserved ─► its time ────► lower
//
// Requests of one way go in order, a bundle of some 100 us of the limit (or a turn's part of the
// pool) at a time: a reactor asks the shared lines once a bundle, and all that wait take turns
// bundle by bundle. A way that is not limited is never held up by the other one. Flushes pass.
// Completions do not come by here.
#pragma once

#include <array>
#include <atomic>
#include <memory>

#include "block/stage.h"
#include "core/intrusive_list.h"
#include "services/qos/limiter.h"
#include "services/qos/share.h"

namespace remora::services::qos {

class QosChannel;

class QosStage final : public block::Stage {
  public:
    static constexpr std::size_t kMaxReactors = 64;

    /// Of a volume, or of something larger that takes the turns for its requests.
    enum class Place : std::uint8_t { Volume, Above };

    explicit QosStage(Place place = Place::Volume);
    QosStage(const QosStage&) = delete;
    QosStage& operator=(const QosStage&) = delete;
    /// After its channels.
    ~QosStage();

    /// Control reactor; in force for new requests at once, for those that wait when
    /// show_rates() has run on their reactor.
    void set_rates(const Rates& rates);
    /// The same. `pool` is what it competes for, null for nothing; it stays while it is set here,
    /// and until show_rates() has run on all reactors after that.
    void set_share(Pool* pool, const Parts& parts);
    /// On each reactor after set_rates() or set_share().
    void show_rates();
    /// How long requests of the current reactor were held back, in all. Nanoseconds.
    [[nodiscard]] std::uint64_t throttled_ns_here() const;

    core::Result<std::unique_ptr<block::StageChannel>> open_channel(
        block::Channel& lower, std::uint32_t block_size) override;
    /// One that owns what it is over.
    std::unique_ptr<block::Channel> open_over(std::unique_ptr<block::Channel> lower,
                                              std::uint32_t block_size);

  private:
    friend class QosChannel;
    struct PerReactor {
        core::List<QosChannel, QosChannel> channels;
        std::uint64_t throttled_ns = 0;
    };
    PerReactor& here();
    void update_attention();

    Place place_;
    std::atomic<bool> attention_{false};  // limited, or competing: what every batch looks at
    Limiter limiter_;
    Share share_;
    std::array<PerReactor, kMaxReactors> reactors_;  // [i] belongs to reactor i
};

}  // namespace remora::services::qos
