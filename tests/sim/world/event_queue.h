// SPDX-License-Identifier: Apache-2.0
// EventQueue: what is going to happen, by time. Time stands still while an event runs and jumps to
// the next one after it; events of one instant run in the order in which they were made.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "core/check.h"
#include "core/units.h"

namespace remora::sim {

using core::Nanos;

class EventQueue {
  public:
    using Action = std::move_only_function<void()>;

    [[nodiscard]] const Nanos& now() const { return now_; }
    [[nodiscard]] bool empty() const { return heap_.empty(); }
    [[nodiscard]] Nanos next() const { return heap_.empty() ? core::kNever : heap_.front().at; }

    void at(Nanos when, Action action) {
        std::uint32_t place = 0;
        if (free_.empty()) {
            place = static_cast<std::uint32_t>(actions_.size());
            actions_.push_back(std::move(action));
        } else {
            place = free_.back();
            free_.pop_back();
            actions_[place] = std::move(action);
        }
        heap_.push_back({std::max(when, now_), order_++, place});
        std::ranges::push_heap(heap_, Later{});
    }
    void after(Nanos delay, Action action) { at(now_ + delay, std::move(action)); }

    void run_one() {
        CHECK(!heap_.empty());
        std::ranges::pop_heap(heap_, Later{});
        const Event event = heap_.back();
        heap_.pop_back();
        now_ = event.at;
        ++ran_;
        Action action = std::move(actions_[event.place]);
        free_.push_back(event.place);
        action();
    }
    [[nodiscard]] std::uint64_t ran() const { return ran_; }

  private:
    /// Small, because the heap moves it about; the action stays in its place.
    struct Event {
        Nanos at{};
        std::uint64_t order = 0;
        std::uint32_t place = 0;
    };
    struct Later {
        bool operator()(const Event& a, const Event& b) const {
            return a.at != b.at ? a.at > b.at : a.order > b.order;
        }
    };

    std::vector<Event> heap_;
    std::vector<Action> actions_;
    std::vector<std::uint32_t> free_;
    Nanos now_{std::chrono::seconds(1)};
    std::uint64_t order_ = 0;
    std::uint64_t ran_ = 0;
};

}  // namespace remora::sim
