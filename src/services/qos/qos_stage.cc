// SPDX-License-Identifier: Apache-2.0
#include "services/qos/qos_stage.h"

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

class QosChannel final : public block::StageChannel,
                         public core::ListHook<QosChannel>,
                         private reactor::TimerHandler {
  public:
    QosChannel(QosStage& stage, block::Channel& lower, std::uint32_t block_size)
        : StageChannel(lower),
          stage_(stage),
          here_(stage.here()),
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
        if (!stage_.attention_.load(std::memory_order_relaxed) && !anybody_waits()) [[likely]] {
            lower().submit(batch);
            return;
        }
        count_time();
        RequestBatch passed;
        while (Request* request = batch.pop_front()) {
            Lane& lane = request->opcode == Opcode::Read ? read_lane() : write_lane();
            if (request->opcode == Opcode::Flush || !holds(lane, *request)) {
                request->turn_taken = false;
                passed.push_back(*request);
            } else {
                lane.waiting.push_back(*request);
            }
        }
        pump(passed);
    }

    void own(std::unique_ptr<block::Channel> lower) { owned_ = std::move(lower); }

    reactor::Task<> drain() override {
        count_time();
        RequestBatch all;
        for (Lane& lane : lanes_) {
            lane.bundle = 0;
            while (Request* request = lane.waiting.pop_front()) {
                request->turn_taken = false;
                all.push_back(*request);
            }
            note_waiting(lane);
        }
        if (!all.empty()) {
            lower().submit(all);
        }
        co_return;
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
        Nanos start{};             ///< ...then...
        Nanos takes{};             ///< ...and take so much of the pool.
        bool counted = false;      ///< Among the lanes of the share that wait.
    };

    [[nodiscard]] bool anybody_waits() const {
        return !lanes_[0].waiting.empty() || !lanes_[1].waiting.empty();
    }
    Lane& read_lane() { return lanes_[0]; }
    Lane& write_lane() { return lanes_[1]; }

    /// One whose turn was taken waits for the limits only, not for the turns of the others.
    [[nodiscard]] bool holds(const Lane& lane, const Request& request) const {
        return stage_.limiter_.is_limited(lane.way) ||
               (!takes_no_turn(request) &&
                (stage_.share_.pool() != nullptr || !lane.waiting.empty()));
    }
    /// Only a volume's own stage believes it: whoever is above decides for itself.
    [[nodiscard]] bool takes_no_turn(const Request& request) const {
        return request.turn_taken && stage_.place_ == QosStage::Place::Volume;
    }

    void on_timer(reactor::Timer& /*timer*/) override {
        count_time();
        RequestBatch passed;
        pump(passed);
    }

    /// One bundle of each lane at most, so that others of this reactor have their turn, too; of a
    /// pool that nobody else wants as much as was saved up, since a turn's part may be less than
    /// what passes until the reactor comes by again.
    void pump(RequestBatch& passed) {
        Nanos next = reactor::kNever;
        for (Lane& lane : lanes_) {
            note_waiting(lane);
            if (!lane.waiting.empty() && lane.bundle == 0) {
                reserve(lane);
            }
            Nanos taken{};
            while (lane.bundle > 0 && lane.start <= reactor_.now() && taken < TimeLine::kCredit) {
                taken += lane.takes == Nanos{} ? TimeLine::kCredit : lane.takes;
                release(lane, passed);
                if (!lane.waiting.empty()) {
                    reserve(lane);
                }
            }
            note_waiting(lane);
            if (lane.bundle > 0) {
                next = std::min(next, lane.start);
            }
        }
        if (next != reactor::kNever) {
            reactor_.arm(timer_, next);
        }
        if (!passed.empty()) {
            lower().submit(passed);
        }
    }

    void reserve(Lane& lane) {
        Limiter& limiter = stage_.limiter_;
        Pool* pool = stage_.share_.pool();
        const Nanos part = pool == nullptr ? core::kNever : stage_.share_.bundle_time(*pool);
        Amount amount;
        lane.takes = {};
        const Request* request = lane.waiting.front();
        do {
            const std::uint64_t bytes = bytes_of(*request);
            ++lane.bundle;
            ++amount.ops;
            amount.bytes += bytes;
            if (pool != nullptr && !takes_no_turn(*request)) {
                lane.takes += pool->time_of(bytes);
            }
            request = lane.waiting.next(*request);
        } while (request != nullptr && lane.bundle < kMostTogether && lane.takes < part &&
                 limiter.time_of(lane.way, amount) < kBundle);
        lane.start = limiter.reserve(lane.way, amount, reactor_.now());
        if (lane.takes > Nanos{}) {
            lane.start = std::max(
                lane.start, stage_.share_.reserve(*pool, lane.way, lane.takes, reactor_.now()));
        }
    }

    void release(Lane& lane, RequestBatch& to) {
        const bool taken = lane.takes > Nanos{} && stage_.place_ == QosStage::Place::Above;
        while (lane.bundle > 0) {
            Request* request = lane.waiting.pop_front();
            request->turn_taken = taken;
            to.push_back(*request);
            --lane.bundle;
        }
    }

    /// Zeroes and discards move no data.
    [[nodiscard]] std::uint64_t bytes_of(const Request& request) const {
        const bool moves = request.opcode == Opcode::Read || request.opcode == Opcode::Write;
        return moves ? std::uint64_t{request.block_count} * block_size_ : 0;
    }

    void note_waiting(Lane& lane) {
        const bool waits = !lane.waiting.empty() && stage_.share_.pool() != nullptr;
        if (waits != lane.counted) {
            stage_.share_.count_waiting(waits ? 1 : -1);
            lane.counted = waits;
        }
    }

    /// The sum of all waits is the number that waits, over time.
    void count_time() {
        const Nanos now = reactor_.now();
        const std::uint64_t waiting = lanes_[0].waiting.size() + lanes_[1].waiting.size();
        here_.throttled_ns += waiting * static_cast<std::uint64_t>((now - counted_).count());
        counted_ = now;
    }

    static constexpr std::uint32_t kMostTogether = 128;

    QosStage& stage_;
    QosStage::PerReactor& here_;
    std::unique_ptr<block::Channel> owned_;  // what it is over, unless that is another's
    std::uint32_t block_size_;
    reactor::Reactor& reactor_;
    std::array<Lane, 2> lanes_{Lane(Way::Read), Lane(Way::Write)};
    Nanos counted_{};
    reactor::Timer timer_{*this};
};

QosStage::QosStage(Place place) : place_(place) {}
QosStage::~QosStage() = default;

void QosStage::set_rates(const Rates& rates) {
    limiter_.set(rates);
    update_attention();
}

void QosStage::set_share(Pool* pool, const Parts& parts) {
    share_.set(pool, parts);
    update_attention();
}

void QosStage::update_attention() {
    attention_.store(limiter_.is_limited() || share_.pool() != nullptr, std::memory_order_relaxed);
}

QosStage::PerReactor& QosStage::here() {
    const std::uint32_t id = reactor::Reactor::current().id();
    CHECK(id < kMaxReactors);
    return reactors_[id];
}

void QosStage::show_rates() {
    here().channels.for_each([](QosChannel& channel) { channel.reconsider(); });
}

std::uint64_t QosStage::throttled_ns_here() const {
    return reactors_[reactor::Reactor::current().id()].throttled_ns;
}

core::Result<std::unique_ptr<block::StageChannel>> QosStage::open_channel(
    block::Channel& lower, std::uint32_t block_size) {
    return std::make_unique<QosChannel>(*this, lower, block_size);
}

std::unique_ptr<block::Channel> QosStage::open_over(std::unique_ptr<block::Channel> lower,
                                                    std::uint32_t block_size) {
    auto channel = std::make_unique<QosChannel>(*this, *lower, block_size);
    channel->own(std::move(lower));
    return channel;
}

}  // namespace remora::services::qos
