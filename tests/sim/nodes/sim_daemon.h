// SPDX-License-Identifier: Apache-2.0
// SimDaemon: a remorad in the world: the real store, node, host platform and control plane, put
// together as control::Daemon does, without threads and gRPC. It can die and be started again on
// what its machine's disk has kept; a supervisor starts it again by itself.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "control/control_plane.h"
#include "control/seal_keys.h"
#include "control/sqlite_store.h"
#include "memory/buffer_pool.h"
#include "node/local_node.h"
#include "platform/host_platform.h"
#include "tests/sim/world/sim_io.h"
#include "tests/sim/world/world.h"

namespace remora::sim {

/// What differs from run to run in how a node reaches remote controllers.
struct RemoteTuning {
    std::uint32_t io_queues = 0;
    std::uint32_t queue_size = 128;
    bool header_digest = false;
    bool data_digest = false;
};

struct DaemonSpec {
    std::string name;
    std::uint32_t reactors = 1;  ///< Data reactors.
    std::string qmp_path;        ///< Empty: no host to plug into.
    std::string functions;       ///< platform/functions_spec.h
    std::string virtual_functions;
    std::string vfs;               ///< The SQLite VFS of its machine's disk.
    std::string socket_directory;  ///< Where vhost-user sockets are.
    RemoteTuning tuning;
    frontends::nvme_tcp::TargetLimits target;
    core::Nanos path_timeout{std::chrono::seconds(30)};
    std::size_t pool_left = ~std::size_t{0};  ///< Bytes of each pool that are not taken away.
};

/// The file that secrets are sealed with, which is never lost; and bytes that leave nothing to
/// chance.
class SimSealKeys final : public control::SealKeys {
  public:
    explicit SimSealKeys(core::Prng prng) : prng_(prng) {}
    core::Result<control::Secret> for_sealing() override { return for_opening(); }
    core::Result<control::Secret> for_opening() override;
    core::Result<void> fill_random(std::span<std::byte> out) override;

  private:
    core::Prng prng_;
};

class SimDaemon {
  public:
    SimDaemon(World& world, Machine& machine, DaemonSpec spec);
    SimDaemon(const SimDaemon&) = delete;
    SimDaemon& operator=(const SimDaemon&) = delete;

    void start();
    /// Whether calls are taken.
    [[nodiscard]] bool serving() const { return serving_; }
    [[nodiscard]] bool alive() const { return life_ != nullptr; }
    Process* process() { return process_; }
    [[nodiscard]] const DaemonSpec& spec() const { return spec_; }
    Machine& machine() { return machine_; }
    [[nodiscard]] std::uint64_t lives() const { return lives_; }

    /// One life's parts, for looking at after everything is quiet.
    struct Life {
        std::unique_ptr<control::SqliteStore> store;
        std::vector<std::unique_ptr<memory::BufferPool>> pools;
        std::vector<std::span<std::byte>> taken;  ///< Of the pools, by SmallPool.
        std::vector<block::ReactorContext> contexts;
        std::unique_ptr<platform::HostPlatform> platform;
        std::unique_ptr<node::LocalNode> node;
        std::unique_ptr<control::ControlPlane> plane;
    };
    Life* life() { return life_; }

    /// Makes a call of the control plane as a client on the network would: it takes time, its
    /// answer may be lost (DeadlineExceeded) or its daemon die (Unavailable); then nobody knows
    /// whether it was carried out. `done` runs between turns.
    template <typename Part, typename Request, typename Response>
    void call(Part control::ControlPlane::* part,
              control::Task<core::Result<Response>> (Part::*method)(const Request&),
              Request request,
              std::function<void(core::Result<Response>)> done);

    /// Stops as on SIGTERM, then exits. What is left then that should not be is a violation.
    void stop_gently();
    /// After stop_gently(): everything had ended in time.
    [[nodiscard]] bool stopped_clean() const { return stopped_clean_; }

    /// Told of each death, before anything is started again.
    std::function<void()> on_death;
    /// Called between two looks of the process at a guest's memory.
    std::function<void()> guest_moment;
    /// When a dead one is started again; not at all without.
    std::function<core::Nanos()> restart_delay;

  private:
    static constexpr core::Nanos kCallLimit{std::chrono::seconds(150)};
    struct Ticket {
        std::function<void(core::ErrorKind)> fail;
        bool done = false;
    };

    static reactor::Task<> boot(SimDaemon* self);
    static reactor::Task<> shut(SimDaemon* self);
    void build(Process& process);
    bool open_parts();
    void check_empty();
    void died();
    void exit(const std::string& why);
    reactor::Reactor& control();

    template <typename Part, typename Request, typename Response, typename Done>
    static reactor::Task<> carry_out(
        Part* part,
        control::Task<core::Result<Response>> (Part::*method)(const Request&),
        std::shared_ptr<Request> request,
        Done answer);

    World& world_;
    Machine& machine_;
    DaemonSpec spec_;
    core::Prng prng_;
    SimSealKeys seal_keys_;
    Process* process_ = nullptr;
    Life* life_ = nullptr;  // owned by the process, which never frees it
    bool serving_ = false;
    bool stopped_clean_ = false;
    std::uint64_t lives_ = 0;
    std::string host_nqn_;  // of its lives so far
    std::vector<std::shared_ptr<Ticket>> tickets_;
};

template <typename Part, typename Request, typename Response, typename Done>
reactor::Task<> SimDaemon::carry_out(
    Part* part,
    control::Task<core::Result<Response>> (Part::*method)(const Request&),
    std::shared_ptr<Request> request,
    Done answer) {
    core::Result<Response> result = co_await (part->*method)(*request);
    answer(std::move(result));
}

template <typename Part, typename Request, typename Response>
void SimDaemon::call(Part control::ControlPlane::* part,
                     control::Task<core::Result<Response>> (Part::*method)(const Request&),
                     Request request,
                     std::function<void(core::Result<Response>)> done) {
    const auto ticket = std::make_shared<Ticket>();
    const auto told = std::make_shared<std::function<void(core::Result<Response>)>>(done);
    ticket->fail = [told](core::ErrorKind kind) {
        (*told)(core::fail(kind, "the simulated connection says so"));
    };
    const auto fail_after = [this, ticket](core::Nanos delay, core::ErrorKind kind) {
        world_.events().after(delay, [ticket, kind] {
            if (!std::exchange(ticket->done, true)) {
                ticket->fail(kind);
            }
        });
    };
    if (!serving_) {
        fail_after(std::chrono::microseconds(50), core::ErrorKind::Unavailable);
        return;
    }
    std::erase_if(tickets_, [](const auto& old) { return old->done; });
    tickets_.push_back(ticket);
    const bool lost = world_.faults().strikes(Fault::LostCall, 8);
    fail_after(
        lost ? core::Nanos(world_.faults().pick(Fault::LostCall, 20'000'000'000)) : kCallLimit,
        core::ErrorKind::DeadlineExceeded);
    const auto answer = [world = &world_, ticket, told, lost](core::Result<Response> result) {
        if (lost) {
            return;
        }
        world->events().after(std::chrono::microseconds(30),
                              [ticket, told, result = std::move(result)]() mutable {
                                  if (!std::exchange(ticket->done, true)) {
                                      (*told)(std::move(result));
                                  }
                              });
    };
    const auto kept = std::make_shared<Request>(std::move(request));
    control().post_function([plane = life_->plane.get(), part, method, kept, answer] {
        using Answer = std::remove_const_t<decltype(answer)>;
        const bool taken =
            plane->gate().spawn(&SimDaemon::carry_out<Part, Request, Response, Answer>,
                                &(plane->*part), method, kept, answer);
        if (!taken) {
            answer(core::fail(core::ErrorKind::Unavailable, "remorad is stopping"));
        }
    });
}

}  // namespace remora::sim
