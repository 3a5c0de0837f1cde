// SPDX-License-Identifier: Apache-2.0
#include "node/competitors.h"

#include <set>
#include <utility>

#include "node/volume_table.h"
#include "reactor/call.h"

namespace remora::node {

using services::qos::Parts;
using services::qos::Pool;
using services::qos::QosStage;

Pool* Competitors::pool(const std::string& name) const {
    const auto found = pools_.find(name);
    return found == pools_.end() ? nullptr : found->second.get();
}

std::vector<std::unique_ptr<Pool>> Competitors::update_pools() {
    std::set<std::string> wanted;
    const auto want = [&](const Minimum& minimum) {
        if (minimum.least != Rates{} && competition_.pools.contains(minimum.pool)) {
            wanted.insert(minimum.pool);
        }
    };
    for (const auto& [name, minimum] : competition_.volumes) {
        want(minimum);
    }
    for (const auto& [key, minimum] : competition_.controllers) {
        want(minimum);
    }
    std::vector<std::unique_ptr<Pool>> gone;
    for (auto at = pools_.begin(); at != pools_.end();) {
        if (wanted.contains(at->first)) {
            ++at;
        } else {
            gone.push_back(std::move(at->second));
            at = pools_.erase(at);
        }
    }
    for (const std::string& name : wanted) {
        std::unique_ptr<Pool>& there = pools_[name];
        if (there == nullptr) {
            there = std::make_unique<Pool>();
        }
        if (there->capacity() != competition_.pools.at(name)) {
            there->set(competition_.pools.at(name));
        }
    }
    return gone;
}

void Competitors::enter(const std::string& volume, const std::string& name, QosStage& stage) {
    Pool* at = pool(name);
    const auto minimum = competition_.volumes.find(volume);
    const bool sure = at != nullptr && minimum != competition_.volumes.end();
    stage.set_share(at, sure ? parts_of(minimum->second.least, at->capacity()) : Parts{});
}

void Competitors::enter_controller(const std::string& nqn, const Endpoint& at, QosStage& stage) {
    const auto minimum = competition_.controllers.find({nqn, at});
    Pool* there = has_minimum(nqn, at) ? pool(minimum->second.pool) : nullptr;
    stage.set_share(
        there, there == nullptr ? Parts{} : parts_of(minimum->second.least, there->capacity()));
}

bool Competitors::has_minimum(const std::string& nqn, const Endpoint& at) const {
    const auto minimum = competition_.controllers.find({nqn, at});
    return minimum != competition_.controllers.end() && minimum->second.least != Rates{};
}

Task<> Competitors::set(Competition competition,
                        VolumeTable& volumes,
                        std::vector<ControllerCompetitor> controllers) {
    if (competition == competition_) {
        co_return;
    }
    competition_ = std::move(competition);
    const std::vector<std::unique_ptr<Pool>> gone = update_pools();
    std::vector<std::shared_ptr<QosStage>> stages;
    for (VolumeTable::Competitor& one : volumes.competitors()) {
        enter(one.name, one.pool, *one.stage);
        stages.push_back(std::move(one.stage));
    }
    for (ControllerCompetitor& one : controllers) {
        enter_controller(one.nqn, one.at, *one.stage);
        stages.push_back(std::move(one.stage));
    }
    // The stages are kept, not what they are of: that may go meanwhile.
    for (const block::ReactorContext& context : reactors_) {
        co_await reactor::call_on(context.reactor, [&stages] {
            for (const auto& stage : stages) {
                stage->show_rates();
            }
        });
    }
}

}  // namespace remora::node
