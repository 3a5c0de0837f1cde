// SPDX-License-Identifier: Apache-2.0
#include "node/runtime.h"

#include <set>
#include <string>
#include <utility>

#include "block/counted_device.h"
#include "core/log.h"
#include "core/units.h"

namespace remora::node {

namespace {

using core::ErrorKind;
using core::fail;

// Data reactors are 0..n-1, the control reactor has an id of its own behind them.
constexpr std::size_t kMaxDataReactors = block::CountedDevice::kMaxReactors - 1;

core::Result<std::unique_ptr<reactor::ReactorThread>> start_reactor(std::uint32_t id,
                                                                    std::string name,
                                                                    std::optional<unsigned> core,
                                                                    core::Nanos spin,
                                                                    std::uint64_t seed) {
    reactor::ReactorThreadOptions options;
    options.id = id;
    options.name = std::move(name);
    options.core = core;
    options.policy.spin = spin;
    options.seed = seed;
    return reactor::ReactorThread::start(options);
}

}  // namespace

core::Result<std::unique_ptr<Runtime>> Runtime::start(const RuntimeOptions& options) {
    if (options.cores.size() > kMaxDataReactors) {
        return fail(ErrorKind::InvalidArgument, "more than 63 cores given");
    }
    if (std::set(options.cores.begin(), options.cores.end()).size() != options.cores.size()) {
        return fail(ErrorKind::InvalidArgument, "a core is given twice");
    }
    std::unique_ptr<Runtime> self(new Runtime);
    const std::size_t count = options.cores.empty() ? 1 : options.cores.size();
    core::Prng seeds(options.seed);
    auto control = start_reactor(static_cast<std::uint32_t>(count), "control", std::nullopt,
                                 core::Nanos{0}, seeds.next());
    if (!control) {
        return std::unexpected(control.error());
    }
    self->control_ = std::move(*control);
    for (std::size_t i = 0; i < count; ++i) {
        const auto core = options.cores.empty() ? std::nullopt : std::optional(options.cores[i]);
        auto pool = memory::BufferPool::create(options.buffer_bytes);
        if (!pool) {
            return std::unexpected(pool.error());
        }
        auto thread = start_reactor(static_cast<std::uint32_t>(i), "reactor-" + std::to_string(i),
                                    core, options.spin, seeds.next());
        if (!thread) {
            return std::unexpected(thread.error());
        }
        self->contexts_.push_back({(*thread)->reactor(), **pool});
        self->pools_.push_back(std::move(*pool));
        self->threads_.push_back(std::move(*thread));
    }
    log::info("reactors started", log::kv("data", count), log::kv("pinned", !options.cores.empty()),
              log::kv("spin_us", options.spin.count() / 1000),
              log::kv("buffers_each", core::format_size(self->pools_.front()->capacity())));
    return self;
}

Runtime::~Runtime() {
    // Threads first: a pool checks that nothing is out when it dies.
    threads_.clear();
    control_.reset();
}

}  // namespace remora::node
