// SPDX-License-Identifier: Apache-2.0
// Watch: tells clients of changes. The control reactor publishes, a gRPC thread a watcher takes.
//
//   Transaction::commit ─► WatchHub::on_put ─┐
//   Conditions          ─► publish ──────────┴─► each Watcher's queue ─► its gRPC thread ─► client
//
// An event is made once and shared. A watcher's queue is bounded: who does not take in time has
// fallen behind and watches anew, so that no client costs memory or holds up a change.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "control/model.h"
#include "core/result.h"
#include "core/units.h"

namespace remora::control {

using SharedEvent = std::shared_ptr<const api::ResourceEvent>;

/// One client's queue. Any thread.
class Watcher {
  public:
    /// Changes that may wait for a client; what existed when it came is counted besides.
    static constexpr std::size_t kMostWaiting = 4096;

    explicit Watcher(const api::WatchResourcesRequest& request);

    [[nodiscard]] bool wants(const std::string& kind) const {
        return kinds_.empty() || kinds_.contains(kind);
    }
    [[nodiscard]] bool changes_only() const { return changes_only_; }

    /// Not bounded: what exists.
    void begin(std::deque<SharedEvent> existing);
    /// False when it has fallen behind or was closed: it is to be forgotten.
    bool push(const SharedEvent& event);
    void close();

    enum class State { Going, FallenBehind, Closed };
    struct Taken {
        std::vector<SharedEvent> events;
        State state = State::Going;
    };
    /// Waits for events, at most `limit`. What came before it fell behind is still given.
    Taken take(core::Nanos limit);

  private:
    const std::set<std::string> kinds_;
    const bool changes_only_;
    std::mutex mutex_;
    std::condition_variable some_;
    std::deque<SharedEvent> events_;
    std::size_t allowance_ = kMostWaiting;
    State state_ = State::Going;
};

/// Control reactor only.
class WatchHub final : public ModelObserver {
  public:
    static constexpr std::size_t kMostWatchers = 32;

    explicit WatchHub(Model& model) : model_(model) { model_.set_observer(this); }
    WatchHub(const WatchHub&) = delete;
    WatchHub& operator=(const WatchHub&) = delete;
    ~WatchHub();

    /// From here on it is told; what exists comes first. Errors: ResourceExhausted,
    /// InvalidArgument for a kind that there is not.
    core::Result<void> add(std::shared_ptr<Watcher> watcher,
                           const api::WatchResourcesRequest& request);
    void publish_conditions(const std::string& kind, const api::ResourceConditions& changed);

  private:
    void on_put(Kind kind, const google::protobuf::Message& resource, bool is_new) override;
    void on_erased(Kind kind, const google::protobuf::Message& resource) override;
    void publish(api::ResourceEvent event);
    void forget_closed();

    Model& model_;
    std::vector<std::shared_ptr<Watcher>> watchers_;
    std::uint64_t revision_ = 0;
};

}  // namespace remora::control
