// SPDX-License-Identifier: Apache-2.0
#include "node/vhost_disks.h"

#include <algorithm>
#include <utility>

#include "core/log.h"
#include "reactor/call.h"

namespace remora::node {

using core::ErrorKind;
using core::fail;
using frontends::vhost_user_blk::ControllerSpec;

namespace {

std::string user_text(const std::string& name) {
    return "virtio-blk '" + name + "'";
}

}  // namespace

Result<std::shared_ptr<VhostDisks::Disk>> VhostDisks::find(const std::string& name) {
    const auto at = disks_.find(name);
    if (at == disks_.end()) {
        return fail(ErrorKind::NotFound, "there is no virtio-blk '" + name + "'");
    }
    if (at->second->busy) {
        return fail(ErrorKind::Aborted,
                    "virtio-blk '" + name + "' is being made or removed; try again");
    }
    return at->second;
}

Task<Result<void>> VhostDisks::create(VhostBlkSpec spec) {
    if (disks_.contains(spec.name)) {
        co_return fail(ErrorKind::AlreadyExists,
                       "a virtio-blk named '" + spec.name + "' exists already");
    }
    if (spec.queues == 0 || spec.queues > Controller::kMaxQueues) {
        co_return fail(ErrorKind::InvalidArgument,
                       "queues is " + std::to_string(spec.queues) + ", not between 1 and 64");
    }
    const auto device = volumes_.use(spec.volume, user_text(spec.name));
    if (!device) {
        co_return std::unexpected(device.error());
    }
    auto made = std::make_shared<Disk>();
    made->volume = spec.volume;
    made->queues = spec.queues;
    made->place =
        static_cast<std::size_t>(std::min_element(load_.begin(), load_.end()) - load_.begin());
    weigh(*made, 1);
    made->limited = std::make_unique<services::qos::QosDevice>(**device);
    made->limited->limits().set_rates(spec.rates);
    Disk& disk = *disks_.emplace(spec.name, std::move(made)).first->second;

    std::vector<block::ReactorContext> contexts;
    contexts.reserve(contexts_.size());
    for (std::size_t i = 0; i < contexts_.size(); ++i) {
        contexts.push_back(contexts_[(disk.place + i) % contexts_.size()]);
    }
    const ControllerSpec options{spec.name, spec.socket_path,
                                 static_cast<std::uint16_t>(spec.queues)};
    auto controller = co_await reactor::call_on(contexts.front().reactor, [&] {
        return Controller::create(options, *disk.limited, contexts);
    });
    if (!controller) {
        weigh(disk, -1);
        volumes_.release(spec.volume, user_text(spec.name));
        disks_.erase(spec.name);
        co_return std::unexpected(controller.error());
    }
    disk.controller = std::move(*controller);
    disk.busy = false;
    co_return Result<void>{};
}

Task<Result<void>> VhostDisks::remove(std::string name) {
    return drain(std::move(name), drain_limit_);
}

Task<Result<void>> VhostDisks::drain(std::string name, core::Nanos limit) {
    const auto found = find(name);
    if (!found) {
        co_return std::unexpected(found.error());
    }
    Disk& disk = **found;
    disk.busy = true;
    // What its own limits hold back ends now instead of in its time.
    disk.limited->limits().set_rates({});
    co_await show_rates(disk.limited->limits());
    const auto stopped =
        // NOLINTNEXTLINE(cppcoreguidelines-avoid-capturing-lambda-coroutines): call_on keeps it
        co_await reactor::call_on(contexts_[disk.place].reactor, [&]() -> Task<Result<void>> {
            auto result = co_await disk.controller->stop(limit);
            if (result) {
                disk.controller.reset();
            }
            co_return result;
        });
    if (!stopped) {
        disk.busy = false;
        disk.leaving = true;
        co_return stopped;
    }
    weigh(disk, -1);
    volumes_.release(disk.volume, user_text(name));
    disks_.erase(name);
    co_return Result<void>{};
}

void VhostDisks::weigh(const Disk& disk, int sign) {
    for (std::size_t i = 0; i < disk.queues; ++i) {
        load_[(disk.place + i) % load_.size()] += sign;
    }
}

Task<> VhostDisks::show_rates(services::qos::QosStage& limits) {
    for (const block::ReactorContext& context : contexts_) {
        co_await reactor::call_on(context.reactor, [&limits] { limits.show_rates(); });
    }
}

// A question may be asked of a disk that is removed next: both go to its home reactor by one
// mailbox, which keeps their order.
Task<Result<VhostBlkStatus>> VhostDisks::status(std::string name) {
    const auto disk = find(name);
    if (!disk) {
        co_return std::unexpected(disk.error());
    }
    if ((*disk)->leaving) {
        co_return fail(ErrorKind::FailedPrecondition,
                       "virtio-blk '" + name + "' is being removed; its requests have not ended");
    }
    const auto from = co_await reactor::call_on(
        contexts_[(*disk)->place].reactor,
        [&controller = *(*disk)->controller] { return controller.status(); });
    co_return VhostBlkStatus{from.connected, from.active_queues};
}

Task<Result<block::DeviceStats>> VhostDisks::stats(std::string name) {
    const auto disk = find(name);
    if (!disk) {
        co_return std::unexpected(disk.error());
    }
    block::DeviceStats sum;
    const auto add = [&sum,
                      &limited = std::as_const((*disk)->limited->limits())](const auto& lane) {
        sum.add(lane.counters().io);
        sum.throttled_ns += limited.throttled_ns_here();
    };
    co_await reactor::call_on(
        contexts_[(*disk)->place].reactor,
        [&add, &controller = *(*disk)->controller] { return controller.visit_lanes(add); });
    co_return sum;
}

Task<Result<void>> VhostDisks::set_rates(std::string name, Rates rates) {
    const auto disk = find(name);
    if (!disk) {
        co_return std::unexpected(disk.error());
    }
    services::qos::QosStage& limits = (*disk)->limited->limits();
    limits.set_rates(rates);
    co_await show_rates(limits);
    co_return Result<void>{};
}

Task<bool> VhostDisks::stop(core::Nanos limit) {
    const core::Nanos deadline = reactor::Reactor::current().now() + limit;
    while (!disks_.empty()) {
        const std::string name = disks_.begin()->first;
        const core::Nanos left =
            std::max(deadline - reactor::Reactor::current().now(), core::Nanos{0});
        const auto removed = co_await drain(name, left);
        if (!removed) {
            log::info("stopping with requests in flight", log::kv("virtio_blk", name),
                      log::kv("reason", removed.error().message));
            co_return false;
        }
    }
    co_return true;
}

}  // namespace remora::node
