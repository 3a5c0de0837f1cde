// SPDX-License-Identifier: Apache-2.0
#include "block/counted_device.h"

namespace remora::block {

namespace {

class CountedChannel final : public Channel, private Completer {
  public:
    CountedChannel(std::unique_ptr<Channel> lower, DeviceStats& stats, std::uint32_t block_size)
        : lower_(std::move(lower)),
          stats_(stats),
          block_size_(block_size),
          reactor_(reactor::Reactor::current()) {}

    void submit(RequestBatch& batch) override {
        const auto now = static_cast<std::uint64_t>(reactor_.now().count());
        batch.for_each([&](Request& request) { request.push_frame(*this).scratch[0] = now; });
        lower_->submit(batch);
    }

  private:
    void complete(RequestBatch& batch) override {
        const auto now = static_cast<std::uint64_t>(reactor_.now().count());
        batch.for_each([&](Request& request) {
            stats_.count(request.opcode, std::uint64_t{request.block_count} * block_size_,
                         request.status, now - request.top_frame().scratch[0]);
            request.pop_frame();
        });
        complete_batch(batch);
    }

    std::unique_ptr<Channel> lower_;
    DeviceStats& stats_;
    std::uint32_t block_size_;
    reactor::Reactor& reactor_;
};

}  // namespace

core::Result<std::unique_ptr<Channel>> CountedDevice::open_channel() {
    const std::uint32_t id = reactor::Reactor::current().id();
    CHECK(id < kMaxReactors);
    auto lower = lower_.open_channel();
    if (!lower) {
        return lower;
    }
    if (stats_[id] == nullptr) {
        stats_[id] = std::make_unique<DeviceStats>();
    }
    return std::make_unique<CountedChannel>(std::move(*lower), *stats_[id],
                                            lower_.geometry().block_size);
}

reactor::Task<> CountedDevice::stop() {
    co_await lower_.stop();
}

const DeviceStats& CountedDevice::stats_here() const {
    const std::uint32_t id = reactor::Reactor::current().id();
    CHECK(id < kMaxReactors);
    static const DeviceStats kNone;
    return stats_[id] == nullptr ? kNone : *stats_[id];
}

}  // namespace remora::block
