// SPDX-License-Identifier: Apache-2.0
#include "services/qos/qos_device.h"

#include <algorithm>
#include <utility>

#include "reactor/reactor.h"
#include "reactor/timer.h"

namespace remora::services::qos {

using block::Opcode;
using block::Request;
using block::RequestBatch;

namespace {

/// What one reservation takes of the limit, if so much waits: long enough that asking costs
/// nothing, short enough that those who wait for the same limit take turns quickly.
constexpr Nanos kBundle = std::chrono::microseconds(100);

}  // namespace

class QosChannel final : public block::Channel,
                         public core::ListHook<QosChannel>,
                         private reactor::TimerHandler {
  public:
    QosChannel(Limiter& limiter,
               QosDevice::PerReactor& here,
               std::unique_ptr<block::Channel> lower,
               std::uint32_t block_size)
        : limiter_(limiter),
          here_(here),
          lower_(std::move(lower)),
          block_size_(block_size),
          reactor_(reactor::Reactor::current()) {
        here_.channels.push_back(*this);
    }
    QosChannel(const QosChannel&) = delete;
    QosChannel& operator=(const QosChannel&) = delete;
    ~QosChannel() override {
        CHECK(!anybody_waits());
        unlink();
    }

    void submit(RequestBatch& batch) override {
        if (!limiter_.is_limited() && !anybody_waits()) [[likely]] {
            lower_->submit(batch);
            return;
        }
        count_time();
        RequestBatch passed;
        while (Request* request = batch.pop_front()) {
            Lane& lane = request->opcode == Opcode::Read ? read_lane() : write_lane();
            if (request->opcode == Opcode::Flush || !lane.holds(limiter_)) {
                passed.push_back(*request);
            } else {
                lane.waiting.push_back(*request);
            }
        }
        pump(passed);
    }

    /// What was reserved was at other rates.
    void reconsider() {
        count_time();
        for (Lane& lane : lanes_) {
            lane.bundle = 0;
        }
        RequestBatch passed;
        pump(passed);
    }

  private:
    struct Lane {
        explicit Lane(Way which) : way(which) {}

        Way way;
        RequestBatch waiting;
        std::uint32_t bundle = 0;  ///< So many at the front go together...
        Nanos start{};             ///< ...then.

        [[nodiscard]] bool holds(const Limiter& limiter) const {
            return !waiting.empty() || limiter.is_limited(way);
        }
    };

    [[nodiscard]] bool anybody_waits() const {
        return !lanes_[0].waiting.empty() || !lanes_[1].waiting.empty();
    }
    Lane& read_lane() { return lanes_[0]; }
    Lane& write_lane() { return lanes_[1]; }

    void on_timer(reactor::Timer& /*timer*/) override {
        count_time();
        RequestBatch passed;
        pump(passed);
    }

    /// One bundle of each lane at most, so that others of this reactor have their turn, too.
    void pump(RequestBatch& passed) {
        Nanos next = reactor::kNever;
        for (Lane& lane : lanes_) {
            if (!lane.waiting.empty() && lane.bundle == 0) {
                reserve(lane);
            }
            if (lane.bundle > 0 && lane.start <= reactor_.now()) {
                release(lane, passed);
                if (!lane.waiting.empty()) {
                    reserve(lane);
                }
            }
            if (lane.bundle > 0) {
                next = std::min(next, lane.start);
            }
        }
        if (next != reactor::kNever) {
            reactor_.arm(timer_, next);
        }
        if (!passed.empty()) {
            lower_->submit(passed);
        }
    }

    void reserve(Lane& lane) {
        Amount amount;
        const Request* request = lane.waiting.front();
        do {
            ++lane.bundle;
            ++amount.ops;
            amount.bytes += bytes_of(*request);
            request = lane.waiting.next(*request);
        } while (request != nullptr && lane.bundle < kMostTogether &&
                 limiter_.time_of(lane.way, amount) < kBundle);
        lane.start = limiter_.reserve(lane.way, amount, reactor_.now());
    }

    void release(Lane& lane, RequestBatch& to) {
        while (lane.bundle > 0) {
            to.push_back(*lane.waiting.pop_front());
            --lane.bundle;
        }
    }

    /// Zeroes and discards move no data.
    [[nodiscard]] std::uint64_t bytes_of(const Request& request) const {
        const bool moves = request.opcode == Opcode::Read || request.opcode == Opcode::Write;
        return moves ? std::uint64_t{request.block_count} * block_size_ : 0;
    }

    /// The sum of all waits is the number that waits, over time.
    void count_time() {
        const Nanos now = reactor_.now();
        const std::uint64_t waiting = lanes_[0].waiting.size() + lanes_[1].waiting.size();
        here_.throttled_ns += waiting * static_cast<std::uint64_t>((now - counted_).count());
        counted_ = now;
    }

    static constexpr std::uint32_t kMostTogether = 128;

    Limiter& limiter_;
    QosDevice::PerReactor& here_;
    std::unique_ptr<block::Channel> lower_;
    std::uint32_t block_size_;
    reactor::Reactor& reactor_;
    std::array<Lane, 2> lanes_{Lane(Way::Read), Lane(Way::Write)};
    Nanos counted_{};
    reactor::Timer timer_{*this};
};

QosDevice::QosDevice(block::Device& lower) : Device(lower.name(), lower.uuid()), lower_(lower) {}

QosDevice::~QosDevice() = default;

void QosDevice::show_rates() {
    PerReactor& here = reactors_[reactor::Reactor::current().id()];
    here.channels.for_each([](QosChannel& channel) { channel.reconsider(); });
}

std::uint64_t QosDevice::throttled_ns_here() const {
    return reactors_[reactor::Reactor::current().id()].throttled_ns;
}

core::Result<std::unique_ptr<block::Channel>> QosDevice::open_channel() {
    const std::uint32_t id = reactor::Reactor::current().id();
    CHECK(id < kMaxReactors);
    auto lower = lower_.open_channel();
    if (!lower) {
        return lower;
    }
    return std::make_unique<QosChannel>(limiter_, reactors_[id], std::move(*lower),
                                        lower_.geometry().block_size);
}

}  // namespace remora::services::qos
