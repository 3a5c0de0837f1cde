// SPDX-License-Identifier: Apache-2.0
// How good the way through an NVMe/TCP listener is (asymmetric namespace access): remora.v1's part
// of NVMe controllers.
#include "control/child_calls.h"
#include "control/subsystems.h"
#include "control/validate_nvme.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;

namespace {

using Controller = opi::NvmeController;

api::AnaPort to_api(const Object<Controller>& controller) {
    api::AnaPort out;
    out.set_name(controller.resource.name());
    out.set_ana_state(static_cast<api::AnaState>(ana_state_of(controller)));
    return out;
}

}  // namespace

/// The API's numbers are NVMe's.
node::AnaState ana_state_of(const Object<Controller>& controller) {
    const std::uint32_t stored = controller.known.ana_state();
    return stored == 0 ? node::AnaState::Optimized : static_cast<node::AnaState>(stored);
}

Task<Result<api::AnaPort>> Subsystems::set_ana_state(const api::SetAnaStateRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    if (!api::AnaState_IsValid(request.ana_state())) {
        co_return fail(ErrorKind::InvalidArgument,
                       "ana_state: " + std::to_string(request.ana_state()) +
                           " is no state; use ANA_STATE_OPTIMIZED, ANA_STATE_NON_OPTIMIZED, "
                           "ANA_STATE_INACCESSIBLE, ANA_STATE_PERSISTENT_LOSS or ANA_STATE_CHANGE");
    }
    const auto first = lookup<Controller>(context_.model, request.name());
    if (!first) {
        co_return std::unexpected(first.error());
    }
    const std::string name = (*first)->resource.name();
    auto held = co_await context_.lock({lock_key<opi::NvmeSubsystem>(parent_of(name))});
    if (!held) {
        co_return std::unexpected(held.error());
    }
    const auto* found = context_.model.find<Controller>(name);
    const auto* subsystem = context_.model.find<opi::NvmeSubsystem>(parent_of(name));
    if (found == nullptr || subsystem == nullptr) {
        co_return fail(ErrorKind::NotFound, name + " was deleted meanwhile");
    }
    if (is_host_function(found->resource)) {
        co_return fail(ErrorKind::FailedPrecondition,
                       name +
                           " is a function of the local host, which is one way and always "
                           "optimized; only listeners have an ANA state to set");
    }
    const auto endpoint = endpoint_of(found->resource);
    if (!endpoint) {
        co_return std::unexpected(endpoint.error());
    }
    const std::string nqn = subsystem->resource.spec().nqn();
    const node::AnaState before = ana_state_of(*found);
    Object<Controller> updated = *found;
    updated.known.set_ana_state(static_cast<std::uint32_t>(request.ana_state()));
    const auto set = co_await context_.node.set_ana_state(nqn, *endpoint, ana_state_of(updated));
    if (!set) {
        co_return std::unexpected(set.error());
    }
    Transaction transaction(context_.model);
    transaction.put(updated);
    if (auto stored = transaction.commit(); !stored) {
        (void)co_await context_.node.set_ana_state(nqn, *endpoint, before);
        co_return std::unexpected(stored.error());
    }
    co_return to_api(updated);
}

Task<Result<api::AnaPort>> Subsystems::get_ana_state(const api::GetAnaStateRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto found = lookup<Controller>(context_.model, request.name());
    if (!found) {
        co_return std::unexpected(found.error());
    }
    co_return to_api(**found);
}

}  // namespace remora::control
