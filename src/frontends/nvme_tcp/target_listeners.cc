// SPDX-License-Identifier: Apache-2.0
// Target: listeners and what discovery tells.
#include <algorithm>

#include "frontends/nvme_tcp/shard.h"
#include "frontends/nvme_tcp/target.h"
#include "frontends/nvme_tcp/target_detail.h"
#include "reactor/call.h"

namespace remora::frontends::nvme_tcp {

using core::ErrorKind;
using core::fail;

namespace {

Result<void> check_listen_address(const Endpoint& at) {
    const bool wildcard = at.address == "0.0.0.0" || at.address == "::" || at.address.empty();
    if (at.family != Endpoint::Family::Tcp || wildcard) {
        return fail(ErrorKind::InvalidArgument,
                    "cannot listen on '" + at.text() +
                        "': a listener needs the address that hosts connect to, such as "
                        "192.0.2.1:4420");
    }
    return {};
}

}  // namespace

Result<Listener*> Target::open_listener(const Endpoint& at) {
    if (const auto known = listeners_.find(at); known != listeners_.end()) {
        return known->second.get();
    }
    if (listeners_.size() >= limits_.listeners) {
        return fail(ErrorKind::ResourceExhausted,
                    "there are " + std::to_string(limits_.listeners) + " listeners, the limit");
    }
    auto opened = Listener::open(*this, control_, at, next_port_id_);
    if (!opened) {
        return std::unexpected(opened.error());
    }
    ++next_port_id_;
    Listener* listener = opened->get();
    listeners_.emplace(listener->local(), std::move(*opened));
    return listener;
}

Task<Result<Endpoint>> Target::do_add_listener(std::string nqn, Endpoint at, AnaState state) {
    auto subsystem = find(nqn);
    if (!subsystem) {
        co_return std::unexpected(subsystem.error());
    }
    if (auto good = check_listen_address(at); !good) {
        co_return std::unexpected(good.error());
    }
    auto listener = open_listener(at);
    if (!listener) {
        co_return std::unexpected(listener.error());
    }
    const Endpoint local = (*listener)->local();
    if (!(*subsystem)->listeners.insert(local).second) {
        co_return local;
    }
    for (const auto& shard : shards_) {
        Shard* to = shard.get();
        co_await reactor::call_on(to->reactor(), [&, to] { to->open_port(nqn, local, state); });
    }
    co_await publish_discovery();
    co_return local;
}

Task<Result<void>> Target::do_remove_listener(std::string nqn, Endpoint at) {
    auto subsystem = find(nqn);
    if (!subsystem) {
        co_return std::unexpected(subsystem.error());
    }
    if ((*subsystem)->listeners.erase(at) == 0) {
        co_return fail(ErrorKind::NotFound,
                       "subsystem '" + nqn + "' has no listener at " + at.text());
    }
    for (const auto& shard : shards_) {
        Shard* to = shard.get();
        co_await reactor::call_on(to->reactor(), [to, &nqn, &at] { to->close_port(nqn, at); });
    }
    close_unused_listeners();
    co_await publish_discovery();
    co_return Result<void>();
}

Task<Result<void>> Target::do_set_ana_state(std::string nqn, Endpoint at, AnaState state) {
    auto subsystem = find(nqn);
    if (!subsystem) {
        co_return std::unexpected(subsystem.error());
    }
    if (!(*subsystem)->listeners.contains(at)) {
        co_return fail(ErrorKind::NotFound,
                       "subsystem '" + nqn + "' has no listener at " + at.text());
    }
    for (const auto& shard : shards_) {
        Shard* to = shard.get();
        co_await reactor::call_on(to->reactor(), [&, to] { to->set_ana_state(nqn, at, state); });
    }
    co_return Result<void>();
}

Task<Result<void>> Target::do_put_stage(std::string nqn,
                                        Endpoint at,
                                        std::shared_ptr<block::Stage> stage) {
    auto subsystem = find(nqn);
    if (!subsystem) {
        co_return std::unexpected(subsystem.error());
    }
    if (!(*subsystem)->listeners.contains(at)) {
        co_return fail(ErrorKind::NotFound,
                       "subsystem '" + nqn + "' has no listener at " + at.text());
    }
    for (const auto& shard : shards_) {
        Shard* to = shard.get();
        auto put = co_await reactor::call_on(to->reactor(),
                                             [&, to] { return to->put_stage(nqn, at, stage); });
        if (!put) {
            co_return put;
        }
    }
    co_return Result<void>();
}

Task<Result<void>> Target::do_set_referrals(std::vector<Referral> referrals) {
    if (referrals.size() > limits_.referrals) {
        co_return fail(ErrorKind::ResourceExhausted, "at most " +
                                                         std::to_string(limits_.referrals) +
                                                         " other discovery services can be named");
    }
    referrals_ = std::move(referrals);
    co_await publish_discovery();
    co_return Result<void>();
}

void Target::close_unused_listeners() {
    std::erase_if(listeners_, [this](const auto& entry) {
        return std::ranges::none_of(subsystems_, [&entry](const auto& subsystem) {
            return subsystem.second->listeners.contains(entry.first);
        });
    });
}

Task<> Target::publish_discovery() {
    nvme::Directory directory;
    directory.unique_nqn = discovery_nqn_;
    directory.generation = ++generation_;
    for (const auto& [at, listener] : listeners_) {
        directory.entries.push_back({.kind = nvme::DirectoryEntry::Kind::Self,
                                     .subnqn = discovery_nqn_.empty()
                                                   ? std::string(nvme::spec::kDiscoveryNqn)
                                                   : discovery_nqn_,
                                     .endpoint = at,
                                     .port_id = listener->port_id()});
    }
    for (const Referral& referral : referrals_) {
        directory.entries.push_back({.kind = nvme::DirectoryEntry::Kind::Referral,
                                     .subnqn = referral.subnqn,
                                     .endpoint = referral.endpoint});
    }
    for (const auto& [nqn, subsystem] : subsystems_) {
        for (const Endpoint& at : subsystem->listeners) {
            directory.entries.push_back({.subnqn = nqn,
                                         .endpoint = at,
                                         .port_id = listeners_.at(at)->port_id(),
                                         .allowed_hosts = subsystem->identity.allowed_hosts});
        }
    }
    for (const auto& shard : shards_) {
        Shard* to = shard.get();
        co_await reactor::call_on(to->reactor(),
                                  [to, &directory] { to->set_directory(directory); });
    }
}

}  // namespace remora::frontends::nvme_tcp
