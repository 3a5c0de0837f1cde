// SPDX-License-Identifier: Apache-2.0
// NVMe subsystems themselves, and building everything again after a restart. Controllers and
// namespaces are in their own files.
#include "control/subsystems.h"

#include <algorithm>

#include "control/child_calls.h"
#include "control/references.h"
#include "control/validate_nvme.h"
#include "core/hash.h"
#include "core/log.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;

namespace {

using Subsystem = opi::NvmeSubsystem;

const FieldRules kRules{
    {}, {"status"}, "hosts rely on a subsystem's identity; delete it and create another"};

node::SubsystemSpec node_spec(const Subsystem& subsystem) {
    const opi::NvmeSubsystemSpec& spec = subsystem.spec();
    return {spec.nqn(), spec.serial_number(), spec.model_number(),
            static_cast<std::uint32_t>(spec.max_namespaces()), spec.hostnqn()};
}

Result<void> check_nqn_free(const Model& model, const Subsystem& wanted) {
    for (const auto& [name, other] : model.table<Subsystem>()) {
        if (other.resource.spec().nqn() == wanted.spec().nqn()) {
            return fail(ErrorKind::AlreadyExists, "spec.nqn: " + wanted.spec().nqn() +
                                                      " is the subsystem " + name + " already");
        }
    }
    return {};
}

/// A stable serial number for a subsystem that was given none: hosts tell controllers apart by it.
std::string default_serial(const std::string& nqn) {
    std::string digits = core::hex_digits(core::fnv1a(nqn), 16);
    std::ranges::transform(digits, digits.begin(),
                           [](char c) { return static_cast<char>(c >= 'a' ? c - 'a' + 'A' : c); });
    return "RM" + digits;
}

}  // namespace

Task<Result<Subsystem>> Subsystems::create_subsystem(
    const opi::CreateNvmeSubsystemRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto id = choose_id("nvme_subsystem_id", request.nvme_subsystem_id(), context_.prng);
    if (!id) {
        co_return std::unexpected(id.error());
    }
    if (auto valid = validate(request.nvme_subsystem()); !valid) {
        co_return std::unexpected(valid.error());
    }
    Subsystem subsystem = request.nvme_subsystem();
    subsystem.set_name("nvmeSubsystems/" + *id);
    opi::NvmeSubsystemSpec& spec = *subsystem.mutable_spec();
    if (spec.serial_number().empty()) {
        spec.set_serial_number(default_serial(spec.nqn()));
    }
    if (spec.model_number().empty()) {
        spec.set_model_number("Remora");
    }
    subsystem.clear_status();
    subsystem.mutable_status()->set_firmware_revision(context_.options.version);
    auto held =
        co_await context_.lock({lock_key<Subsystem>(subsystem.name()), "nqn " + spec.nqn()});
    if (!held) {
        co_return std::unexpected(held.error());
    }
    if (const auto* existing = context_.model.find<Subsystem>(subsystem.name())) {
        co_return answer_existing(existing->resource, request.nvme_subsystem(), {"status"});
    }
    if (auto free = check_nqn_free(context_.model, subsystem); !free) {
        co_return std::unexpected(free.error());
    }
    if (auto built = co_await context_.node.create_subsystem(node_spec(subsystem)); !built) {
        co_return std::unexpected(built.error());
    }
    Transaction transaction(context_.model);
    transaction.put(Object<Subsystem>{subsystem, {}});
    if (auto stored = transaction.commit(); !stored) {
        (void)co_await context_.node.delete_subsystem(spec.nqn());
        co_return std::unexpected(stored.error());
    }
    co_return subsystem;
}

Task<Result<Empty>> Subsystems::delete_subsystem(const opi::DeleteNvmeSubsystemRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const std::string name = canonical_name(KindTraits<Subsystem>::kCollection, request.name());
    auto held = co_await context_.lock({lock_key<Subsystem>(name)});
    if (!held) {
        co_return std::unexpected(held.error());
    }
    const auto found = lookup<Subsystem>(context_.model, request.name());
    if (!found) {
        if (found.error().kind == ErrorKind::NotFound && request.allow_missing()) {
            co_return Empty();
        }
        co_return std::unexpected(found.error());
    }
    if (auto free = check_not_attached("subsystem", name, (*found)->known); !free) {
        co_return std::unexpected(free.error());
    }
    std::vector<std::string> children = children_of<opi::NvmeController>(context_.model, name);
    for (std::string& space : children_of<opi::NvmeNamespace>(context_.model, name)) {
        children.push_back(std::move(space));
    }
    if (!children.empty()) {
        co_return fail(
            ErrorKind::FailedPrecondition,
            "the subsystem " + name + " still has " + join_names(children) + "; delete that first");
    }
    const Subsystem before = (*found)->resource;
    const auto removed = co_await context_.node.delete_subsystem(before.spec().nqn());
    if (!removed && removed.error().kind != ErrorKind::NotFound) {
        co_return std::unexpected(removed.error());
    }
    Transaction transaction(context_.model);
    transaction.erase<Subsystem>(name);
    if (auto stored = transaction.commit(); !stored) {
        (void)co_await context_.node.create_subsystem(node_spec(before));
        co_return std::unexpected(stored.error());
    }
    co_return Empty();
}

Task<Result<Subsystem>> Subsystems::update_subsystem(
    const opi::UpdateNvmeSubsystemRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto found = lookup<Subsystem>(context_.model, request.nvme_subsystem().name());
    if (!found) {
        co_return std::unexpected(found.error());
    }
    Subsystem updated = (*found)->resource;
    if (auto applied =
            apply_update(updated, request.nvme_subsystem(), request.update_mask(), kRules);
        !applied) {
        co_return std::unexpected(applied.error());
    }
    co_return updated;
}

Task<Result<opi::ListNvmeSubsystemsResponse>> Subsystems::list_subsystems(
    const opi::ListNvmeSubsystemsRequest& request) {
    opi::ListNvmeSubsystemsResponse response;
    auto next = list_page<Subsystem>(context_.model, request.page_size(), request.page_token(), "",
                                     [&](const Object<Subsystem>& object) {
                                         *response.add_nvme_subsystems() = object.resource;
                                     });
    if (!next) {
        co_return std::unexpected(next.error());
    }
    response.set_next_page_token(*next);
    co_return response;
}

Task<Result<Subsystem>> Subsystems::get_subsystem(const opi::GetNvmeSubsystemRequest& request) {
    co_return get_resource<Subsystem>(context_.model, request);
}

Task<Result<opi::VolumeStats>> Subsystems::sum_of_namespaces(std::string subsystem) {
    block::DeviceStats sum;
    std::vector<std::string> volumes;
    for (const auto& [name, object] : context_.model.table<opi::NvmeNamespace>()) {
        const std::string& volume = object.known.volume();
        const bool counted = std::find(volumes.begin(), volumes.end(), volume) != volumes.end();
        if (name.starts_with(subsystem + "/") && !counted) {
            volumes.push_back(volume);
        }
    }
    for (const std::string& volume : volumes) {
        const auto stats = co_await context_.node.volume_stats(volume);
        if (!stats) {
            co_return std::unexpected(stats.error());
        }
        sum.add(*stats);
    }
    co_return to_opi_stats(sum);
}

Task<Result<opi::StatsNvmeSubsystemResponse>> Subsystems::stats_subsystem(
    const opi::StatsNvmeSubsystemRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto found = lookup<Subsystem>(context_.model, request.name());
    if (!found) {
        co_return std::unexpected(found.error());
    }
    auto sum = co_await sum_of_namespaces((*found)->resource.name());
    if (!sum) {
        co_return std::unexpected(sum.error());
    }
    opi::StatsNvmeSubsystemResponse response;
    *response.mutable_stats() = *sum;
    co_return response;
}

Task<Result<void>> Subsystems::build_subsystem(const Subsystem& subsystem) {
    return context_.node.create_subsystem(node_spec(subsystem));
}

Task<> Subsystems::rebuild(Patience& patience) {
    const auto say = [](const std::string& name, const core::Error& error) {
        log::error("not rebuilt", log::kv("name", name), log::kv("reason", error.message));
    };
    // All subsystems, then their namespaces, and only then the first listener: a host that is back
    // early finds its subsystem whole, or is told to come again, but never that there is none.
    for (const auto& [name, object] : context_.model.table<Subsystem>()) {
        if (auto built = co_await context_.node.create_subsystem(node_spec(object.resource));
            !built) {
            say(name, built.error());
        }
    }
    for (const auto& [name, object] : context_.model.table<opi::NvmeNamespace>()) {
        const auto* parent = context_.model.find<Subsystem>(parent_of(name));
        if (parent == nullptr) {
            say(name, {ErrorKind::DataLoss, "its subsystem is not in the store"});
            continue;
        }
        auto built = co_await build_namespace(object, parent->resource.spec().nqn());
        if (!built && !context_.node.find_volume(object.known.volume())) {
            log::warn("not served yet", log::kv("name", name),
                      log::kv("reason", built.error().message));
            context_.unserved[name] = built.error().message;
        } else if (!built) {
            say(name, built.error());
        }
    }
    co_await functions_.rebuild(patience);
    for (const auto& [name, object] : context_.model.table<opi::NvmeController>()) {
        if (is_host_function(object.resource)) {
            continue;
        }
        auto listening = co_await listen(object);
        while (!listening && co_await patience.again(listening.error())) {
            listening = co_await listen(object);
        }
        if (!listening) {
            log::warn("not served yet", log::kv("name", name),
                      log::kv("reason", listening.error().message));
            context_.unserved[name] = listening.error().message;
        }
    }
}

Task<Result<void>> Subsystems::listen(const Object<opi::NvmeController>& object) {
    const auto* parent = context_.model.find<opi::NvmeSubsystem>(parent_of(object.resource.name()));
    const auto endpoint = endpoint_of(object.resource);
    if (parent == nullptr || !endpoint) {
        co_return core::fail(ErrorKind::DataLoss, "its stored form is not usable");
    }
    const auto listening = co_await context_.node.add_listener(parent->resource.spec().nqn(),
                                                               *endpoint, ana_state_of(object));
    if (!listening) {
        co_return std::unexpected(listening.error());
    }
    co_return co_await limit_controller(object);
}

/// What serves one that could not be served at the start, now that its subsystem is locked.
Task<Result<void>> Subsystems::serve_late(std::string name) {
    if (const auto* listener = context_.model.find<opi::NvmeController>(name)) {
        const Object<opi::NvmeController> object = *listener;
        co_return co_await listen(object);
    }
    const auto* space = context_.model.find<opi::NvmeNamespace>(name);
    const auto* parent = context_.model.find<Subsystem>(parent_of(name));
    CHECK(space != nullptr && parent != nullptr);  // who asks has looked, and has the lock
    if (!context_.node.find_volume(space->known.volume())) {
        co_return core::fail(ErrorKind::NotFound, context_.unserved[name]);
    }
    const Object<opi::NvmeNamespace> object = *space;
    const std::string nqn = parent->resource.spec().nqn();
    const auto built = co_await build_namespace(object, nqn);
    co_return built ? Result<void>() : std::unexpected(built.error());
}

Task<bool> Subsystems::serve_unserved() {
    const auto is_ours = [this](const std::string& name) {
        const auto* controller = context_.model.find<opi::NvmeController>(name);
        return (controller != nullptr && !is_host_function(controller->resource)) ||
               context_.model.find<opi::NvmeNamespace>(name) != nullptr;
    };
    std::vector<std::string> names;
    for (const auto& [name, reason] : context_.unserved) {
        if (is_ours(name)) {
            names.push_back(name);
        }
    }
    bool all = true;
    for (const std::string& name : names) {
        auto held = co_await context_.lock({lock_key<opi::NvmeSubsystem>(parent_of(name))});
        if (!held || !is_ours(name) || !context_.unserved.contains(name)) {
            all = all && held.has_value();
            continue;
        }
        const auto served = co_await serve_late(name);
        if (served) {
            log::info("served at last", log::kv("name", name));
            context_.unserved.erase(name);
        } else {
            context_.unserved[name] = served.error().message;
        }
        all = all && served.has_value();
    }
    co_return all;
}

}  // namespace remora::control
