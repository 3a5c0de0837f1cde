// SPDX-License-Identifier: Apache-2.0
#include "bench/vfio_load/local_controller.h"

#include <cerrno>
#include <cstdlib>
#include <future>
#include <unistd.h>
#include <utility>

#include "backends/null/null_device.h"
#include "backends/ram/ram_device.h"

namespace remora::bench {

using frontends::vfio_user_nvme::Controller;
using frontends::vfio_user_nvme::ControllerSpec;
using frontends::vfio_user_nvme::ControllerStatus;
using frontends::vfio_user_nvme::QueueCounters;

namespace {

constexpr std::uint32_t kBlockSize = 512;
constexpr std::uint64_t kBlocks = (std::uint64_t{64} << 20U) / kBlockSize;
constexpr auto kLimit = std::chrono::seconds(30);

core::Result<std::unique_ptr<block::Device>> make_volume(const std::string& kind,
                                                         std::uint32_t number) {
    core::Prng prng(number);
    const core::Uuid uuid = core::Uuid::random(prng);
    const std::string name = "load" + std::to_string(number);
    if (kind == "null") {
        return backends::null::NullDevice::create(name, uuid, kBlockSize, kBlocks);
    }
    if (kind == "ram") {
        return backends::ram::RamDevice::create(name, uuid, kBlockSize, kBlocks);
    }
    return core::fail(core::ErrorKind::InvalidArgument,
                      "--local takes 'null' or 'ram', not '" + kind + "'");
}

template <typename F>
auto run_on(reactor::Reactor& reactor, F f) {
    std::promise<std::invoke_result_t<F&>> done;
    auto finished = done.get_future();
    reactor.post_function([&] { done.set_value(f()); });
    return finished.get();
}

template <typename F>
reactor::detail::Detached await(F make, std::promise<core::Result<void>>& done) {
    auto result = co_await make();
    done.set_value(std::move(result));
}

/// Runs a coroutine there.
template <typename F>
core::Result<void> run_task(reactor::Reactor& reactor, F make) {
    std::promise<core::Result<void>> done;
    auto finished = done.get_future();
    reactor.post_function([&] { await(make, done); });
    return finished.get();
}

}  // namespace

core::Result<std::unique_ptr<LocalController>> LocalController::start(const LocalOptions& options) {
    std::unique_ptr<LocalController> self(new LocalController(options));
    if (options.path.empty()) {
        char folder[] = "/tmp/vfio-load-XXXXXX";
        if (mkdtemp(folder) == nullptr) {
            return core::fail_errno("make a folder for the socket", errno);
        }
        self->folder_ = folder;
        self->options_.path = self->folder_ + "/nvme.sock";
    }
    auto buffers = memory::BufferPool::create(std::size_t{4} << 20U);
    if (!buffers) {
        return std::unexpected(buffers.error());
    }
    self->buffers_ = std::move(*buffers);
    reactor::ReactorThreadOptions thread_options;
    thread_options.name = "nvme";
    thread_options.core = options.core;
    auto thread = reactor::ReactorThread::start(thread_options);
    if (!thread) {
        return std::unexpected(thread.error());
    }
    self->thread_ = std::move(*thread);
    self->context_.emplace(block::ReactorContext{self->thread_->reactor(), *self->buffers_});
    if (auto made = self->make_controller(); !made) {
        return std::unexpected(made.error());
    }
    if (auto added = self->add_namespace(1); !added) {
        return std::unexpected(added.error());
    }
    return self;
}

core::Result<void> LocalController::make_controller() {
    ControllerSpec spec;
    spec.name = "load";
    spec.socket_path = options_.path;
    spec.io_queues = options_.queues;
    spec.map_doorbells = options_.map_doorbells;
    spec.msix = options_.msix;
    spec.identity.nqn = "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-000000000001";
    spec.identity.serial = "LOAD0001";
    spec.identity.model = "Remora";
    spec.identity.max_namespaces = 32;
    return run_on(thread_->reactor(), [&]() -> core::Result<void> {
        auto controller = Controller::create(spec, *context_);
        if (!controller) {
            return std::unexpected(controller.error());
        }
        controller_ = std::move(*controller);
        return {};
    });
}

core::Result<void> LocalController::add_namespace(std::uint32_t nsid) {
    if (devices_.contains(nsid)) {
        return core::fail(core::ErrorKind::AlreadyExists, "that namespace is there");
    }
    auto device = make_volume(options_.kind, nsid);
    if (!device) {
        return std::unexpected(device.error());
    }
    auto added = run_on(thread_->reactor(), [&] {
        nvme::Namespace from;
        from.nsid = nsid;
        from.uuid = (*device)->uuid();
        return controller_->add_namespace(from, **device);
    });
    if (added) {
        devices_.emplace(nsid, std::move(*device));
    }
    return added;
}

core::Result<void> LocalController::remove_namespace(std::uint32_t nsid) {
    auto removed =
        run_task(thread_->reactor(), [&] { return controller_->remove_namespace(nsid, kLimit); });
    if (removed) {
        devices_.erase(nsid);
    }
    return removed;
}

QueueCounters LocalController::counters() {
    return run_on(thread_->reactor(), [&] { return controller_->counters(); });
}

ControllerStatus LocalController::status() {
    return run_on(thread_->reactor(), [&] { return controller_->status(); });
}

LocalController::~LocalController() {
    if (controller_ != nullptr) {
        const auto stopped =
            run_task(thread_->reactor(), [&] { return controller_->stop(kLimit); });
        CHECK(stopped.has_value());
        run_on(thread_->reactor(), [&] {
            controller_.reset();
            return 0;
        });
    }
    thread_.reset();
    if (!folder_.empty()) {
        rmdir(folder_.c_str());
    }
}

}  // namespace remora::bench
