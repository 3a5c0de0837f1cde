// SPDX-License-Identifier: Apache-2.0
// LocalNode's NVMe side: subsystems, what is shown in them, and the ways to them.
#include <vector>

#include "core/log.h"
#include "node/local_node.h"
#include "reactor/call.h"

namespace remora::node {

using core::ErrorKind;

namespace {

std::string namespace_user(const std::string& nqn) {
    return "a namespace of " + nqn;
}

}  // namespace

Task<Result<void>> LocalNode::create_subsystem(SubsystemSpec spec) {
    frontends::nvme_tcp::SubsystemOptions options;
    options.nqn = spec.nqn;
    options.serial = spec.serial;
    options.model = spec.model;
    options.max_namespaces = spec.max_namespaces;
    if (!spec.allowed_host.empty()) {
        options.allowed_hosts.push_back(spec.allowed_host);
    }
    co_return co_await target_.create_subsystem(std::move(options));
}

void LocalNode::release_namespace(const NamespaceKey& key) {
    const auto at = namespaces_.find(key);
    CHECK(at != namespaces_.end());
    volumes_.release(at->second.volume, namespace_user(key.first));
    namespaces_.erase(at);
}

Task<Result<void>> LocalNode::delete_subsystem(std::string nqn) {
    if (const std::string function = vfio_.one_of(nqn); !function.empty()) {
        co_return fail(ErrorKind::FailedPrecondition,
                       "the subsystem has the NVMe controller '" + function + "'");
    }
    co_await controllers_.lift_all(nqn);  // or it would wait for what they hold back
    auto deleted = co_await target_.delete_subsystem(nqn);
    if (deleted) {
        for (auto at = namespaces_.lower_bound({nqn, 0});
             at != namespaces_.end() && at->first.first == nqn;) {
            const NamespaceKey key = (at++)->first;
            release_namespace(key);
        }
    }
    co_return deleted;
}

Task<Result<Endpoint>> LocalNode::add_listener(std::string nqn, Endpoint at, AnaState state) {
    // After a kill the kernel may still be closing the old process's socket.
    const core::Nanos deadline = reactor::Reactor::current().now() + options_.listen_limit;
    while (true) {
        auto added = co_await target_.add_listener(nqn, at, state);
        if (added || added.error().kind != ErrorKind::FailedPrecondition ||
            reactor::Reactor::current().now() >= deadline) {
            co_return added;
        }
        co_await reactor::sleep_for(std::chrono::milliseconds(50));
    }
}

Task<Result<void>> LocalNode::remove_listener(std::string nqn, Endpoint at) {
    auto removed = co_await target_.remove_listener(nqn, at);
    if (removed) {
        co_await controllers_.lift(std::move(nqn), std::move(at));
    }
    co_return removed;
}

Task<Result<void>> LocalNode::set_ana_state(std::string nqn, Endpoint at, AnaState state) {
    return target_.set_ana_state(std::move(nqn), std::move(at), state);
}

Task<Result<void>> LocalNode::set_controller_rates(std::string nqn, Endpoint at, Rates rates) {
    return controllers_.set(std::move(nqn), std::move(at), rates);
}

Task<std::uint64_t> LocalNode::controller_throttled_ns(std::string nqn, Endpoint at) {
    return controllers_.throttled_ns(std::move(nqn), std::move(at));
}

Task<> LocalNode::set_competition(Competition competition) {
    std::vector<ControllerCompetitor> controllers = controllers_.competitors();
    for (ControllerCompetitor& one : vfio_.competitors()) {
        controllers.push_back(std::move(one));
    }
    return competitors_.set(std::move(competition), volumes_, std::move(controllers));
}

Task<Result<void>> LocalNode::set_referrals(std::vector<ReferralSpec> referrals) {
    std::vector<frontends::nvme_tcp::Referral> to;
    for (ReferralSpec& referral : referrals) {
        to.push_back({.endpoint = std::move(referral.endpoint)});
        if (!referral.subnqn.empty()) {
            to.back().subnqn = std::move(referral.subnqn);
        }
    }
    return target_.set_referrals(std::move(to));
}

Task<Result<std::uint32_t>> LocalNode::add_namespace(NamespaceSpec spec) {
    const auto device = volumes_.use(spec.volume, namespace_user(spec.nqn));
    if (!device) {
        co_return std::unexpected(device.error());
    }
    frontends::nvme_tcp::NamespaceOptions options;
    options.nsid = spec.nsid;
    options.device = *device;
    options.uuid = spec.uuid;
    options.nguid = spec.nguid;
    options.eui64 = spec.eui64;
    options.reservation = std::move(spec.reservation);
    options.uncorrectable = std::move(spec.uncorrectable);
    const auto nsid = co_await target_.add_namespace(spec.nqn, options);
    if (!nsid) {
        volumes_.release(spec.volume, namespace_user(spec.nqn));
        co_return std::unexpected(nsid.error());
    }
    spec.nsid = *nsid;
    spec.reservation = {};
    spec.uncorrectable = {};
    if (auto shown = co_await vfio_.add_namespace(spec); !shown) {
        (void)co_await target_.remove_namespace(spec.nqn, *nsid);
        volumes_.release(spec.volume, namespace_user(spec.nqn));
        co_return std::unexpected(shown.error());
    }
    namespaces_[{spec.nqn, *nsid}] = std::move(spec);
    co_return *nsid;
}

Task<Result<void>> LocalNode::remove_namespace(std::string nqn, std::uint32_t nsid) {
    if (auto hidden = co_await vfio_.remove_namespace(nqn, nsid); !hidden) {
        co_return hidden;
    }
    auto removed = co_await target_.remove_namespace(nqn, nsid);
    if (removed) {
        release_namespace({nqn, nsid});
    }
    co_return removed;
}

Task<Result<void>> LocalNode::create_vfio_nvme(VfioNvmeSpec spec) {
    if (!target_.has_subsystem(spec.nqn)) {
        co_return fail(ErrorKind::NotFound, "there is no subsystem " + spec.nqn);
    }
    std::vector<NamespaceSpec> shown;
    for (auto at = namespaces_.lower_bound({spec.nqn, 0});
         at != namespaces_.end() && at->first.first == spec.nqn; ++at) {
        shown.push_back(at->second);
    }
    co_return co_await vfio_.create(std::move(spec), std::move(shown));
}

/// Functions last: their guests stand still from then on. Connections to other nodes end with the
/// process; nothing is under way on them but what paths that are gone hold up.
Task<std::vector<FrozenFunction>> LocalNode::hand_over(core::Nanos limit) {
    co_await lift_faults();
    const core::Nanos deadline = reactor::Reactor::current().now() + limit;
    if (!co_await vhost_.stop(limit)) {
        log::info("guests' requests still wait for a path; they go on with the next process");
    }
    co_await controllers_.lift_all("");
    co_await target_.stop();
    (void)co_await crypts_.stop_rekeys(deadline);
    co_return co_await vfio_.freeze(reactor::Reactor::current().now() + limit);
}

}  // namespace remora::node
