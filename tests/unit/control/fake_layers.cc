// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/control/fake_layers.h"

#include <algorithm>
#include <utility>

namespace remora::test {

FakeLayers::FakeLayers(Marks& marks, Steps& steps)
    : FakeFunctions(steps), marks_(marks), layer_steps_(steps) {}

FakeLayers::~FakeLayers() = default;

reactor::Task<> FakeLayers::set_volume_rates(std::string name, node::Rates rates) {
    volume_rates[name] = rates;
    co_return;
}

reactor::Task<> FakeLayers::set_competition(node::Competition to) {
    competition = std::move(to);
    co_return;
}

reactor::Task<core::Result<void>> FakeLayers::set_volume_faults(std::string name,
                                                                node::FaultSettings settings) {
    if (auto step = layer_steps_.take("set_volume_faults"); !step) {
        co_return step;
    }
    if (auto valid = services::fault::check_settings(settings); !valid) {
        co_return valid;
    }
    fault_counts.erase(name);
    volume_faults.erase(name);
    if (!settings.empty()) {
        volume_faults[name] = std::move(settings);
    }
    co_return core::Result<void>();
}

reactor::Task<core::Result<node::FaultCounts>> FakeLayers::volume_fault_counts(std::string name) {
    if (!volumes.contains(name)) {
        co_return absent(name);
    }
    co_return fault_counts[name];
}

reactor::Task<core::Result<node::VolumeInfo>> FakeLayers::create_encrypted(
    node::EncryptedSpec spec) {
    const auto lower = volumes.find(spec.lower);
    if (lower == volumes.end()) {
        co_return absent(spec.lower);
    }
    if (auto step = layer_steps_.take("create_volume"); !step) {
        co_return std::unexpected(step.error());
    }
    node::VolumeInfo info{spec.name, spec.uuid, lower->second.geometry};
    volumes[spec.name] = info;
    encrypted[spec.name] = std::move(spec);
    co_return info;
}

reactor::Task<core::Result<void>> FakeLayers::rekey_volume(std::string name, node::RekeySpec spec) {
    if (auto step = layer_steps_.take("rekey_volume"); !step) {
        co_return step;
    }
    encrypted.at(name).rekey = std::move(spec);
    co_return core::Result<void>();
}

std::optional<node::RekeyProgress> FakeLayers::rekey_progress(const std::string& name) const {
    const auto found = encrypted.find(name);
    if (found == encrypted.end() || !found->second.rekey) {
        return std::nullopt;
    }
    return node::RekeyProgress{found->second.rekey->point.position, 8, rekey_trouble};
}

reactor::Task<core::Result<node::VolumeInfo>> FakeLayers::create_raid(node::RaidSpec spec) {
    if (auto step = layer_steps_.take("create_raid"); !step) {
        co_return std::unexpected(step.error());
    }
    Array array;
    array.spec = spec;
    std::uint64_t blocks = 0;
    const std::string mark = "array " + spec.uuid.text();
    for (const std::string& member : spec.members) {
        const auto found = volumes.find(member);
        if (spec.fresh && found == volumes.end()) {
            co_return absent(member);
        }
        if (auto fits = fits_mark(member, mark, spec.fresh, spec.overwrite); !fits) {
            co_return std::unexpected(fits.error());
        }
        array.lowers.push_back(member);
        auto& shown = array.status.members.emplace_back();
        shown.name = member;
        const auto carried = marks_.find(member);
        const bool spare =
            !spec.fresh && carried != marks_.end() && carried->second.ends_with(kSpare);
        shown.state = found == volumes.end() ? services::raid::MemberState::Missing
                      : spare                ? services::raid::MemberState::Spare
                                             : services::raid::MemberState::Active;
        if (found == volumes.end()) {
            array.status.health = node::RaidStatus::Health::Degraded;
        } else {
            blocks = found->second.geometry.block_count;
            marks_[member] = spare ? mark + kSpare : mark;
        }
    }
    if (blocks == 0) {
        co_return core::fail(core::ErrorKind::FailedPrecondition, "no member is there");
    }
    background_rates[spec.name] = spec.background_bytes_per_second;
    const std::vector<std::string> spares = spec.spares;
    const auto info = add_layer(spec.name, spec.uuid, blocks);
    arrays[spec.name] = std::move(array);
    for (const std::string& spare : spares) {
        if (auto added = co_await add_raid_spare(spec.name, spare); !added) {
            co_return std::unexpected(added.error());
        }
    }
    co_return info;
}

std::optional<node::RaidStatus> FakeLayers::raid_status(const std::string& name) const {
    const auto found = arrays.find(name);
    return found == arrays.end() ? std::nullopt : std::optional(found->second.status);
}

reactor::Task<core::Result<void>> FakeLayers::add_raid_spare(std::string name, std::string volume) {
    if (auto step = layer_steps_.take("add_raid_spare"); !step) {
        co_return step;
    }
    if (!volumes.contains(volume)) {
        co_return absent(volume);
    }
    Array& array = arrays.at(name);
    array.lowers.push_back(volume);
    array.status.members.push_back({volume, services::raid::MemberState::Spare, {}});
    marks_[volume] = "array " + array.spec.uuid.text() + kSpare;
    co_return core::Result<void>();
}

reactor::Task<core::Result<void>> FakeLayers::replace_raid_member(std::string name,
                                                                  std::string member,
                                                                  std::string with) {
    if (auto step = layer_steps_.take("replace_raid_member"); !step) {
        co_return step;
    }
    Array& array = arrays.at(name);
    for (auto& shown : array.status.members) {
        if (shown.name == member) {
            shown = {with, services::raid::MemberState::Rebuilding, {}};
            array.lowers.push_back(with);
            array.status.progress.kind = services::raid::Progress::Kind::Rebuild;
            array.status.health = node::RaidStatus::Health::Degraded;
            marks_[with] = "array " + array.spec.uuid.text();
            co_return core::Result<void>();
        }
    }
    co_return absent(member);
}

void FakeLayers::finish_rebuild(const std::string& name) {
    Array& array = arrays.at(name);
    array.status.progress = {};
    array.status.health = node::RaidStatus::Health::Optimal;
    for (auto& shown : array.status.members) {
        if (shown.state == services::raid::MemberState::Rebuilding) {
            shown.state = services::raid::MemberState::Active;
        }
    }
}

reactor::Task<core::Result<void>> FakeLayers::remove_raid_member(std::string name,
                                                                 std::string member) {
    if (auto step = layer_steps_.take("remove_raid_member"); !step) {
        co_return step;
    }
    Array& array = arrays.at(name);
    for (std::size_t i = 0; i < array.status.members.size(); ++i) {
        if (array.status.members[i].name != member) {
            continue;
        }
        if (array.status.health != node::RaidStatus::Health::Optimal) {
            co_return core::fail(core::ErrorKind::FailedPrecondition,
                                 member + " has the last good copy");
        }
        marks_.erase(member);
        if (array.status.members[i].state == services::raid::MemberState::Spare) {
            std::erase_if(array.status.members,
                          [&](const auto& one) { return one.name == member; });
        } else {
            array.status.members[i] = {member, services::raid::MemberState::Missing, "removed"};
            array.status.health = node::RaidStatus::Health::Degraded;
        }
        co_return core::Result<void>();
    }
    co_return absent(member);
}

void FakeLayers::release_raid_members(const std::string& name) {
    Array& array = arrays.at(name);
    std::erase_if(array.lowers, [&array](const std::string& lower) {
        return std::ranges::none_of(array.status.members, [&lower](const auto& one) {
            return one.name == lower && one.state != services::raid::MemberState::Missing;
        });
    });
}

void FakeLayers::set_raid_rate(const std::string& name, std::uint64_t bytes_per_second) {
    background_rates[name] = bytes_per_second;
}

core::Result<void> FakeLayers::scrub_raid(const std::string& name, bool on) {
    auto& progress = arrays.at(name).status.progress;
    progress = {};
    progress.kind =
        on ? services::raid::Progress::Kind::Scrub : services::raid::Progress::Kind::None;
    progress.total_bytes = on ? 1024 : 0;
    return {};
}

reactor::Task<core::Result<node::VolumeInfo>> FakeLayers::create_integrity(
    node::IntegritySpec spec) {
    if (auto step = layer_steps_.take("create_integrity"); !step) {
        co_return std::unexpected(step.error());
    }
    const auto lower = volumes.find(spec.lower);
    if (lower == volumes.end()) {
        co_return absent(spec.lower);
    }
    const std::string mark = "integrity " + spec.uuid.text();
    if (auto fits = fits_mark(spec.lower, mark, spec.fresh, spec.overwrite); !fits) {
        co_return std::unexpected(fits.error());
    }
    marks_[spec.lower] = mark;
    const auto info = add_layer(spec.name, spec.uuid, lower->second.geometry.block_count - 64);
    integrity[spec.name] = {};
    checked[spec.name] = std::move(spec);
    co_return info;
}

std::optional<node::IntegrityStatus> FakeLayers::integrity_status(const std::string& name) const {
    const auto found = integrity.find(name);
    return found == integrity.end() ? std::nullopt : std::optional(found->second);
}

void FakeLayers::set_integrity_scrub_rate(const std::string& name, std::uint64_t bytes_per_second) {
    background_rates[name] = bytes_per_second;
}

core::Result<void> FakeLayers::scrub_integrity(const std::string& name, bool on) {
    integrity.at(name).scrub.running = on;
    return {};
}

void FakeLayers::forget_layer(const std::string& name) {
    encrypted.erase(name);
    if (const auto array = arrays.find(name); array != arrays.end()) {
        for (const std::string& lower : array->second.lowers) {
            marks_.erase(lower);
        }
        arrays.erase(array);
    }
    if (const auto found = checked.find(name); found != checked.end()) {
        marks_.erase(found->second.lower);
        checked.erase(found);
        integrity.erase(name);
    }
}

std::unexpected<core::Error> FakeLayers::absent(const std::string& name) {
    return core::fail(core::ErrorKind::NotFound, "there is no " + name);
}

node::VolumeInfo FakeLayers::add_layer(const std::string& name,
                                       core::Uuid uuid,
                                       std::uint64_t blocks) {
    block::Geometry geometry;
    geometry.block_count = blocks;
    return volumes[name] = {name, uuid, geometry};
}

core::Result<void> FakeLayers::fits_mark(const std::string& volume,
                                         const std::string& mark,
                                         bool fresh,
                                         bool overwrite) const {
    const auto found = marks_.find(volume);
    if (fresh && found != marks_.end() && !found->second.starts_with(mark) && !overwrite) {
        return core::fail(core::ErrorKind::AlreadyExists, volume + " carries another one");
    }
    if (!fresh && volumes.contains(volume) && found == marks_.end()) {
        return core::fail(core::ErrorKind::NotFound, volume + " carries nothing");
    }
    return {};
}

}  // namespace remora::test
