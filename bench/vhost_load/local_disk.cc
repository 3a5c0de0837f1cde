// SPDX-License-Identifier: Apache-2.0
#include "bench/vhost_load/local_disk.h"

#include <cerrno>
#include <cstdlib>
#include <unistd.h>
#include <utility>

#include "backends/null/null_device.h"
#include "backends/ram/ram_device.h"
#include "core/check.h"
#include "tests/support/run_on.h"

namespace remora::bench {

using frontends::vhost_user_blk::Controller;

namespace {

constexpr std::uint32_t kBlockSize = 512;
constexpr std::uint64_t kBlocks = (std::uint64_t{64} << 20U) / kBlockSize;
constexpr std::size_t kBufferBytes = std::size_t{8} << 20U;
constexpr auto kConnectLimit = std::chrono::seconds(10);

}  // namespace

core::Result<block::Device*> LocalDisk::make_volume(const LocalDiskOptions& options) {
    core::Prng prng(1);
    const core::Uuid uuid = core::Uuid::random(prng);
    if (options.kind == "null") {
        auto device = backends::null::NullDevice::create("load", uuid, kBlockSize, kBlocks);
        if (!device) {
            return std::unexpected(device.error());
        }
        device_ = std::move(*device);
    } else if (options.kind == "ram") {
        auto device = backends::ram::RamDevice::create("load", uuid, kBlockSize, kBlocks);
        if (!device) {
            return std::unexpected(device.error());
        }
        device_ = std::move(*device);
    } else {
        return core::fail(core::ErrorKind::InvalidArgument,
                          "--local takes 'null' or 'ram', not '" + options.kind + "'");
    }
    return device_.get();
}

/// As remorad does for a remote controller with one path.
core::Result<block::Device*> LocalDisk::connect(const LocalDiskOptions& options) {
    using backends::nvme_tcp::MultipathController;
    const auto endpoint = reactor::Endpoint::parse(options.address);
    if (!endpoint) {
        return std::unexpected(endpoint.error());
    }
    core::Prng prng(1);
    backends::nvme_tcp::MultipathOptions remote;
    remote.name = "load";
    remote.subnqn = options.nqn;
    remote.hostid = core::Uuid::random(prng);
    remote.hostnqn = "nqn.2014-08.org.nvmexpress:uuid:" + remote.hostid.text();
    auto ready = test::await_on(reactor(), [&]() -> reactor::Task<core::Result<void>> {
        remote_ =
            std::make_unique<MultipathController>(remote, std::span(&*context_, 1), reactor());
        if (auto added = remote_->add_path({.id = "p0", .endpoint = *endpoint, .known = {}});
            !added) {
            co_return std::unexpected(added.error());
        }
        co_return co_await remote_->wait_path("p0", kConnectLimit);
    });
    if (!ready) {
        return std::unexpected(ready.error());
    }
    return test::run_on(reactor(), [&]() -> core::Result<block::Device*> {
        const auto volumes = remote_->status().volumes;
        if (volumes.size() != 1) {
            return core::fail(core::ErrorKind::InvalidArgument,
                              options.nqn + " shows " + std::to_string(volumes.size()) +
                                  " namespaces; the load wants exactly one");
        }
        return remote_->device(volumes.front().number);
    });
}

core::Result<std::unique_ptr<LocalDisk>> LocalDisk::start(const LocalDiskOptions& options) {
    std::unique_ptr<LocalDisk> self(new LocalDisk);
    char folder[] = "/tmp/vhost-load-XXXXXX";
    if (mkdtemp(folder) == nullptr) {
        return core::fail_errno("make a folder for the socket", errno);
    }
    self->folder_ = folder;
    self->path_ = self->folder_ + "/disk.sock";
    auto buffers = memory::BufferPool::create(kBufferBytes);
    if (!buffers) {
        return std::unexpected(buffers.error());
    }
    self->buffers_ = std::move(*buffers);
    reactor::ReactorThreadOptions thread_options;
    thread_options.name = "disk";
    thread_options.core = options.core;
    auto thread = reactor::ReactorThread::start(thread_options);
    if (!thread) {
        return std::unexpected(thread.error());
    }
    self->thread_ = std::move(*thread);
    self->context_.emplace(block::ReactorContext{self->reactor(), *self->buffers_});
    auto device = options.nqn.empty() ? self->make_volume(options) : self->connect(options);
    if (!device) {
        return std::unexpected(device.error());
    }
    auto made = test::await_on(self->reactor(), [&] {
        return Controller::create(
            {.name = "load", .socket_path = self->path_, .queues = options.queues}, **device,
            {*self->context_});
    });
    if (!made) {
        return std::unexpected(made.error());
    }
    self->controller_ = std::move(*made);
    return self;
}

LocalDisk::~LocalDisk() {
    if (controller_ != nullptr) {
        const auto stopped = test::await_on(
            thread_->reactor(), [this] { return controller_->stop(std::chrono::seconds(30)); });
        CHECK(stopped.has_value());
        test::run_on(thread_->reactor(), [&] { controller_.reset(); });
    }
    if (remote_ != nullptr) {
        test::await_on(thread_->reactor(), [this]() -> reactor::Task<bool> {
            co_await remote_->stop();
            remote_.reset();
            co_return true;
        });
    }
    thread_.reset();
    if (!folder_.empty()) {
        rmdir(folder_.c_str());
    }
}

}  // namespace remora::bench
