// SPDX-License-Identifier: Apache-2.0
#include "control/conditions.h"

#include <algorithm>
#include <utility>

#include "control/assess.h"

namespace remora::control {

using core::Nanos;
using core::Result;

namespace {

bool same(const api::Condition& a, const api::Condition& b) {
    return a.type() == b.type() && a.status() == b.status() && a.reason() == b.reason();
}

std::uint64_t ms_between(Nanos from, Nanos to) {
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(to - from).count());
}

}  // namespace

Task<Result<api::ListConditionsResponse>> Conditions::list(
    const api::ListConditionsRequest& request) {
    look();
    api::ListConditionsResponse out;
    const Nanos now = reactor::Reactor::current().now();
    for (auto& [key, seen] : seen_) {
        if (seen.conditions.name().starts_with(request.name_prefix())) {
            fill_ages(seen, now);
            *out.add_resources() = seen.conditions;
        }
    }
    co_return out;
}

void Conditions::fill_ages(Seen& seen, Nanos now) {
    for (int i = 0; i < seen.conditions.conditions_size(); ++i) {
        seen.conditions.mutable_conditions(i)->set_age_ms(
            ms_between(seen.since[static_cast<std::size_t>(i)], now));
    }
}

/// Compares what is with what was seen last, and tells of what differs.
void Conditions::look() {
    const Nanos now = reactor::Reactor::current().now();
    std::map<std::string, Seen> next;
    for (Assessment& one : assess_all(context_)) {
        const std::string key = one.kind + " " + one.name;
        const auto before = seen_.find(key);
        Seen seen{one.kind, {}, {}};
        seen.conditions.set_name(one.name);
        bool changed = before == seen_.end();
        for (api::Condition* condition : {&one.ready, &one.degraded}) {
            if (condition->type().empty()) {
                continue;
            }
            const auto at = static_cast<std::size_t>(seen.conditions.conditions_size());
            const bool stays =
                before != seen_.end() && at < before->second.since.size() &&
                same(before->second.conditions.conditions(static_cast<int>(at)), *condition);
            seen.since.push_back(stays ? before->second.since[at] : now);
            changed = changed || !stays;
            *seen.conditions.add_conditions() = std::move(*condition);
        }
        fill_ages(seen, now);
        if (changed) {
            watchers_.publish_conditions(seen.kind, seen.conditions);
        }
        next.insert_or_assign(key, std::move(seen));
    }
    seen_ = std::move(next);
}

void Conditions::start() {
    (void)gate_.spawn(&Conditions::run, this);
}

Task<> Conditions::run(Conditions* self) {
    while (!self->gate_.closed()) {
        self->look();
        const Nanos next =
            reactor::Reactor::current().now() + self->context_.options.reconcile_pause;
        co_await self->stop_signal_.wait_until(next);
    }
}

Task<bool> Conditions::stop(Nanos deadline) {
    stop_signal_.notify();
    co_return co_await gate_.close_by(deadline);
}

}  // namespace remora::control
