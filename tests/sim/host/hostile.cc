// SPDX-License-Identifier: Apache-2.0
// The life of a hostile guest and what it does with running rings. What it says is in
// hostile_messages.cc.
#include "tests/sim/host/hostile.h"

#include "core/check.h"
#include "reactor/call.h"

namespace remora::sim {

using reactor::Nanos;
using reactor::Task;

namespace {

constexpr Nanos kConnect = std::chrono::seconds(5);
constexpr Nanos kRest{1'000'000'000};
constexpr Nanos kBetweenConnections = std::chrono::milliseconds(400);
constexpr Nanos kBetweenActs = std::chrono::milliseconds(30);
constexpr std::uint64_t kMostActs = 120;
constexpr std::uint64_t kStorm = 64;

}  // namespace

HostileGuest::HostileGuest(reactor::Reactor& reactor,
                           HostWorld& world,
                           std::string path,
                           WorkloadOptions options,
                           core::Prng prng)
    : reactor_(reactor),
      world_(world),
      path_(std::move(path)),
      options_(options),
      modes_(options.hostile),
      prng_(prng),
      channel_(reactor, {}, {}) {
    GuestRamOptions ram;
    ram.bytes = HostileRing::kBytes * options_.queues;
    ram.regions = options_.memory_regions;
    ram.gap = options_.memory_gap;
    ram.split = ram.bytes - HostileRing::kBytes / 2;
    ram_ = std::make_unique<GuestRam>(reactor_.io(), ram);
    for (std::uint16_t i = 0; i < options_.queues; ++i) {
        rings_.push_back(
            std::make_unique<HostileRing>(*ram_, HostileRing::kBytes * i, options_.hostile));
        const reactor::Handle handle = world_.create_event();
        auto kick = reactor_.io().adopt_event(handle);
        CHECK(kick.has_value());
        kicks_.emplace_back(handle, std::move(*kick));
    }
}

HostileGuest::~HostileGuest() {
    clear_scrap();
}

void HostileGuest::start() {
    gate_.spawn([](HostileGuest* self) -> Task<> { co_await self->run(); }, this);
}

Task<> HostileGuest::stop() {
    stopping_ = true;
    channel_.close();
    co_await gate_.close();
}

Task<> HostileGuest::pause(Nanos most) {
    co_await reactor::sleep_for(
        Nanos(static_cast<Nanos::rep>(prng_.below(static_cast<std::uint64_t>(most.count()) + 1))));
}

Task<> HostileGuest::run() {
    while (!stopping_) {
        if (world_.calm()) {
            co_await reactor::sleep_for(kRest);
            continue;
        }
        const auto opened = co_await channel_.open(path_, reactor_.now() + kConnect);
        if (opened && !stopping_) {
            ++connections_;
            co_await live();
            world_.trace("hostile guest hangs up", connections_, acts_);
        }
        channel_.close();
        clear_scrap();
        co_await pause(kBetweenConnections);
    }
}

// All at once break a ring soon; few leave it alive for long.
void HostileGuest::draw_modes() {
    modes_ = options_.hostile;
    if (one_in(3)) {
        modes_ &= static_cast<std::uint32_t>(prng_.next());
    } else if (one_in(2)) {
        modes_ &= static_cast<std::uint32_t>(prng_.next() & prng_.next() & prng_.next());
    }
}

Task<> HostileGuest::live() {
    draw_modes();
    const bool packed = one_in(2);
    for (const auto& ring : rings_) {
        ring->reset(packed);
        ring->set_modes(modes_);
    }
    spoils_ = one_in(2);
    const bool running = co_await set_up();
    spoils_ = true;
    if (!running) {
        co_return;
    }
    ++sessions_;
    const std::uint64_t most = 1 + prng_.below(kMostActs);
    for (std::uint64_t i = 0; i < most && !stopping_ && !world_.calm() && channel_.is_open(); ++i) {
        ++acts_;
        co_await act();
        if (one_in(3)) {
            co_await pause(kBetweenActs);
        }
    }
}

Task<> HostileGuest::act() {
    const bool talks = has(HostileMode::MemoryReplaced) || has(HostileMode::MemoryUnmapped) ||
                       has(HostileMode::BadHandles) || has(HostileMode::UnknownMessages) ||
                       has(HostileMode::BadSizes) || has(HostileMode::DisconnectMidMessage) ||
                       has(HostileMode::VringChurn) || has(HostileMode::BadInflight);
    guest_act();
    if (talks && one_in(6)) {
        co_await message_act();
    }
}

void HostileGuest::guest_act() {
    const auto queue = static_cast<std::uint16_t>(prng_.below(rings_.size()));
    const std::uint64_t count = 1 + prng_.below(4);
    for (std::uint64_t i = 0; i < count; ++i) {
        rings_[queue]->offer(prng_);
    }
    kick(queue, has(HostileMode::KickStorms) ? prng_.below(kStorm) : 1);
}

void HostileGuest::kick(std::uint16_t queue, std::uint64_t times) {
    for (std::uint64_t i = 0; i < times; ++i) {
        kicks_[queue].second->signal();
    }
}

void HostileGuest::mutate(core::Prng& prng) {
    HostileRing& ring = *rings_[prng.below(rings_.size())];
    if (has(HostileMode::FullRing) && prng.below(4) == 0) {
        ring.flood();
    } else if (has(HostileMode::DoubleFetch)) {
        ring.mutate(prng);
    }
}

}  // namespace remora::sim
