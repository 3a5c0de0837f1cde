// SPDX-License-Identifier: Apache-2.0
#include "node/controller_limits.h"

#include "node/volume_table.h"
#include "reactor/call.h"

namespace remora::node {

using services::qos::QosStage;

Task<Result<void>> ControllerLimits::set(std::string nqn, Endpoint at, Rates rates) {
    std::shared_ptr<QosStage> stage = stages_[{nqn, at}].lock();
    if (stage == nullptr && rates == Rates{} && !competitors_.has_minimum(nqn, at)) {
        co_return Result<void>();
    }
    if (stage == nullptr) {
        stage = std::make_shared<QosStage>(QosStage::Place::Above);
        stages_[{nqn, at}] = stage;
    }
    stage->set_rates(rates);
    competitors_.enter_controller(nqn, at, *stage);
    // Also when it is known: the listener may have come again, on reactors that had forgotten it.
    auto put = co_await target_.put_stage(nqn, at, stage);
    if (!put) {
        stage->set_rates({});
        stage->set_share(nullptr, {});
    }
    co_await show_rates(*stage, reactors_);
    co_return put;
}

Task<> ControllerLimits::lift(std::string nqn, Endpoint at) {
    if (const auto stage = stages_[{nqn, at}].lock()) {
        stage->set_rates({});
        stage->set_share(nullptr, {});
        co_await show_rates(*stage, reactors_);
    }
    std::erase_if(stages_, [](const auto& entry) { return entry.second.expired(); });
}

Task<> ControllerLimits::lift_all(std::string nqn) {
    std::vector<Key> keys;
    for (const auto& [key, stage] : stages_) {
        if (nqn.empty() || key.first == nqn) {
            keys.push_back(key);
        }
    }
    for (const Key& key : keys) {
        co_await lift(key.first, key.second);
    }
}

std::vector<ControllerCompetitor> ControllerLimits::competitors() const {
    std::vector<ControllerCompetitor> all;
    for (const auto& [key, kept] : stages_) {
        if (auto stage = kept.lock()) {
            all.push_back({key.first, key.second, std::move(stage)});
        }
    }
    return all;
}

Task<std::uint64_t> ControllerLimits::throttled_ns(std::string nqn, Endpoint at) {
    std::uint64_t sum = 0;
    const auto found = stages_.find({nqn, at});
    const auto stage = found == stages_.end() ? nullptr : found->second.lock();
    for (const block::ReactorContext& context : reactors_) {
        if (stage != nullptr) {
            sum += co_await reactor::call_on(context.reactor,
                                             [&stage] { return stage->throttled_ns_here(); });
        }
    }
    co_return sum;
}

}  // namespace remora::node
