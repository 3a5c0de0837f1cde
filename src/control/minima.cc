// SPDX-License-Identifier: Apache-2.0
#include "control/minima.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <optional>
#include <set>
#include <vector>

#include "control/child_calls.h"
#include "control/host_functions.h"
#include "control/references.h"
#include "control/validate_qos.h"
#include "services/qos/share.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;
using node::Capacity;
using node::Competition;
using node::Minimum;
using node::Rates;
using services::qos::parts_of;
using services::qos::Pool;

namespace {

/// All of a kind, as they will be.
template <typename M, typename F>
void for_each(const Model& model, const Object<M>* intended, F visit) {
    bool seen = false;
    for (const auto& [name, object] : model.table<M>()) {
        const bool same = intended != nullptr && intended->resource.name() == name;
        seen = seen || same;
        visit(same ? *intended : object);
    }
    if (intended != nullptr && !seen) {
        visit(*intended);
    }
}

/// Stored ones are good.
Rates rates_in(const opi::QosLimit& limit) {
    return read_rates("", limit).value_or(Rates{});
}

/// Whose time the volume takes; nothing for an array, which has no one back end.
std::optional<std::string> pool_of_volume(const Model& model, const std::string& volume) {
    constexpr std::string_view kArrays = KindTraits<api::RaidVolume>::kCollection.alias;
    const std::string below = volume_below(model, volume);
    if (below.starts_with(std::string(kArrays) + "/")) {
        return std::nullopt;
    }
    const auto remote = split_remote_volume(below);
    return below.find('/') == std::string::npos && remote ? remote->first : std::string();
}

Rates greater(const Rates& a, const Rates& b) {
    return {.read_ops = std::max(a.read_ops, b.read_ops),
            .write_ops = std::max(a.write_ops, b.write_ops),
            .all_ops = std::max(a.all_ops, b.all_ops),
            .read_bytes = std::max(a.read_bytes, b.read_bytes),
            .write_bytes = std::max(a.write_bytes, b.write_bytes),
            .all_bytes = std::max(a.all_bytes, b.all_bytes)};
}

struct Survey {
    Competition competition;
    std::vector<std::string> impossible;  ///< Sentences.
};

void add_volume(const Model& model,
                const std::string& volume,
                const opi::QosLimit& least,
                Survey& to) {
    const Rates rates = rates_in(least);
    if (rates == Rates{}) {
        return;
    }
    const auto pool = pool_of_volume(model, volume);
    if (!pool) {
        to.impossible.push_back("the volume " + volume +
                                " stands on an array, which has no back end of its own to share: "
                                "minimum rates are not kept for it");
        return;
    }
    Minimum& minimum = to.competition.volumes[volume_below(model, volume)];
    minimum = {.pool = *pool, .least = greater(minimum.least, rates)};
}

void add_controller(const Model& model,
                    const Object<opi::NvmeController>& controller,
                    const Object<opi::NvmeNamespace>* space,
                    Survey& to) {
    const Rates rates = rates_in(controller.resource.spec().min_limit());
    const std::string parent = parent_of(controller.resource.name());
    const auto* subsystem = model.find<opi::NvmeSubsystem>(parent);
    const auto endpoint = way_of(controller.resource);
    if (rates == Rates{} || subsystem == nullptr || !endpoint) {
        return;
    }
    std::set<std::string> pools;
    for_each<opi::NvmeNamespace>(model, space, [&](const Object<opi::NvmeNamespace>& shown) {
        const std::string& volume = shown.known.volume();
        if (parent_of(shown.resource.name()) != parent) {
            return;
        }
        const auto pool = pool_of_volume(model, volume);
        if (!pool || volume_below(model, volume) != volume) {
            to.impossible.push_back("through " + controller.resource.name() + " the volume " +
                                    volume +
                                    " is reached, which is made of others: give that volume a "
                                    "minimum, not the controller");
            return;
        }
        pools.insert(*pool);
    });
    if (pools.size() > 1) {
        to.impossible.push_back("the volumes reached through " + controller.resource.name() +
                                " have several back ends: its minimum would be of none of them");
    } else if (pools.size() == 1) {
        to.competition.controllers[{subsystem->resource.spec().nqn(), *endpoint}] = {
            .pool = *pools.begin(), .least = rates};
    }
}

Survey survey(const Model& model, const Intended& intended) {
    Survey out;
    for_each<api::Capacity>(model, intended.capacity, [&](const Object<api::Capacity>& object) {
        if (object.resource.name() != intended.gone) {
            out.competition.pools[pool_of(object.resource)] = read_capacity(object.resource);
        }
    });
    for_each<opi::QosVolume>(model, intended.qos, [&](const Object<opi::QosVolume>& object) {
        add_volume(model, object.known.volume(), object.resource.limits().min(), out);
    });
    for_each<opi::VirtioBlk>(model, intended.disk, [&](const Object<opi::VirtioBlk>& object) {
        add_volume(model, object.known.volume(), object.resource.min_limit(), out);
    });
    for_each<opi::NvmeController>(model, intended.controller,
                                  [&](const Object<opi::NvmeController>& object) {
                                      add_controller(model, object, intended.space, out);
                                  });
    return out;
}

std::string whose(const std::string& pool) {
    return pool.empty() ? "this daemon's own volumes"
                        : "the volumes of nvmeRemoteControllers/" + pool;
}

std::string percent(double part) {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.1f %%", part * 100);
    return text.data();
}

std::string text_of(const Capacity& capacity) {
    const std::string ops = std::to_string(capacity.ops / 1000) + " k I/Os/s";
    const std::string bytes = std::to_string(capacity.bytes >> 20U) + " MiB/s";
    return capacity.ops == 0 ? bytes : capacity.bytes == 0 ? ops : ops + " and " + bytes;
}

bool any_ops(const Rates& rates) {
    return (rates.read_ops | rates.write_ops | rates.all_ops) != 0;
}
bool any_bytes(const Rates& rates) {
    return (rates.read_bytes | rates.write_bytes | rates.all_bytes) != 0;
}

/// That there is a capacity of what is asked for.
Result<void> check_declared(std::string_view field,
                            const Competition& competition,
                            const Minimum& minimum) {
    const auto found = competition.pools.find(minimum.pool);
    const Capacity there = found == competition.pools.end() ? Capacity{} : found->second;
    if (there == Capacity{}) {
        return fail(ErrorKind::FailedPrecondition,
                    std::string(field) + ": no capacity is declared for " + whose(minimum.pool) +
                        ", so that no minimum can be kept among them; create one "
                        "(remora.v1.QosService CreateCapacity, remora create capacity)");
    }
    const bool ops = any_ops(minimum.least) && there.ops == 0;
    if (ops || (any_bytes(minimum.least) && there.bytes == 0)) {
        return fail(ErrorKind::FailedPrecondition,
                    std::string(field) + ": the capacity that is declared for " +
                        whose(minimum.pool) + " has no " + (ops ? "operations" : "bytes") +
                        " a second, only " + text_of(there) + "; update it");
    }
    return {};
}

}  // namespace

std::string pool_of(const api::Capacity& capacity) {
    return std::string(last_segment(capacity.remote_controller()));
}

Competition competition_of(const Model& model, const Intended& intended) {
    return survey(model, intended).competition;
}

double promised_of(const Competition& competition, const std::string& pool) {
    const auto capacity = competition.pools.find(pool);
    double sum = 0;
    const auto add = [&](const Minimum& minimum) {
        if (minimum.pool == pool && capacity != competition.pools.end()) {
            sum += parts_of(minimum.least, capacity->second).sum();
        }
    };
    for (const auto& [name, minimum] : competition.volumes) {
        add(minimum);
    }
    for (const auto& [key, minimum] : competition.controllers) {
        add(minimum);
    }
    return sum;
}

Result<void> check_minima(std::string_view field, const Model& model, const Intended& intended) {
    const Survey wanted = survey(model, intended);
    if (!wanted.impossible.empty()) {
        return fail(ErrorKind::FailedPrecondition,
                    std::string(field) + ": " + wanted.impossible.front());
    }
    const Competition& competition = wanted.competition;
    for (const auto& [name, minimum] : competition.volumes) {
        if (auto declared = check_declared(field, competition, minimum); !declared) {
            return declared;
        }
    }
    for (const auto& [key, minimum] : competition.controllers) {
        if (auto declared = check_declared(field, competition, minimum); !declared) {
            return declared;
        }
    }
    constexpr double kRounding = 1e-9;
    for (const auto& [pool, capacity] : competition.pools) {
        const double promised = promised_of(competition, pool);
        if (promised <= Pool::kMostPromised + kRounding) {
            continue;
        }
        return fail(ErrorKind::ResourceExhausted,
                    std::string(field) + ": the minima of " + whose(pool) + " would take " +
                        percent(promised) + " of the capacity of " + text_of(capacity) +
                        ", of which " + percent(Pool::kMostPromised) + " can be promised and " +
                        percent(promised_of(competition_of(model), pool)) +
                        " are; ask for less, or declare what it can do");
    }
    return {};
}

reactor::Task<> renew_competition(Context& context) {
    return context.node.set_competition(competition_of(context.model));
}

}  // namespace remora::control
