// SPDX-License-Identifier: Apache-2.0
// Client: what is put into the chain of a volume in use, changed there and taken out again: limits,
// and delays and errors on purpose.
#include "tests/sim/site/client.h"

namespace remora::sim {

namespace {

namespace opi = opi_api::storage::v1;
namespace api = ::remora::v1;
using control::ControlPlane;
using reactor::Task;

/// One or two of the six rates, small enough for these guests to feel them.
opi::QosLimit draw_limit(Faults& faults) {
    opi::QosLimit limit;
    const std::uint64_t rates = 1 + faults.pick(Fault::Throttle, 2);
    for (std::uint64_t i = 0; i < rates; ++i) {
        const auto rate = static_cast<std::int64_t>(1 + faults.pick(Fault::Throttle, 3));
        switch (faults.pick(Fault::Throttle, 6)) {
            case 0:
                limit.set_rd_iops_kiops(rate);
                break;
            case 1:
                limit.set_wr_iops_kiops(rate);
                break;
            case 2:
                limit.set_rw_iops_kiops(rate);
                break;
            case 3:
                limit.set_rd_bandwidth_mbs(rate);
                break;
            case 4:
                limit.set_wr_bandwidth_mbs(rate);
                break;
            default:
                limit.set_rw_bandwidth_mbs(rate);
                break;
        }
    }
    return limit;
}

/// Some requests wait for up to tens of milliseconds, so that others overtake them.
api::DelayRule draw_delay(Faults& faults) {
    api::DelayRule delay;
    delay.set_distribution(
        static_cast<api::DelayRule::Distribution>(1 + faults.pick(Fault::Inject, 4)));
    const auto micros = static_cast<std::int32_t>(10U << faults.pick(Fault::Inject, 11));
    delay.mutable_mean()->set_nanos(micros * 1000);
    if (delay.distribution() == api::DelayRule::DISTRIBUTION_UNIFORM ||
        delay.distribution() == api::DelayRule::DISTRIBUTION_NORMAL) {
        delay.mutable_spread()->set_nanos(micros * 500);
    }
    delay.mutable_scope()->set_probability(faults.pick(Fault::Inject, 2) == 0 ? 1.0 : 0.2);
    return delay;
}

/// One request in twenty fails, of one kind of request or of all.
api::ErrorRule draw_error(Faults& faults) {
    static constexpr std::array kErrors{api::ErrorRule::ERROR_MEDIUM,
                                        api::ErrorRule::ERROR_NO_SPACE, api::ErrorRule::ERROR_PATH,
                                        api::ErrorRule::ERROR_DATA_CORRUPT};
    api::ErrorRule error;
    error.set_error(kErrors[faults.pick(Fault::Inject, kErrors.size())]);
    const std::uint64_t operation = faults.pick(Fault::Inject, 5);
    if (operation > 0) {
        error.mutable_scope()->add_operations(static_cast<api::FaultScope::Operation>(operation));
    }
    error.mutable_scope()->set_probability(0.05);
    return error;
}

}  // namespace

std::string Client::place_of(const VolumePlan& plan, Fault fault) {
    const std::uint64_t place = site_.world().faults().pick(fault, 1 + plan.lowers());
    return place == 0 ? reference_of(plan) : plan.lower(place - 1);
}

/// Limits as OPI has them, for a while, and others for a while after.
Task<> Client::run_limits(Client* self, std::size_t index) {
    const VolumePlan& plan = self->site_.plan().volumes[index];
    Faults& faults = self->site_.world().faults();
    const std::string id = "limits-" + plan.id;
    const std::string name = "volumes/" + id;
    const auto qos = &ControlPlane::qos_volumes;
    while (!self->settling_) {
        co_await self->rest(2500);
        if (!self->made_.contains(index) || !faults.strikes(Fault::Throttle, 1)) {
            continue;
        }
        SimDaemon& home = self->home_of(plan);
        opi::CreateQosVolumeRequest create;
        create.set_qos_volume_id(id);
        create.mutable_qos_volume()->set_volume_name_ref(self->place_of(plan, Fault::Throttle));
        *create.mutable_qos_volume()->mutable_limits()->mutable_max() = draw_limit(faults);
        bool done =
            co_await self->insist(home, qos, &control::QosVolumes::create, create, "limits");
        co_await self->confirm(home, qos, &control::QosVolumes::get, name, true);
        while (done && !self->settling_ && faults.pick(Fault::Throttle, 3) != 0) {
            co_await self->rest(1500);
            opi::UpdateQosVolumeRequest update;
            *update.mutable_qos_volume() = create.qos_volume();
            update.mutable_qos_volume()->set_name(name);
            *update.mutable_qos_volume()->mutable_limits()->mutable_max() = draw_limit(faults);
            done = co_await self->insist(home, qos, &control::QosVolumes::update, update,
                                         "other limits");
        }
        co_await self->rest(1500);
        opi::DeleteQosVolumeRequest remove;
        remove.set_name(name);
        remove.set_allow_missing(true);
        done = done &&
               co_await self->insist(home, qos, &control::QosVolumes::remove, remove, "no limits");
        if (!done) {
            co_return;
        }
        co_await self->confirm(home, qos, &control::QosVolumes::get, name, false);
    }
    --self->running_;
}

/// Delays, and where a guest may see them errors too: not below what a volume is made of, where
/// they would take members of arrays away.
Task<> Client::run_injections(Client* self, std::size_t index) {
    const VolumePlan& plan = self->site_.plan().volumes[index];
    Faults& faults = self->site_.world().faults();
    const std::string id = "faults-" + plan.id;
    const std::string name = "faultInjections/" + id;
    const auto part = &ControlPlane::fault_injections;
    while (!self->settling_) {
        co_await self->rest(2500);
        if (!self->made_.contains(index) || !faults.strikes(Fault::Inject, 1)) {
            continue;
        }
        SimDaemon& home = self->home_of(plan);
        api::CreateFaultInjectionRequest create;
        create.set_fault_injection_id(id);
        auto& injection = *create.mutable_fault_injection();
        injection.set_volume_name_ref(self->place_of(plan, Fault::Inject));
        injection.set_seed(1 + faults.pick(Fault::Inject, 1U << 20U));
        *injection.add_delays() = draw_delay(faults);
        bool done = co_await self->insist(home, part, &control::FaultInjections::create, create,
                                          "faults on purpose");
        co_await self->confirm(home, part, &control::FaultInjections::get, name, true);
        co_await self->rest(1500);
        const bool fails = injection.volume_name_ref() == reference_of(plan) &&
                           faults.pick(Fault::Inject, 2) == 0 && !self->settling_;
        if (fails) {
            self->site_.errors_injected(true);
            *injection.add_errors() = draw_error(faults);
        }
        api::UpdateFaultInjectionRequest update;
        *update.mutable_fault_injection() = injection;
        update.mutable_fault_injection()->set_name(name);
        *update.mutable_fault_injection()->mutable_delays(0) = draw_delay(faults);
        done = done && co_await self->insist(home, part, &control::FaultInjections::update, update,
                                             "other faults on purpose");
        co_await self->rest(1500);
        api::DeleteFaultInjectionRequest remove;
        remove.set_name(name);
        remove.set_allow_missing(true);
        done = done && co_await self->insist(home, part, &control::FaultInjections::remove, remove,
                                             "no faults on purpose");
        if (!done) {
            co_return;
        }
        if (fails) {
            self->site_.errors_injected(false);
        }
        co_await self->confirm(home, part, &control::FaultInjections::get, name, false);
    }
    --self->running_;
}

void Client::start_stages() {
    const Faults& faults = site_.world().faults();
    for (std::size_t i = 0; i < site_.plan().volumes.size(); ++i) {
        if (faults.drawn(Fault::Throttle)) {
            ++running_;
            gate_->spawn(&Client::run_limits, this, i);
        }
        if (faults.drawn(Fault::Inject)) {
            ++running_;
            gate_->spawn(&Client::run_injections, this, i);
        }
    }
}

}  // namespace remora::sim
