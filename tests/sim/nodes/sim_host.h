// SPDX-License-Identifier: Apache-2.0
// SimHost: a QEMU process of the world, with its guest: it may be killed and started anew, and then
// has none of its disks.
#pragma once

#include <functional>
#include <string>

#include "tests/sim/host/sim_qemu.h"
#include "tests/sim/world/world.h"

namespace remora::sim {

/// What the host's disks are, as the site knows it.
class HostDisks {
  public:
    virtual VolumeOracle* oracle_for(const std::string& socket_path) = 0;
    virtual WorkloadOptions workload_for(const std::string& socket_path) = 0;
    virtual bool errors_allowed(core::Nanos age) = 0;

  protected:
    ~HostDisks() = default;
};

class SimHost final : private HostWorld {
  public:
    SimHost(
        World& world, Machine& machine, std::string name, HostDisks& disks, SimQemuOptions options);
    SimHost(const SimHost&) = delete;
    SimHost& operator=(const SimHost&) = delete;

    void start();
    void set_faults(const QemuFaults& faults);
    /// What its guests' requests in flight come to is not known any more: told to the oracles.
    std::function<void()> on_death;
    std::function<core::Nanos()> restart_delay;

    /// A hostile guest's chance to change what a back end is looking at.
    void guest_moment(core::Prng& prng);

    [[nodiscard]] bool alive() const { return qemu_ != nullptr; }
    Process* process() { return process_; }
    /// Null while it is dead.
    SimQemu* qemu() { return qemu_; }
    /// Runs `f` in a turn of the host.
    template <typename F>
    void run(F f) {
        if (qemu_ != nullptr) {
            process_->cores().front()->reactor->post_function(std::move(f));
        }
    }

  private:
    reactor::Handle create_event() override;
    VolumeOracle* oracle_for(const std::string& socket_path) override {
        return disks_.oracle_for(socket_path);
    }
    WorkloadOptions workload_for(const std::string& socket_path) override {
        return disks_.workload_for(socket_path);
    }
    [[nodiscard]] bool served(const std::string& socket_path) override;
    void violation(std::string what) override { world_.violation(what); }
    bool errors_allowed(core::Nanos age) override { return disks_.errors_allowed(age); }
    bool calm() override { return world_.faults().stopped(); }
    void trace(std::string_view what, std::uint64_t a, std::uint64_t b) override {
        world_.trace().note(what, name_, a, b);
    }
    void died();

    World& world_;
    Machine& machine_;
    std::string name_;
    HostDisks& disks_;
    SimQemuOptions options_;
    core::Prng prng_;
    Process* process_ = nullptr;
    SimQemu* qemu_ = nullptr;  // the process's, which never frees it
};

}  // namespace remora::sim
