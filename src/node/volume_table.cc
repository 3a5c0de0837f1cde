// SPDX-License-Identifier: Apache-2.0
#include "node/volume_table.h"

#include "node/competitors.h"
#include "reactor/call.h"

namespace remora::node {

using core::ErrorKind;
using core::fail;
using services::fault::FaultStage;

namespace {

std::unexpected<core::Error> not_found(const std::string& name) {
    return fail(ErrorKind::NotFound, "there is no volume '" + name + "'");
}

VolumeInfo info_of(const block::Device& device) {
    return {device.name(), device.uuid(), device.geometry()};
}

}  // namespace

Result<void> VolumeTable::add(block::Device& device,
                              std::unique_ptr<block::Device> owned,
                              const Foundation& foundation) {
    if (volumes_.contains(device.name())) {
        return fail(ErrorKind::AlreadyExists,
                    "a volume named '" + device.name() + "' exists already");
    }
    Entry entry;
    entry.foundation = foundation;
    entry.owned = std::move(owned);
    std::vector<block::Stage*> stages;
    if (const auto faults = faults_.find(device.name()); faults != faults_.end()) {
        entry.faults = std::make_shared<FaultStage>(faults->second);
        stages.push_back(entry.faults.get());
    }
    entry.junction = std::make_unique<block::Junction>(device, stages);
    entry.limited = std::make_unique<services::qos::QosDevice>(*entry.junction);
    if (const auto rates = rates_.find(device.name()); rates != rates_.end()) {
        entry.limited->limits().set_rates(rates->second);
    }
    if (foundation.pool) {
        competitors_.enter(device.name(), *foundation.pool, entry.limited->limits());
    }
    entry.counted = std::make_unique<block::CountedDevice>(*entry.limited);
    volumes_.emplace(device.name(), std::move(entry));
    return {};
}

Result<VolumeInfo> VolumeTable::add_owned(std::unique_ptr<block::Device> device,
                                          const Foundation& foundation) {
    block::Device& reference = *device;
    if (auto added = add(reference, std::move(device), foundation); !added) {
        return std::unexpected(added.error());
    }
    return info_of(reference);
}

Result<void> VolumeTable::add_shown(block::Device& device, const std::string& remote) {
    return add(device, nullptr, {.pool = remote});
}

Result<std::unique_ptr<block::Device>> VolumeTable::remove(const std::string& name) {
    const auto at = volumes_.find(name);
    if (at == volumes_.end()) {
        return not_found(name);
    }
    if (!at->second.users.empty()) {
        std::string text = "volume '" + name + "' is used by";
        for (const std::string& user : at->second.users) {
            text += " " + user + ",";
        }
        text.back() = ';';
        return fail(ErrorKind::FailedPrecondition, text + " remove that first");
    }
    std::unique_ptr<block::Device> owned = std::move(at->second.owned);
    volumes_.erase(at);
    return owned;
}

std::optional<VolumeInfo> VolumeTable::info(const std::string& name) const {
    const block::CountedDevice* device = find(name);
    return device == nullptr ? std::nullopt : std::optional(info_of(*device));
}

block::CountedDevice* VolumeTable::find(const std::string& name) const {
    const auto at = volumes_.find(name);
    return at == volumes_.end() ? nullptr : at->second.counted.get();
}

services::qos::QosDevice* VolumeTable::limits(const std::string& name) const {
    const auto at = volumes_.find(name);
    return at == volumes_.end() ? nullptr : at->second.limited.get();
}

void VolumeTable::set_rates(const std::string& name, const Rates& rates) {
    if (rates == Rates{}) {
        rates_.erase(name);
    } else {
        rates_[name] = rates;
    }
    if (services::qos::QosDevice* device = limits(name)) {
        device->limits().set_rates(rates);
    }
}

std::vector<VolumeTable::Competitor> VolumeTable::competitors() const {
    std::vector<Competitor> all;
    for (const auto& [name, entry] : volumes_) {
        if (entry.foundation.pool) {
            all.push_back({name, *entry.foundation.pool, entry.limited->shared_limits()});
        }
    }
    return all;
}

std::shared_ptr<FaultStage> VolumeTable::faults(const std::string& name) const {
    const auto at = volumes_.find(name);
    return at == volumes_.end() ? nullptr : at->second.faults;
}

Task<Result<void>> VolumeTable::set_faults(std::string name,
                                           FaultSettings settings,
                                           std::span<const block::ReactorContext> reactors) {
    if (!changing_faults_.insert(name).second) {
        co_return fail(ErrorKind::Aborted,
                       "the faults of volume '" + name +
                           "' are being changed by another call: try again when that has ended");
    }
    Result<void> applied;
    const std::string user = "a change of its faults";
    if (use(name, user)) {
        applied = co_await apply_faults(name, settings, reactors);
        release(name, user);
    }
    if (applied) {
        faults_.erase(name);
        if (!settings.empty()) {
            faults_[name] = settings;
        }
    }
    changing_faults_.erase(name);
    co_return applied;
}

Task<Result<void>> VolumeTable::apply_faults(const std::string& name,
                                             const FaultSettings& settings,
                                             std::span<const block::ReactorContext> reactors) {
    block::Junction& junction = *volumes_.at(name).junction;  // stays while it is used
    std::shared_ptr<FaultStage> stage = faults(name);
    if (settings.empty()) {
        if (stage != nullptr) {
            co_await junction.remove(*stage, reactors);
            volumes_.at(name).faults = nullptr;
        }
    } else if (stage == nullptr) {
        stage = std::make_shared<FaultStage>(settings);
        auto inserted = co_await junction.insert(*stage, reactors);
        if (!inserted) {
            co_return inserted;
        }
        volumes_.at(name).faults = stage;
    } else {
        stage->set(settings);
        for (const block::ReactorContext& context : reactors) {
            co_await reactor::call_on(context.reactor, [&] { stage->show(); });
        }
    }
    co_return Result<void>{};
}

Task<> show_rates(services::qos::QosStage& limits,
                  std::span<const block::ReactorContext> reactors) {
    for (const block::ReactorContext& context : reactors) {
        co_await reactor::call_on(context.reactor, [&limits] { limits.show_rates(); });
    }
}

bool VolumeTable::owned(const std::string& name) const {
    const auto at = volumes_.find(name);
    return at != volumes_.end() && at->second.owned != nullptr;
}

std::vector<std::string> VolumeTable::users(const std::string& name) const {
    const auto at = volumes_.find(name);
    if (at == volumes_.end()) {
        return {};
    }
    return {at->second.users.begin(), at->second.users.end()};
}

std::vector<std::string> VolumeTable::names() const {
    std::vector<std::string> names;
    names.reserve(volumes_.size());
    for (const auto& [name, entry] : volumes_) {
        names.push_back(name);
    }
    return names;
}

Result<block::CountedDevice*> VolumeTable::use(const std::string& name, const std::string& user) {
    const auto at = volumes_.find(name);
    if (at == volumes_.end()) {
        return not_found(name);
    }
    at->second.users.insert(user);
    return at->second.counted.get();
}

void VolumeTable::release(const std::string& name, const std::string& user) {
    const auto at = volumes_.find(name);
    CHECK(at != volumes_.end());
    const auto one = at->second.users.find(user);
    CHECK(one != at->second.users.end());
    at->second.users.erase(one);
}

}  // namespace remora::node
