// SPDX-License-Identifier: Apache-2.0
#include "node/volume_table.h"

#include "reactor/call.h"

namespace remora::node {

using core::ErrorKind;
using core::fail;

namespace {

std::unexpected<core::Error> not_found(const std::string& name) {
    return fail(ErrorKind::NotFound, "there is no volume '" + name + "'");
}

VolumeInfo info_of(const block::Device& device) {
    return {device.name(), device.uuid(), device.geometry()};
}

}  // namespace

Result<void> VolumeTable::add(block::Device& device, std::unique_ptr<block::Device> owned) {
    if (volumes_.contains(device.name())) {
        return fail(ErrorKind::AlreadyExists,
                    "a volume named '" + device.name() + "' exists already");
    }
    Entry entry;
    entry.owned = std::move(owned);
    entry.limited = std::make_unique<services::qos::QosDevice>(device);
    if (const auto rates = rates_.find(device.name()); rates != rates_.end()) {
        entry.limited->set_rates(rates->second);
    }
    entry.counted = std::make_unique<block::CountedDevice>(*entry.limited);
    volumes_.emplace(device.name(), std::move(entry));
    return {};
}

Result<VolumeInfo> VolumeTable::add_owned(std::unique_ptr<block::Device> device) {
    block::Device& reference = *device;
    if (auto added = add(reference, std::move(device)); !added) {
        return std::unexpected(added.error());
    }
    return info_of(reference);
}

Result<void> VolumeTable::add_shown(block::Device& device) {
    return add(device, nullptr);
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
        device->set_rates(rates);
    }
}

void VolumeTable::set_faults(const std::string& name, const FaultSettings& settings) {
    if (settings.empty()) {
        faults_.erase(name);
    } else {
        faults_[name] = settings;
    }
}

Task<> show_rates(services::qos::QosDevice& device,
                  std::span<const block::ReactorContext> reactors) {
    for (const block::ReactorContext& context : reactors) {
        co_await reactor::call_on(context.reactor, [&device] { device.show_rates(); });
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
