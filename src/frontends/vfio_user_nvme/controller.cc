// SPDX-License-Identifier: Apache-2.0
#include "frontends/vfio_user_nvme/controller.h"

#include <utility>

#include "core/check.h"
#include "core/log.h"
#include "reactor/call.h"

namespace remora::frontends::vfio_user_nvme {

using core::ErrorKind;
using log::kv;
using vfio_user::Session;

namespace {

/// No identifiers of a vendor's: drivers go by the class code, and some treat devices of known
/// vendors in ways of their own.
constexpr vfio_user::PciIdentity kPciIdentity{
    .vendor = 0x5245, .device = 0x0001, .subsystem_vendor = 0x5245, .subsystem = 0x0001};

}  // namespace

core::Result<std::unique_ptr<Controller>> Controller::create(const ControllerSpec& spec,
                                                             block::ReactorContext& context) {
    CHECK_ON_REACTOR(context.reactor);
    if (spec.io_queues == 0 || spec.io_queues > kMaxIoQueues) {
        return core::fail(ErrorKind::InvalidArgument,
                          "an NVMe controller has 1 to 64 pairs of I/O queues, not " +
                              std::to_string(spec.io_queues));
    }
    auto doorbells = Doorbells::create(context.reactor.io(), Function::kDoorbellOffset);
    if (!doorbells) {
        return std::unexpected(doorbells.error());
    }
    std::unique_ptr<Controller> self(new Controller(spec, context));
    const FunctionSpec function{.name = spec.name,
                                .io_queues = spec.io_queues,
                                .map_doorbells = spec.map_doorbells,
                                .msix = spec.msix,
                                .cntlid = spec.cntlid,
                                .identity = spec.identity,
                                .pci = kPciIdentity};
    FunctionOwner& owner = *self;
    self->function_ = std::make_unique<Function>(function, context, std::move(*doorbells), owner);
    auto acceptor =
        context.reactor.io().listen(reactor::Endpoint::unix_path(spec.socket_path), *self);
    if (!acceptor) {
        return std::unexpected(acceptor.error());
    }
    self->acceptor_ = std::move(*acceptor);
    return self;
}

Controller::Controller(const ControllerSpec& spec, block::ReactorContext& context)
    : spec_(spec), reactor_(context.reactor), waiting_timer_(*this) {}

Controller::~Controller() {
    CHECK(session_ == nullptr && waiting_ == reactor::kNoHandle);
}

core::Result<void> Controller::add_namespace(const nvme::Namespace& from, block::Device& device) {
    CHECK_ON_REACTOR(reactor_);
    return function_->add_namespace(from, device);
}

reactor::Task<core::Result<void>> Controller::remove_namespace(std::uint32_t nsid,
                                                               reactor::Nanos limit) {
    CHECK_ON_REACTOR(reactor_);
    const reactor::Nanos deadline = reactor_.now() + limit;
    OpenNamespace* leaving = function_->hide_namespace(nsid);
    if (leaving == nullptr) {
        co_return core::fail(ErrorKind::NotFound,
                             "'" + spec_.name + "' has no namespace " + std::to_string(nsid));
    }
    while (leaving->in_flight > 0) {
        const bool notified = co_await leaving->idle.wait_until(deadline);
        if (!notified && leaving->in_flight > 0) {
            co_return core::fail(ErrorKind::DeadlineExceeded, "volume '" + leaving->device.name() +
                                                                  "' still holds requests of '" +
                                                                  spec_.name + "'");
        }
    }
    function_->drop_namespace(nsid);
    co_return core::Result<void>{};
}

reactor::Task<core::Result<void>> Controller::stop(reactor::Nanos limit) {
    CHECK_ON_REACTOR(reactor_);
    const reactor::Nanos deadline = reactor_.now() + limit;
    stopping_ = true;
    acceptor_.reset();
    waiting_timer_.cancel();
    if (waiting_ != reactor::kNoHandle) {
        refuse(std::exchange(waiting_, reactor::kNoHandle));
    }
    if (session_ != nullptr) {
        session_->shut_down();
    }
    while (session_ != nullptr) {
        const bool notified = co_await session_ended_.wait_until(deadline);
        if (!notified && session_ != nullptr) {
            co_return core::fail(ErrorKind::DeadlineExceeded,
                                 "a volume still holds requests of '" + spec_.name + "'");
        }
    }
    while (OpenNamespace* first = function_->first_namespace()) {
        // No session, no commands.
        const auto removed = co_await remove_namespace(first->nsid, reactor::Nanos{0});
        CHECK(removed.has_value());
    }
    co_return core::Result<void>{};
}

void Controller::begin_freeze() {
    CHECK_ON_REACTOR(reactor_);
    if (std::exchange(stopping_, true)) {
        return;
    }
    if (waiting_ != reactor::kNoHandle) {
        waiting_timer_.cancel();
        refuse(std::exchange(waiting_, reactor::kNoHandle));
    }
    if (session_ != nullptr) {
        function_->begin_freeze();
    }
}

reactor::Task<core::Result<FrozenController>> Controller::freeze(reactor::Nanos limit) {
    CHECK_ON_REACTOR(reactor_);
    constexpr reactor::Nanos kLook = std::chrono::microseconds(200);
    const reactor::Nanos deadline = reactor_.now() + limit;
    begin_freeze();
    // Reset, disable and the like that are under way end by themselves.
    while (session_ != nullptr && session_->live() && session_->greeted() &&
           !(session_->can_freeze() && function_->can_freeze())) {
        if (reactor_.now() >= deadline) {
            co_return core::fail(ErrorKind::DeadlineExceeded,
                                 "commands of '" + spec_.name + "' are still under way");
        }
        co_await reactor::sleep_for(kLook);
    }
    if (session_ == nullptr || !session_->live() || !session_->greeted()) {
        co_return core::fail(ErrorKind::FailedPrecondition, "'" + spec_.name + "' has no client");
    }
    FunctionState function = function_->freeze();
    co_return FrozenController{
        .connection = connection_, .session = session_->freeze(), .function = std::move(function)};
}

core::Result<void> Controller::restore(const FrozenController& from) {
    CHECK_ON_REACTOR(reactor_);
    if (session_ != nullptr) {
        for_each_handle(from, [this](reactor::Handle handle) { refuse(handle); });
        return core::fail(ErrorKind::FailedPrecondition,
                          "'" + spec_.name + "' has another client already");
    }
    open_session(from.connection);
    if (session_ == nullptr) {
        for_each_handle(from, [&](reactor::Handle handle) {
            if (handle != from.connection) {  // which is closed, or none
                refuse(handle);
            }
        });
        return core::fail(ErrorKind::DataLoss, "the client's connection is none");
    }
    if (const auto session = session_->restore(from.session); !session) {
        refuse(from.function.doorbells);
        session_->fail_soon("memory of the client cannot be mapped again");
        return core::fail(ErrorKind::DataLoss, "memory of the client cannot be mapped again");
    }
    auto function = function_->restore(from.function);
    if (!function) {
        session_->fail_soon(function.error().message);
    }
    return function;
}

ControllerStatus Controller::status() const {
    if (session_ == nullptr) {
        return {};
    }
    return {.connected = session_->live(),
            .ready = function_->ready(),
            .active_queues = function_->io_queue_count()};
}

void Controller::on_accept(reactor::Handle connection) {
    if (stopping_) {
        refuse(connection);
    } else if (session_ == nullptr) {
        open_session(connection);
    } else if (waiting_ == reactor::kNoHandle) {
        waiting_ = connection;
        reactor_.arm(waiting_timer_, reactor_.now() + kSuccessorWait);
    } else {
        refuse(connection);
    }
}

void Controller::on_timer(reactor::Timer& /*timer*/) {
    if (waiting_ == reactor::kNoHandle) {
        return;
    }
    if (session_ != nullptr && session_->live()) {
        log::warn("second client refused", kv("device", spec_.name));
        refuse(std::exchange(waiting_, reactor::kNoHandle));
        return;
    }
    // The first client is gone and its last requests end: the second one is next.
    reactor_.arm(waiting_timer_, reactor_.now() + kSuccessorWait);
}

void Controller::refuse(reactor::Handle connection) {
    reactor_.io().close(connection);
}

void Controller::open_session(reactor::Handle connection) {
    auto stream = reactor_.io().adopt_stream(connection);
    if (!stream) {
        log::warn("client lost", kv("device", spec_.name), kv("reason", stream.error().message));
        return;
    }
    log::info("vfio-user session opened", kv("device", spec_.name));
    connection_ = connection;
    session_ = std::make_unique<Session>(reactor_, std::move(*stream), *function_,
                                         function_->irq_counts(), spec_.name);
    function_->attach(*session_);
}

void Controller::on_session_ended() {
    session_.reset();
    session_ended_.notify();
    if (waiting_ != reactor::kNoHandle) {
        waiting_timer_.cancel();
        open_session(std::exchange(waiting_, reactor::kNoHandle));
    }
}

}  // namespace remora::frontends::vfio_user_nvme
