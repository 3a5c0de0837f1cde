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

core::Result<std::unique_ptr<block::Device>> make_volume(const std::string& kind) {
    core::Prng prng(1);
    const core::Uuid uuid = core::Uuid::random(prng);
    if (kind == "null") {
        return backends::null::NullDevice::create("load", uuid, kBlockSize, kBlocks);
    }
    if (kind == "ram") {
        return backends::ram::RamDevice::create("load", uuid, kBlockSize, kBlocks);
    }
    return core::fail(core::ErrorKind::InvalidArgument,
                      "--local takes 'null' or 'ram', not '" + kind + "'");
}

}  // namespace

core::Result<std::unique_ptr<LocalDisk>> LocalDisk::start(const std::string& kind,
                                                          std::uint16_t queues,
                                                          std::optional<unsigned> core) {
    std::unique_ptr<LocalDisk> self(new LocalDisk);
    auto device = make_volume(kind);
    if (!device) {
        return std::unexpected(device.error());
    }
    self->device_ = std::move(*device);
    char folder[] = "/tmp/vhost-load-XXXXXX";
    if (mkdtemp(folder) == nullptr) {
        return core::fail_errno("make a folder for the socket", errno);
    }
    self->folder_ = folder;
    self->path_ = self->folder_ + "/disk.sock";
    auto buffers = memory::BufferPool::create(std::size_t{1} << 20U);
    if (!buffers) {
        return std::unexpected(buffers.error());
    }
    self->buffers_ = std::move(*buffers);
    reactor::ReactorThreadOptions options;
    options.name = "disk";
    options.core = core;
    auto thread = reactor::ReactorThread::start(options);
    if (!thread) {
        return std::unexpected(thread.error());
    }
    self->thread_ = std::move(*thread);
    self->context_.emplace(block::ReactorContext{self->thread_->reactor(), *self->buffers_});
    auto made = test::await_on(self->thread_->reactor(), [&] {
        return Controller::create({.name = "load", .socket_path = self->path_, .queues = queues},
                                  *self->device_, {*self->context_});
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
    thread_.reset();
    if (!folder_.empty()) {
        rmdir(folder_.c_str());
    }
}

}  // namespace remora::bench
