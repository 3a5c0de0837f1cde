// SPDX-License-Identifier: Apache-2.0
#include "vfio_user/migration.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "core/check.h"
#include "core/log.h"

namespace remora::vfio_user {

std::expected<Migration::Progress, int> Migration::change(std::uint32_t to) {
    const auto wanted = static_cast<DeviceState>(to);
    const bool known = wanted == DeviceState::Stop || wanted == DeviceState::Running ||
                       wanted == DeviceState::StopCopy || wanted == DeviceState::Resuming;
    if (!known || state_ == DeviceState::Error) {
        return std::unexpected(EINVAL);
    }
    if (wanted == state_) {
        return Progress::Done;
    }
    wanted_ = wanted;
    if (state_ == DeviceState::Running && !device_.halt()) {
        return Progress::Halting;
    }
    if (auto finished = finish(); !finished) {
        return std::unexpected(finished.error());
    }
    return Progress::Done;
}

std::expected<void, int> Migration::finish() {
    if (state_ == DeviceState::Resuming) {
        const auto loaded = device_.load(data_);
        if (!loaded) {
            log::warn("a function's state is refused", log::kv("reason", loaded.error().message));
            state_ = DeviceState::Error;
            data_ = {};
            return std::unexpected(EINVAL);
        }
    }
    const bool was_running = state_ == DeviceState::Running;
    state_ = DeviceState::Stop;
    data_ = {};
    read_ = 0;
    auto entered = enter(wanted_);
    if (!entered && was_running) {
        device_.go_on();
        state_ = DeviceState::Running;
    }
    return entered;
}

std::expected<void, int> Migration::enter(DeviceState to) {
    CHECK(state_ == DeviceState::Stop);
    if (to == DeviceState::StopCopy) {
        auto saved = device_.save();
        if (!saved) {
            log::warn("a function's state cannot be read",
                      log::kv("reason", saved.error().message));
            return std::unexpected(EBUSY);
        }
        CHECK(saved->size() <= kMaxStateBytes);
        data_ = std::move(*saved);
    } else if (to == DeviceState::Running) {
        device_.go_on();
    }
    state_ = to;
    return {};
}

void Migration::reset() {
    if (state_ != DeviceState::Running) {
        device_.go_on();
    }
    state_ = DeviceState::Running;
    data_ = {};
    read_ = 0;
}

std::expected<std::span<const std::byte>, int> Migration::read(std::size_t bytes) {
    if (state_ != DeviceState::StopCopy) {
        return std::unexpected(EINVAL);
    }
    const auto rest = std::span(data_).subspan(read_);
    const auto next = rest.first(std::min(rest.size(), bytes));
    read_ += next.size();
    return next;
}

std::expected<void, int> Migration::write(std::span<const std::byte> bytes) {
    if (state_ != DeviceState::Resuming) {
        return std::unexpected(EINVAL);
    }
    if (bytes.size() > kMaxStateBytes - data_.size()) {
        return std::unexpected(ENOSPC);
    }
    data_.insert(data_.end(), bytes.begin(), bytes.end());
    return {};
}

}  // namespace remora::vfio_user
