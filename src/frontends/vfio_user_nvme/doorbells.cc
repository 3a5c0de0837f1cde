// SPDX-License-Identifier: Apache-2.0
#include "frontends/vfio_user_nvme/doorbells.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/check.h"
#include "frontends/vfio_user_nvme/queue_memory.h"

namespace remora::frontends::vfio_user_nvme {

namespace {

/// How soon the doorbells of a controller without work are looked at again: after half of the time
/// since its last command. A look takes 30 us and more of a core that was asleep, whoever else is
/// looked at then.
constexpr core::Nanos kIdleShortest{50'000};
constexpr core::Nanos kIdleLongest{12'000'000};

}  // namespace

core::Result<std::unique_ptr<Doorbells>> Doorbells::create(reactor::Io& io, std::size_t offset) {
    auto handle = io.create_shared_memory(offset + kBytes);
    if (!handle) {
        return core::fail("doorbells", handle.error());
    }
    auto mapping = io.map(*handle, 0, offset + kBytes);
    if (!mapping) {
        io.close(*handle);
        return core::fail("doorbells", mapping.error());
    }
    return std::unique_ptr<Doorbells>(new Doorbells(io, *handle, offset, std::move(*mapping)));
}

core::Result<void> Doorbells::renew() {
    auto handle = io_.create_shared_memory(offset_ + kBytes);
    if (!handle) {
        return core::fail("doorbells", handle.error());
    }
    auto done = adopt(*handle);
    in_use_ = done ? 2 : in_use_;  // nobody's yet but the admin queue's
    return done;
}

core::Result<void> Doorbells::adopt(reactor::Handle handle) {
    auto mapping = io_.map(handle, 0, offset_ + kBytes);
    if (!mapping) {
        io_.close(handle);
        return core::fail("doorbells", mapping.error());
    }
    use(std::move(*mapping));
    in_use_ = kCount;  // whatever queues are restored
    io_.close(std::exchange(handle_, handle));
    return {};
}

void Doorbells::restore(std::span<const std::byte> from) {
    CHECK(from.size() == kBytes);
    std::memcpy(page().data(), from.data(), kBytes);
    in_use_ = kCount;  // whatever queues are restored
}

void Doorbells::reset(std::uint32_t index) {
    in_use_ = std::max(in_use_, index + 1);
    store(page(), index, 0);
    if (uses_shadow(index)) {
        store(shadow_, index, 0);
        store(events_, index, 0);
    }
}

void Doorbells::reset_all() {
    std::memset(page().data(), 0, kBytes);
    values_address_ = events_address_ = 0;
    shadow_ = events_ = {};
    in_use_ = 2;  // the admin queue's
}

bool Doorbells::set_shadow(const memory::GuestMemory& guest,
                           std::uint64_t values,
                           std::uint64_t events) {
    const std::uint64_t old_values = std::exchange(values_address_, values);
    const std::uint64_t old_events = std::exchange(events_address_, events);
    locate(guest);
    if (values == 0 || shadow_.empty()) {
        values_address_ = old_values;
        events_address_ = old_events;
        locate(guest);
        return false;
    }
    return true;
}

void Doorbells::begin_watch() {
    for (std::uint32_t index = 0; index < in_use_; ++index) {
        remembered_[index] = load(index);
    }
}

bool Doorbells::changed() const {
    for (std::uint32_t index = 0; index < in_use_; ++index) {
        if (load(index) != remembered_[index]) {
            return true;
        }
    }
    return false;
}

core::Nanos Doorbells::next_look(core::Nanos now) const {
    return now + std::clamp((now - last_use_) / 2, kIdleShortest, kIdleLongest);
}

void Doorbells::locate(const memory::GuestMemory& guest) {
    shadow_ = events_ = {};
    if (values_address_ == 0) {
        return;
    }
    const auto values = aligned_memory(guest, values_address_, kBytes);
    const auto events = aligned_memory(guest, events_address_, kBytes);
    if (!values.empty() && !events.empty()) {
        shadow_ = values;
        events_ = events;
    }
}

void Doorbells::request(std::uint32_t index, std::uint32_t value) {
    if (uses_shadow(index)) {
        store(events_, index, value);
        // The host writes its value and then reads this; here it is the other way round, and one of
        // both sees what the other wrote.
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    }
}

}  // namespace remora::frontends::vfio_user_nvme
