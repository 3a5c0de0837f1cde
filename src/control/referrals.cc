// SPDX-License-Identifier: Apache-2.0
#include "control/referrals.h"

#include "control/validate_nvme.h"
#include "core/log.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;

namespace {

using Referral = api::DiscoveryReferral;

/// All of them go to the data plane at once, so one call at a time changes them.
constexpr const char* kLock = "discovery referrals";

Result<reactor::Endpoint> endpoint_of(const Referral& referral) {
    return read_endpoint("discovery_referral.endpoint", referral.endpoint().traddr(),
                         referral.endpoint().trsvcid(), false);
}

}  // namespace

Task<Result<void>> Referrals::publish() {
    std::vector<node::ReferralSpec> specs;
    for (const auto& [name, object] : context_.model.table<Referral>()) {
        auto endpoint = endpoint_of(object.resource);
        if (!endpoint) {
            log::error("referral left out", log::kv("name", name),
                       log::kv("reason", endpoint.error().message));
            continue;
        }
        specs.push_back({std::move(*endpoint), object.resource.subnqn()});
    }
    return context_.node.set_referrals(std::move(specs));
}

Task<> Referrals::rebuild() {
    if (auto published = co_await publish(); !published) {
        log::error("referrals not rebuilt", log::kv("reason", published.error().message));
    }
}

Task<Result<Referral>> Referrals::create(const api::CreateDiscoveryReferralRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto id =
        choose_id("discovery_referral_id", request.discovery_referral_id(), context_.prng);
    if (!id) {
        co_return std::unexpected(id.error());
    }
    Object<Referral> made{request.discovery_referral(), {}};
    made.resource.set_name("discoveryReferrals/" + *id);
    if (auto endpoint = endpoint_of(made.resource); !endpoint) {
        co_return std::unexpected(endpoint.error());
    }
    if (!made.resource.subnqn().empty()) {
        if (auto nqn = check_nqn("discovery_referral.subnqn", made.resource.subnqn()); !nqn) {
            co_return std::unexpected(nqn.error());
        }
    }
    auto held = co_await context_.lock({kLock});
    if (!held) {
        co_return std::unexpected(held.error());
    }
    if (const auto* existing = context_.model.find<Referral>(made.resource.name())) {
        co_return answer_existing(existing->resource, made.resource);
    }
    if (context_.model.table<Referral>().size() >= kMost) {
        co_return fail(ErrorKind::ResourceExhausted,
                       "there are " + std::to_string(kMost) + " referrals, the limit; delete one");
    }
    Transaction transaction(context_.model);
    transaction.put(made);
    if (auto stored = transaction.commit(); !stored) {
        co_return std::unexpected(stored.error());
    }
    if (auto published = co_await publish(); !published) {
        co_return std::unexpected(published.error());
    }
    co_return made.resource;
}

Task<Result<Empty>> Referrals::remove(const api::DeleteDiscoveryReferralRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    if (auto checked = check_name("name", request.name()); !checked) {
        co_return std::unexpected(checked.error());
    }
    auto held = co_await context_.lock({kLock});
    if (!held) {
        co_return std::unexpected(held.error());
    }
    const auto found = lookup<Referral>(context_.model, request.name());
    if (!found) {
        if (found.error().kind == ErrorKind::NotFound && request.allow_missing()) {
            co_return Empty();
        }
        co_return std::unexpected(found.error());
    }
    Transaction transaction(context_.model);
    transaction.erase<Referral>(std::string((*found)->resource.name()));
    if (auto stored = transaction.commit(); !stored) {
        co_return std::unexpected(stored.error());
    }
    if (auto published = co_await publish(); !published) {
        co_return std::unexpected(published.error());
    }
    co_return Empty();
}

Task<Result<Referral>> Referrals::get(const api::GetDiscoveryReferralRequest& request) {
    co_return get_resource<Referral>(context_.model, request);
}

Task<Result<api::ListDiscoveryReferralsResponse>> Referrals::list(
    const api::ListDiscoveryReferralsRequest& request) {
    api::ListDiscoveryReferralsResponse response;
    auto next = list_page<Referral>(context_.model, request.page_size(), request.page_token(), "",
                                    [&](const Object<Referral>& object) {
                                        *response.add_discovery_referrals() = object.resource;
                                    });
    if (!next) {
        co_return std::unexpected(next.error());
    }
    response.set_next_page_token(*next);
    co_return response;
}

}  // namespace remora::control
