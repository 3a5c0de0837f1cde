// SPDX-License-Identifier: Apache-2.0
// Target: its calls, subsystems and the end; target_listeners.cc and target_namespaces.cc have the
// rest.
#include "frontends/nvme_tcp/target.h"

#include <algorithm>

#include "core/crc32c.h"
#include "core/log.h"
#include "frontends/nvme_tcp/reservations.h"
#include "frontends/nvme_tcp/shard.h"
#include "frontends/nvme_tcp/slot.h"
#include "frontends/nvme_tcp/target_detail.h"
#include "frontends/nvme_tcp/turnstile.h"
#include "nvme/spec/fabrics.h"
#include "reactor/call.h"

namespace remora::frontends::nvme_tcp {

using core::ErrorKind;
using core::fail;

namespace {

constexpr std::size_t kSerialBytes = 20;
constexpr std::size_t kModelBytes = 40;

bool printable(std::string_view text) {
    return std::ranges::all_of(text, [](char c) { return c >= 0x20 && c <= 0x7e; });
}

Result<void> check_nqn(const std::string& nqn) {
    if (nqn.size() > nvme::spec::kNqnMaxBytes || !nqn.starts_with("nqn.") || !printable(nqn) ||
        nqn.find(' ') != std::string::npos) {
        return fail(ErrorKind::InvalidArgument,
                    "'" + nqn +
                        "' is no NQN: it would be nqn.yyyy-mm.reverse.domain:name, at most 223 "
                        "bytes without spaces");
    }
    if (nqn == nvme::spec::kDiscoveryNqn) {
        return fail(ErrorKind::InvalidArgument,
                    "'" + nqn + "' is the discovery subsystem, which every listener has already");
    }
    return {};
}

/// A serial number for a subsystem that was given none: the same for the same NQN.
std::string serial_from(const std::string& nqn) {
    static constexpr char kDigits[] = "0123456789ABCDEF";
    std::uint32_t crc = core::crc32c(std::as_bytes(std::span(nqn)));
    std::string serial = "RMR";
    for (int digit = 0; digit < 8; ++digit) {
        serial += kDigits[crc >> 28U];
        crc <<= 4U;
    }
    return serial;
}

}  // namespace

Target::Target(std::span<const block::ReactorContext> reactors,
               reactor::Reactor& control,
               TargetLimits limits,
               std::string discovery_nqn)
    : reactors_(reactors.begin(), reactors.end()),
      control_(control),
      limits_(limits),
      discovery_nqn_(std::move(discovery_nqn)),
      turnstile_(std::make_unique<Turnstile>()) {
    CHECK(!reactors_.empty());
    CHECK(limits_.queue_depth >= 2 && limits_.queue_depth <= Slot::kMaxSlots);
    CHECK((std::size_t{4096} << limits_.transfer_shift) <= memory::BufferPool::kMaxBytes);
    CHECK(limits_.transfer_shift > 0);  // MDTS 0 would say that there is no limit
    CHECK(limits_.max_h2c_data >= nvme::tcp::kMinMaxH2cData && limits_.max_h2c_data % 4 == 0);
    CHECK(limits_.controllers > 0 && limits_.io_queues > 0);
    const auto count = static_cast<std::uint32_t>(reactors_.size());
    std::vector<Shard*> peers;
    for (std::uint32_t i = 0; i < count; ++i) {
        shards_.push_back(std::make_unique<Shard>(reactors_[i], i, count, limits_));
        peers.push_back(shards_.back().get());
    }
    reservations_ = std::make_unique<Reservations>(control_, shards_, limits_.drain);
    mark_store_ = std::make_unique<MarkStore>(control_);
    for (const auto& shard : shards_) {
        shard->set_peers(peers);
        shard->set_reservations(*reservations_);
        shard->set_mark_store(*mark_store_);
    }
}

Target::~Target() {
    CHECK(stopped_);
}

void Target::set_reservation_keeper(nvme::ReservationKeeper* keeper) {
    reservations_->set_keeper(keeper);
}

void Target::set_uncorrectable_keeper(nvme::UncorrectableKeeper* keeper) {
    mark_store_->keeper = keeper;
}

void Target::accepted(reactor::Handle connection, const Endpoint& at) {
    Shard& shard = *shards_[next_shard_];
    next_shard_ = (next_shard_ + 1) % shards_.size();
    shard.reactor().post_function([&shard, connection, at] { shard.adopt(connection, at); });
}

// --- Public calls: one at a time ---

Task<Result<void>> Target::create_subsystem(SubsystemOptions options) {
    co_await turnstile_->enter();
    Result<void> result = co_await do_create_subsystem(std::move(options));
    turnstile_->leave();
    co_return result;
}

Task<Result<void>> Target::delete_subsystem(std::string nqn) {
    co_await turnstile_->enter();
    Result<void> result = co_await do_delete_subsystem(std::move(nqn));
    turnstile_->leave();
    co_return result;
}

Task<Result<Endpoint>> Target::add_listener(std::string nqn, Endpoint at, AnaState state) {
    co_await turnstile_->enter();
    Result<Endpoint> result = co_await do_add_listener(std::move(nqn), std::move(at), state);
    turnstile_->leave();
    co_return result;
}

Task<Result<void>> Target::set_ana_state(std::string nqn, Endpoint at, AnaState state) {
    co_await turnstile_->enter();
    Result<void> result = co_await do_set_ana_state(std::move(nqn), std::move(at), state);
    turnstile_->leave();
    co_return result;
}

Task<Result<void>> Target::put_stage(std::string nqn,
                                     Endpoint at,
                                     std::shared_ptr<block::Stage> stage) {
    co_await turnstile_->enter();
    Result<void> result = co_await do_put_stage(std::move(nqn), std::move(at), std::move(stage));
    turnstile_->leave();
    co_return result;
}

Task<Result<void>> Target::set_referrals(std::vector<Referral> referrals) {
    co_await turnstile_->enter();
    Result<void> result = co_await do_set_referrals(std::move(referrals));
    turnstile_->leave();
    co_return result;
}

Task<Result<void>> Target::remove_listener(std::string nqn, Endpoint at) {
    co_await turnstile_->enter();
    Result<void> result = co_await do_remove_listener(std::move(nqn), std::move(at));
    turnstile_->leave();
    co_return result;
}

Task<Result<std::uint32_t>> Target::add_namespace(std::string nqn, NamespaceOptions options) {
    co_await turnstile_->enter();
    Result<std::uint32_t> result = co_await do_add_namespace(std::move(nqn), options);
    turnstile_->leave();
    co_return result;
}

Task<Result<void>> Target::remove_namespace(std::string nqn, std::uint32_t nsid) {
    co_await turnstile_->enter();
    Result<void> result = co_await do_remove_namespace(std::move(nqn), nsid);
    turnstile_->leave();
    co_return result;
}

Task<Result<void>> Target::refresh_namespace(std::string nqn, std::uint32_t nsid) {
    co_await turnstile_->enter();
    Result<void> result = co_await do_refresh_namespace(std::move(nqn), nsid);
    turnstile_->leave();
    co_return result;
}

Task<> Target::stop() {
    co_await turnstile_->enter();
    co_await do_stop();
    turnstile_->leave();
}

Task<TargetStats> Target::stats() {
    co_await turnstile_->enter();
    TargetStats stats;
    for (const auto& shard : shards_) {
        Shard* at = shard.get();
        co_await reactor::call_on(at->reactor(), [at, &stats] { at->add_stats(stats); });
    }
    turnstile_->leave();
    co_return stats;
}

// --- Subsystems ---

Result<Target::Subsystem*> Target::find(const std::string& nqn) {
    const auto at = subsystems_.find(nqn);
    if (stopped_ || at == subsystems_.end()) {
        return fail(ErrorKind::NotFound, "there is no subsystem '" + nqn + "'");
    }
    return at->second.get();
}

Task<Result<void>> Target::do_create_subsystem(SubsystemOptions options) {
    if (auto good = check_nqn(options.nqn); !good) {
        co_return std::unexpected(good.error());
    }
    if (options.serial.size() > kSerialBytes || !printable(options.serial)) {
        co_return fail(ErrorKind::InvalidArgument,
                       "a serial number is at most 20 printable ASCII characters");
    }
    if (options.model.size() > kModelBytes || !printable(options.model)) {
        co_return fail(ErrorKind::InvalidArgument,
                       "a model number is at most 40 printable ASCII characters");
    }
    if (options.max_namespaces > limits_.namespaces) {
        co_return fail(
            ErrorKind::InvalidArgument,
            "a subsystem has at most " + std::to_string(limits_.namespaces) + " namespaces");
    }
    if (subsystems_.contains(options.nqn)) {
        co_return fail(ErrorKind::AlreadyExists,
                       "a subsystem '" + options.nqn + "' exists already");
    }
    if (stopped_ || subsystems_.size() >= limits_.subsystems) {
        co_return fail(
            ErrorKind::ResourceExhausted,
            "there are " + std::to_string(limits_.subsystems) + " subsystems already, the limit");
    }
    auto made = std::make_unique<Subsystem>();
    made->identity.nqn = options.nqn;
    made->identity.serial = options.serial.empty() ? serial_from(options.nqn) : options.serial;
    made->identity.model = options.model.empty() ? std::string("Remora") : options.model;
    made->identity.max_namespaces =
        options.max_namespaces == 0 ? limits_.namespaces : options.max_namespaces;
    made->identity.allowed_hosts = std::move(options.allowed_hosts);
    const nvme::SubsystemIdentity* identity = &made->identity;
    for (const auto& shard : shards_) {
        Shard* at = shard.get();
        co_await reactor::call_on(at->reactor(), [at, identity] { at->add_replica(*identity); });
    }
    subsystems_.emplace(made->identity.nqn, std::move(made));
    co_return Result<void>();
}

Task<Result<void>> Target::do_delete_subsystem(std::string nqn) {
    if (auto found = find(nqn); !found) {
        co_return std::unexpected(found.error());
    }
    const std::string* name = &nqn;
    for (const auto& shard : shards_) {
        Shard* at = shard.get();
        co_await reactor::call_on(at->reactor(), [at, name] { at->close_replica(*name); });
    }
    for (const auto& shard : shards_) {
        Shard* at = shard.get();
        co_await reactor::call_on(at->reactor(), [at, name] { return at->remove_replica(*name); });
    }
    co_await reservations_->remove_all(nqn);
    subsystems_.erase(nqn);
    close_unused_listeners();
    co_await publish_discovery();
    co_return Result<void>();
}

// --- The end ---

Task<> Target::do_stop() {
    if (stopped_) {
        co_return;
    }
    stopped_ = true;
    listeners_.clear();
    for (const auto& shard : shards_) {
        Shard* at = shard.get();
        co_await reactor::call_on(at->reactor(), [at] { at->close_all(); });
    }
    for (const auto& shard : shards_) {
        Shard* at = shard.get();
        co_await reactor::call_on(at->reactor(), [at] { return at->wait_empty(); });
    }
    for (const auto& shard : shards_) {
        Shard* at = shard.get();
        for (const auto& [nqn, subsystem] : subsystems_) {
            const std::string* name = &nqn;
            co_await reactor::call_on(at->reactor(),
                                      [at, name] { return at->remove_replica(*name); });
        }
    }
    // Messages between the shards that arrive late must still find them.
    for (const auto& shard : shards_) {
        Shard* at = shard.get();
        co_await reactor::call_on(at->reactor(), [at] { return at->settle(); });
    }
    for (const auto& [nqn, subsystem] : subsystems_) {
        co_await reservations_->remove_all(nqn);
    }
    subsystems_.clear();
}

}  // namespace remora::frontends::nvme_tcp
