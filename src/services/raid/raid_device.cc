// SPDX-License-Identifier: Apache-2.0
#include "services/raid/raid_device.h"

#include <utility>

#include "core/check.h"
#include "services/raid/raid_home.h"

namespace remora::services::raid {

using core::Result;
using reactor::Task;

Task<Result<std::unique_ptr<RaidDevice>>> RaidDevice::create(
    RaidOptions options,
    std::vector<Member> members,
    std::span<const block::ReactorContext> reactors) {
    CHECK(!reactors.empty());
    auto home = std::make_unique<RaidHome>(std::move(options), reactors);
    const Result<void> made = co_await home->create(std::move(members));
    if (!made) {
        co_await home->stop();
        co_return std::unexpected(made.error());
    }
    co_return std::unique_ptr<RaidDevice>(new RaidDevice(std::move(home)));
}

Task<Result<std::unique_ptr<RaidDevice>>> RaidDevice::assemble(
    RaidOptions options,
    std::vector<Member> members,
    std::span<const block::ReactorContext> reactors) {
    CHECK(!reactors.empty());
    auto home = std::make_unique<RaidHome>(std::move(options), reactors);
    const Result<void> made = co_await home->assemble(std::move(members));
    if (!made) {
        co_await home->stop();
        co_return std::unexpected(made.error());
    }
    co_return std::unique_ptr<RaidDevice>(new RaidDevice(std::move(home)));
}

RaidDevice::RaidDevice(std::unique_ptr<RaidHome> home)
    : Device(home->options().name, home->options().uuid), home_(std::move(home)) {}

RaidDevice::~RaidDevice() = default;

RaidStatus RaidDevice::status() const {
    return home_->status();
}

void RaidDevice::set_observer(RaidObserver* observer) {
    home_->set_observer(observer);
}

Level RaidDevice::level() const {
    return home_->options().level;
}

Task<Result<void>> RaidDevice::add_spare(Member member) {
    co_return co_await home_->add_spare(std::move(member));
}

Task<Result<void>> RaidDevice::replace(std::string member, Member with) {
    co_return co_await home_->replace(std::move(member), std::move(with));
}

Task<Result<void>> RaidDevice::remove_member(std::string member) {
    co_return co_await home_->remove_member(std::move(member));
}

void RaidDevice::set_rate_limit(std::uint64_t bytes_per_second) {
    home_->set_rate_limit(bytes_per_second);
}

Result<void> RaidDevice::start_scrub() {
    return home_->start_scrub();
}

void RaidDevice::cancel_scrub() {
    home_->cancel_scrub();
}

block::Geometry RaidDevice::geometry() const {
    return home_->geometry();
}

Result<std::unique_ptr<block::Channel>> RaidDevice::open_channel() {
    return home_->open_channel();
}

Task<> RaidDevice::stop() {
    co_await home_->stop();
}

}  // namespace remora::services::raid
