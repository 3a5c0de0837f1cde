// SPDX-License-Identifier: Apache-2.0
#include "node/stacked_volumes.h"

#include <array>
#include <cstdio>
#include <utility>
#include <vector>

#include "core/check.h"
#include "core/crc32c.h"
#include "core/log.h"
#include "node/mark_eraser.h"
#include "reactor/call.h"
#include "services/integrity/integrity_device.h"

namespace remora::node {

using core::ErrorKind;
using core::fail;
using services::integrity::IntegrityDevice;
using services::raid::Member;
using services::raid::RaidDevice;

namespace {

std::string user_text(const std::string& name) {
    return "volume '" + name + "', which is made of it";
}

std::unexpected<core::Error> no_array(const std::string& name) {
    return fail(ErrorKind::NotFound, "there is no array '" + name + "'");
}

/// How an array calls what was removed from it (RaidDevice::remove_member()).
constexpr std::string_view kRemoved = "removed";

/// Superblocks have room for 63 bytes; what is longer ends in a checksum of the whole.
std::string name_in_array(const std::string& volume) {
    constexpr std::size_t kMost = 63;
    constexpr std::size_t kHead = kMost - 9;
    if (volume.size() <= kMost) {
        return volume;
    }
    std::array<char, 10> tail{};
    std::snprintf(tail.data(), tail.size(), "~%08x",
                  core::crc32c(std::as_bytes(std::span(volume))));
    return volume.substr(0, kHead) + tail.data();
}

/// What is on the device; a read that fails is tried again for some seconds, because what to do
/// next depends on whether something is there.
Task<IntegrityDevice::Made> look_for_checksums(block::Device& lower,
                                               services::integrity::IntegrityOptions options,
                                               std::span<const block::ReactorContext> reactors) {
    constexpr core::Nanos kTryFor = std::chrono::seconds(5);
    const core::Nanos deadline = reactor::Reactor::current().now() + kTryFor;
    for (;;) {
        auto found = co_await IntegrityDevice::open(options, lower, reactors);
        if (found || found.error().kind != ErrorKind::Unavailable ||
            reactor::Reactor::current().now() >= deadline) {
            co_return found;
        }
        co_await reactor::sleep_for(std::chrono::milliseconds(50));
    }
}

Result<void> check_free(const VolumeTable& volumes, const std::string& name) {
    if (volumes.find(name) != nullptr) {
        return fail(ErrorKind::AlreadyExists, "a volume named '" + name + "' exists already");
    }
    return {};
}

}  // namespace

StackedVolumes::~StackedVolumes() {
    CHECK(stacked_.empty());
}

Result<Member> StackedVolumes::take(const std::string& name, const std::string& lower) {
    const auto device = volumes_.use(lower, user_text(name));
    if (!device) {
        return std::unexpected(device.error());
    }
    return Member{name_in_array(lower), *device};
}

void StackedVolumes::release(const std::string& name, const std::set<std::string>& lowers) {
    for (const std::string& lower : lowers) {
        volumes_.release(lower, user_text(name));
    }
}

Task<Result<VolumeInfo>> StackedVolumes::create_raid(RaidSpec spec) {
    if (auto free = check_free(volumes_, spec.name); !free) {
        co_return std::unexpected(free.error());
    }
    Stacked made;
    std::vector<Member> members;
    for (const std::string& lower : spec.members) {
        auto member = take(spec.name, lower);
        made.called[name_in_array(lower)] = lower;
        if (member) {
            made.lowers.insert(lower);
            members.push_back(std::move(*member));
        } else if (spec.fresh) {
            release(spec.name, made.lowers);
            co_return std::unexpected(member.error());
        } else {
            members.push_back({name_in_array(lower), nullptr});  // the array may do without
        }
    }
    const services::raid::RaidOptions options{.name = spec.name,
                                              .uuid = spec.uuid,
                                              .level = spec.level,
                                              .chunk_bytes = spec.chunk_bytes,
                                              .overwrite = spec.overwrite};
    core::Result<std::unique_ptr<RaidDevice>> device = no_array(spec.name);
    if (spec.fresh) {
        device = co_await RaidDevice::create(options, std::move(members), reactors_);
    } else {
        device = co_await RaidDevice::assemble(options, std::move(members), reactors_);
    }
    if (!device) {
        release(spec.name, made.lowers);
        co_return std::unexpected(device.error());
    }
    made.raid = device->get();
    auto added = volumes_.add_owned(std::move(*device), kOtherVolumes);
    CHECK(added.has_value());  // the name is free: one call at a time makes a volume of a name
    stacked_.emplace(spec.name, std::move(made));
    set_raid_rate(spec.name, spec.background_bytes_per_second);
    for (const std::string& spare : spec.spares) {
        if (auto taken = co_await add_raid_spare(spec.name, spare); !taken) {
            if (auto removed = co_await remove(spec.name, End::Deleted); !removed) {
                log::warn("an array that could not be made is left", log::kv("name", spec.name),
                          log::kv("reason", removed.error().message));
            }
            co_return std::unexpected(taken.error());
        }
    }
    co_return added;
}

std::optional<RaidStatus> StackedVolumes::raid_status(const std::string& name) const {
    const auto found = stacked_.find(name);
    if (found == stacked_.end() || found->second.raid == nullptr) {
        return std::nullopt;
    }
    RaidStatus status = found->second.raid->status();
    for (services::raid::MemberStatus& member : status.members) {
        const auto volume = found->second.called.find(member.name);
        member.name = volume == found->second.called.end() ? member.name : volume->second;
        if (member.state == services::raid::MemberState::Failed && member.reason == kRemoved) {
            member.state = services::raid::MemberState::Missing;  // and its device is free
        }
    }
    for (std::string& name_there : status.leaving) {
        const auto volume = found->second.called.find(name_there);
        name_there = volume == found->second.called.end() ? name_there : volume->second;
    }
    return status;
}

Result<StackedVolumes::Stacked*> StackedVolumes::find_raid(const std::string& name) {
    const auto found = stacked_.find(name);
    if (found == stacked_.end() || found->second.raid == nullptr) {
        return no_array(name);
    }
    if (found->second.busy) {
        return fail(ErrorKind::Aborted, "another call works on array '" + name + "'; try again");
    }
    return &found->second;
}

Task<Result<void>> StackedVolumes::add_raid_spare(std::string name, std::string volume) {
    const auto array = find_raid(name);
    if (!array) {
        co_return std::unexpected(array.error());
    }
    auto member = take(name, volume);
    if (!member) {
        co_return std::unexpected(member.error());
    }
    (*array)->busy = true;
    (*array)->called[name_in_array(volume)] = volume;
    auto taken = co_await (*array)->raid->add_spare(std::move(*member));
    (*array)->busy = false;
    if (taken) {
        (*array)->lowers.insert(volume);
    } else {
        release(name, {volume});
    }
    co_return taken;
}

Task<Result<void>> StackedVolumes::replace_raid_member(std::string name,
                                                       std::string member,
                                                       std::string with) {
    const auto array = find_raid(name);
    if (!array) {
        co_return std::unexpected(array.error());
    }
    const bool is_new = !(*array)->lowers.contains(with);
    auto replacement = is_new ? take(name, with)
                              : Result<Member>(Member{name_in_array(with), volumes_.find(with)});
    if (!replacement) {
        co_return std::unexpected(replacement.error());
    }
    (*array)->busy = true;
    (*array)->called[name_in_array(with)] = with;
    auto begun = co_await (*array)->raid->replace(name_in_array(member), std::move(*replacement));
    (*array)->busy = false;
    if (is_new && begun) {
        (*array)->lowers.insert(with);
    } else if (is_new) {
        release(name, {with});
    }
    co_return begun;
}

Task<Result<void>> StackedVolumes::remove_raid_member(std::string name, std::string member) {
    const auto array = find_raid(name);
    if (!array) {
        co_return std::unexpected(array.error());
    }
    (*array)->busy = true;
    auto gone = co_await (*array)->raid->remove_member(name_in_array(member));
    (*array)->busy = false;
    co_return gone;
}

void StackedVolumes::release_raid_members(const std::string& name) {
    const auto array = find_raid(name);
    if (!array) {
        return;
    }
    std::set<std::string> unused = (*array)->lowers;
    const RaidStatus status = *raid_status(name);
    if (status.rebuilds()) {
        return;
    }
    for (const std::string& leaving : status.leaving) {
        unused.erase(leaving);
    }
    for (const services::raid::MemberStatus& member : status.members) {
        if (member.state != services::raid::MemberState::Missing) {
            unused.erase(member.name);
        }
    }
    for (const std::string& lower : unused) {
        (*array)->lowers.erase(lower);
    }
    release(name, unused);
}

void StackedVolumes::set_raid_rate(const std::string& name, std::uint64_t bytes_per_second) {
    if (const auto array = find_raid(name)) {
        (*array)->raid->set_rate_limit(bytes_per_second == 0 ? RaidDevice::kDefaultBytesPerSecond
                                                             : bytes_per_second);
    }
}

Result<void> StackedVolumes::scrub_raid(const std::string& name, bool on) {
    const auto array = find_raid(name);
    if (!array) {
        return std::unexpected(array.error());
    }
    if (on) {
        return (*array)->raid->start_scrub();
    }
    (*array)->raid->cancel_scrub();
    return {};
}

Task<Result<VolumeInfo>> StackedVolumes::create_integrity(IntegritySpec spec) {
    if (auto free = check_free(volumes_, spec.name); !free) {
        co_return std::unexpected(free.error());
    }
    const auto lower = volumes_.use(spec.lower, user_text(spec.name));
    if (!lower) {
        co_return std::unexpected(lower.error());
    }
    services::integrity::IntegrityOptions options;
    options.name = spec.name;
    options.uuid = spec.uuid;
    options.overwrite = spec.overwrite;
    options.scrub_when_unclean = true;
    // A new one may be there: its maker did not live to tell.
    auto device = co_await look_for_checksums(**lower, options, reactors_);
    if (!device && spec.fresh && device.error().kind != ErrorKind::Unavailable) {
        device = co_await IntegrityDevice::create(options, **lower, reactors_);
    }
    if (!device) {
        volumes_.release(spec.lower, user_text(spec.name));
        co_return std::unexpected(device.error());
    }
    Stacked made;
    made.integrity = device->get();
    made.lowers.insert(spec.lower);
    auto added = volumes_.add_owned(std::move(*device), kOtherVolumes);
    CHECK(added.has_value());  // as for an array
    stacked_.emplace(spec.name, std::move(made));
    co_return added;
}

std::optional<IntegrityStatus> StackedVolumes::integrity_status(const std::string& name) const {
    const auto found = stacked_.find(name);
    if (found == stacked_.end() || found->second.integrity == nullptr) {
        return std::nullopt;
    }
    return found->second.integrity->status();
}

void StackedVolumes::set_integrity_scrub_rate(const std::string& name,
                                              std::uint64_t bytes_per_second) {
    constexpr std::uint64_t kDefault = 64 * core::kMiB;
    const auto found = stacked_.find(name);
    if (found != stacked_.end() && found->second.integrity != nullptr) {
        found->second.integrity->set_scrub_rate(bytes_per_second == 0 ? kDefault
                                                                      : bytes_per_second);
    }
}

Result<void> StackedVolumes::scrub_integrity(const std::string& name, bool on) {
    const auto found = stacked_.find(name);
    if (found == stacked_.end() || found->second.integrity == nullptr) {
        return fail(ErrorKind::NotFound, "there is no integrity volume '" + name + "'");
    }
    if (on) {
        return found->second.integrity->start_scrub();
    }
    found->second.integrity->cancel_scrub();
    return {};
}

Task<Result<void>> StackedVolumes::remove(std::string name, End how) {
    const auto found = stacked_.find(name);
    CHECK(found != stacked_.end());
    if (found->second.busy) {
        co_return fail(ErrorKind::Aborted, "another call works on '" + name + "'; try again");
    }
    auto device = volumes_.remove(name);
    if (!device) {
        co_return std::unexpected(device.error());
    }
    const std::set<std::string> lowers = std::move(found->second.lowers);
    stacked_.erase(found);
    co_await (*device)->stop();
    device->reset();
    for (const std::string& lower : lowers) {
        block::CountedDevice* below = volumes_.find(lower);
        if (how == End::Stopped || below == nullptr) {
            continue;
        }
        if (const auto erased = co_await erase_marks(*below, reactors_.front()); !erased) {
            log::warn("marks of a deleted volume are left below it", log::kv("name", name),
                      log::kv("reason", erased.error().message));
        }
    }
    release(name, lowers);
    co_return Result<void>();
}

Task<std::size_t> StackedVolumes::stop_unused() {
    std::vector<std::string> names;
    for (const auto& [name, stacked] : stacked_) {
        if (volumes_.users(name).empty() && !stacked.busy) {
            names.push_back(name);
        }
    }
    std::size_t stopped = 0;
    for (const std::string& name : names) {
        stopped += co_await remove(name, End::Stopped) ? 1U : 0U;
    }
    co_return stopped;
}

}  // namespace remora::node
