// SPDX-License-Identifier: Apache-2.0
// QosDevice: holds a device's I/O back to the rates it may have. Every volume stands behind one, so
// that limits come, change and go under load; without any a batch passes as it is.
//
//   submit ─► no limit this way, nobody waits ─────────────────────────► lower
//        └──► lane (reads, writes) ─► bundle, reserved ─► its time ────► lower
//
// Requests of one way go in order, a bundle of some 100 us of the limit at a time: a reactor asks
// the shared limiter once a bundle, and all that wait take turns bundle by bundle. A way that is
// not limited is never held up by the other one. Flushes pass. Completions do not come by here.
#pragma once

#include <array>
#include <memory>

#include "block/device.h"
#include "core/intrusive_list.h"
#include "services/qos/limiter.h"

namespace remora::services::qos {

class QosChannel;

class QosDevice final : public block::Device {
  public:
    static constexpr std::size_t kMaxReactors = 64;

    /// `lower` outlives this; name and UUID are its own.
    explicit QosDevice(block::Device& lower);
    ~QosDevice() override;

    /// Control reactor; in force for new requests at once, for those that wait when
    /// show_rates() has run on their reactor.
    void set_rates(const Rates& rates) {
        rates_ = rates;
        limiter_.set(rates);
    }
    [[nodiscard]] const Rates& rates() const { return rates_; }  ///< Control reactor.
    /// On each reactor after set_rates().
    void show_rates();
    /// How long requests of the current reactor were held back, in all. Nanoseconds.
    [[nodiscard]] std::uint64_t throttled_ns_here() const;

    [[nodiscard]] block::Geometry geometry() const override { return lower_.geometry(); }
    core::Result<std::unique_ptr<block::Channel>> open_channel() override;
    core::Result<void> grow(std::uint64_t block_count) override { return lower_.grow(block_count); }
    void show_growth() override { lower_.show_growth(); }
    void add_listener(block::DeviceListener& listener) override { lower_.add_listener(listener); }
    void remove_listener(block::DeviceListener& listener) override {
        lower_.remove_listener(listener);
    }
    reactor::Task<> stop() override { return lower_.stop(); }

  private:
    friend class QosChannel;
    struct PerReactor {
        core::List<QosChannel, QosChannel> channels;
        std::uint64_t throttled_ns = 0;
    };

    block::Device& lower_;
    Rates rates_;
    Limiter limiter_;
    std::array<PerReactor, kMaxReactors> reactors_;  // [i] belongs to reactor i
};

}  // namespace remora::services::qos
