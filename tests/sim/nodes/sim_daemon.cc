// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/nodes/sim_daemon.h"

#include <algorithm>

#include "control/identity.h"
#include "core/log.h"
#include "platform/functions_spec.h"
#include "platform/null_platform.h"
#include "platform/qemu_platform.h"

namespace remora::sim {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr core::Nanos kStopLimit{seconds(8)};

/// A node that reaches remote controllers as the run wants it.
class TunedNode final : public node::LocalNode {
  public:
    TunedNode(std::span<const block::ReactorContext> reactors,
              reactor::Reactor& control,
              const node::LocalNodeOptions& options,
              RemoteTuning tuning)
        : LocalNode(reactors, control, options), tuning_(tuning) {}

    reactor::Task<core::Result<void>> create_remote(node::RemoteSpec spec) override {
        spec.io_queues = tuning_.io_queues;
        spec.queue_size = tuning_.queue_size;
        spec.header_digest = tuning_.header_digest;
        spec.data_digest = tuning_.data_digest;
        co_return co_await LocalNode::create_remote(std::move(spec));
    }

  private:
    RemoteTuning tuning_;
};

}  // namespace

core::Result<control::Secret> SimSealKeys::for_opening() {
    const std::string key(control::kSealKeyBytes, 's');
    return control::Secret(control::bytes_of(key));
}

core::Result<void> SimSealKeys::fill_random(std::span<std::byte> out) {
    std::ranges::generate(out, [this] { return static_cast<std::byte>(prng_.below(256)); });
    return {};
}

SimDaemon::SimDaemon(World& world, Machine& machine, DaemonSpec spec)
    : world_(world),
      machine_(machine),
      spec_(std::move(spec)),
      prng_(world.fork_prng()),
      seal_keys_(prng_) {}

reactor::Reactor& SimDaemon::control() {
    return *process_->cores().back()->reactor;
}

void SimDaemon::start() {
    CHECK(life_ == nullptr);
    ++lives_;
    Process& process = world_.start_process(machine_, spec_.name);
    process.has_rings = true;
    process_ = &process;
    build(process);
    process.on_death = [this] { died(); };
    process.guest_moment = guest_moment;
    control().post_function([this] {
        // Nobody waits for it: a process that dies in its boot takes it along.
        auto* gate = new reactor::Gate;
        gate->spawn(&SimDaemon::boot, this);
    });
    world_.start(process);
}

void SimDaemon::build(Process& process) {
    auto life = std::make_shared<Life>();
    life_ = life.get();
    process.program = life;
    for (std::uint32_t i = 0; i < spec_.reactors; ++i) {
        process.add_core("data" + std::to_string(i));
    }
    process.add_core("control");
    for (std::uint32_t i = 0; i < spec_.reactors; ++i) {
        life->pools.push_back(std::move(*memory::BufferPool::create(std::size_t{1} << 20U)));
        memory::BufferPool& pool = *life->pools.back();
        while (pool.capacity() - pool.in_use() > spec_.pool_left) {
            life->taken.push_back(pool.allocate(memory::BufferPool::kMinBytes));
        }
        life->contexts.push_back({*process.cores()[i]->reactor, pool});
    }
}

bool SimDaemon::open_parts() {
    auto store = control::SqliteStore::open_file("/state/remora.db", spec_.vfs.c_str());
    if (!store) {
        exit(store.error().message);
        return false;
    }
    life_->store = std::move(*store);
    const auto identity = control::load_identity(*life_->store, prng_);
    if (!identity) {
        exit(identity.error().message);
        return false;
    }
    // Who it is as a host outlives every life: targets know it by that.
    if (!host_nqn_.empty() && identity->host_nqn != host_nqn_) {
        world_.violation(spec_.name + " has another identity than before: " + identity->host_nqn +
                         ", was " + host_nqn_);
    }
    host_nqn_ = identity->host_nqn;
    if (spec_.qmp_path.empty()) {
        life_->platform = std::make_unique<platform::NullPlatform>();
    } else {
        platform::FunctionPlaces places = *platform::parse_functions(spec_.functions);
        CHECK(platform::add_virtual_functions(spec_.virtual_functions, places));
        life_->platform = std::make_unique<platform::QemuPlatform>(
            reactor::Endpoint::unix_path(spec_.qmp_path), std::move(places));
    }
    node::LocalNodeOptions node_options;
    node_options.identity = {identity->host_nqn, identity->host_id};
    node_options.path_timeout = spec_.path_timeout;
    node_options.target = spec_.target;
    control::Options plane_options;
    plane_options.socket_directory = spec_.socket_directory;
    plane_options.reactors = spec_.reactors;
    plane_options.seal_keys = &seal_keys_;
    plane_options.crypt_kernel = "any";
    life_->node =
        std::make_unique<TunedNode>(life_->contexts, control(), node_options, spec_.tuning);
    life_->plane = std::make_unique<control::ControlPlane>(
        *life_->store, *life_->node, *life_->platform, prng_.fork(), plane_options);
    return true;
}

reactor::Task<> SimDaemon::boot(SimDaemon* self) {
    if (!self->open_parts()) {
        co_return;
    }
    const auto built = co_await self->life_->plane->start();
    if (!built) {
        self->exit(built.error().message);
        co_return;
    }
    self->serving_ = true;
    self->world_.trace().note("serving", self->spec_.name, self->lives_);
}

void SimDaemon::exit(const std::string& why) {
    world_.trace().note("exit: " + why, spec_.name);
    world_.kill(*process_);
}

void SimDaemon::died() {
    serving_ = false;
    life_ = nullptr;
    if (on_death) {
        on_death();
    }
    for (const auto& ticket : std::exchange(tickets_, {})) {
        if (!std::exchange(ticket->done, true)) {
            ticket->fail(core::ErrorKind::Unavailable);
        }
    }
    if (restart_delay) {
        const core::Nanos delay = restart_delay();
        world_.events().after(delay, [this] {
            if (life_ == nullptr && machine_.powered) {
                start();
            }
        });
    }
}

reactor::Task<> SimDaemon::shut(SimDaemon* self) {
    Life& life = *self->life_;
    const bool calls_ended = co_await life.plane->stop(self->control().now() + kStopLimit);
    const bool all_ended = calls_ended && co_await life.node->stop(kStopLimit);
    self->world_.trace().note("stopped", self->spec_.name, all_ended ? 1 : 0);
    self->stopped_clean_ = all_ended;
    if (all_ended) {
        // Destructors check that nothing is left in their objects.
        co_await life.platform->stop();
        life.plane.reset();
        life.node.reset();
        life.platform.reset();
        self->check_empty();
    }
    self->exit("stopped");
}

void SimDaemon::check_empty() {
    for (std::size_t i = 0; i < life_->pools.size(); ++i) {
        const memory::BufferPool& pool = *life_->pools[i];
        if (pool.in_use() !=
            life_->taken.size() / life_->pools.size() * memory::BufferPool::kMinBytes) {
            world_.violation(spec_.name + " stopped with buffers out: " +
                             std::to_string(pool.in_use()) + " bytes");
        }
    }
    if (process_->handles().size() != 0) {
        world_.violation(spec_.name + " stopped with open handles: " +
                         std::to_string(process_->handles().size()));
    }
}

void SimDaemon::stop_gently() {
    if (!std::exchange(serving_, false)) {
        return;
    }
    control().post_function([this] {
        auto* gate = new reactor::Gate;
        gate->spawn(&SimDaemon::shut, this);
    });
}

}  // namespace remora::sim
