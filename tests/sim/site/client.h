// SPDX-License-Identifier: Apache-2.0
// Client: whoever orders the storage: it makes volumes and subsystems on the targets, attaches them
// to hosts, detaches them, and asks again when an answer is lost. It remembers what it was told,
// and finds fault with a daemon that forgets.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "reactor/call.h"
#include "reactor/gate.h"
#include "tests/sim/site/site.h"

namespace remora::sim {

class Client {
  public:
    explicit Client(Site& site);
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    void start();
    /// Volumes are made and every disk of the plan was attached once.
    [[nodiscard]] bool attached_all() const { return first_attached_ == disks_.size(); }
    /// No more changes: each disk is brought to the state `attached`, then left alone.
    void settle() { settling_ = true; }
    [[nodiscard]] bool settled() const { return running_ == 0; }
    /// Detaches everything. After settled().
    void detach_all();
    [[nodiscard]] bool detached_all() const { return running_ == 0; }

    struct Disk {
        std::size_t ipu = 0;
        core::HostFunction function;
        std::size_t volume = 0;
        bool attached = false;  ///< As the daemon answered.
        bool hostile = false;
    };
    [[nodiscard]] const std::vector<Disk>& disks() const { return disks_; }
    /// The last part of the disk's resource name, and of its socket.
    [[nodiscard]] std::string name_of(const Disk& disk) const;

  private:
    using Nanos = core::Nanos;
    template <typename Response>
    struct Slot {
        std::optional<core::Result<Response>> answer;
        reactor::Signal signal;
    };

    /// One call, with what came of it.
    template <typename Part, typename Request, typename Response>
    reactor::Task<core::Result<Response>> ask(
        SimDaemon& daemon,
        Part control::ControlPlane::* part,
        control::Task<core::Result<Response>> (Part::*method)(const Request&),
        Request request);
    /// Again and again until it is done; a refusal that cannot be is a violation.
    template <typename Part, typename Request, typename Response>
    reactor::Task<bool> insist(
        SimDaemon& daemon,
        Part control::ControlPlane::* part,
        control::Task<core::Result<Response>> (Part::*method)(const Request&),
        Request request,
        std::string what);

    static reactor::Task<> run_all(Client* self);
    static reactor::Task<> run_disk(Client* self, std::size_t index);
    static reactor::Task<> run_detach(Client* self, std::size_t index);
    static reactor::Task<> run_namespaces(Client* self);
    static reactor::Task<> run_ana(Client* self, std::size_t target);
    reactor::Task<bool> provision(std::size_t target);
    reactor::Task<bool> add_listener(Node& node, std::uint32_t index);
    reactor::Task<bool> set_ana(std::size_t target,
                                std::uint64_t listener,
                                remora::v1::AnaState state);
    reactor::Task<bool> show_volume(std::size_t index);
    reactor::Task<bool> hide_volume(std::size_t index);
    /// Rests, or less when the end comes.
    reactor::Task<> rest(std::uint64_t milliseconds_most);
    reactor::Task<> rest_with(Disk& disk, std::uint64_t milliseconds_most);
    reactor::Task<bool> provide_volume(std::size_t index);
    reactor::Task<bool> make_volume(std::size_t index);
    reactor::Task<bool> provide_layered(std::size_t index);
    /// How others refer to the volume on its machine.
    [[nodiscard]] static std::string reference_of(const VolumePlan& plan);
    void start_layers();
    static reactor::Task<> run_rekeys(Client* self, std::size_t index);
    static reactor::Task<> run_array(Client* self, std::size_t index);
    void start_stages();
    static reactor::Task<> run_limits(Client* self, std::size_t index);
    static reactor::Task<> run_injections(Client* self, std::size_t index);
    /// Where a stage of chance is put: on the volume, or below what it is made of.
    [[nodiscard]] std::string place_of(const VolumePlan& plan, Fault fault);
    /// What the client was told of a resource is so: it is there, or it is gone.
    template <typename Part, typename Request, typename Response>
    reactor::Task<> confirm(SimDaemon& daemon,
                            Part control::ControlPlane::* part,
                            control::Task<core::Result<Response>> (Part::*get)(const Request&),
                            std::string name,
                            bool there);
    [[nodiscard]] SimDaemon& home_of(const VolumePlan& volume);
    reactor::Task<bool> attach_local(Disk& disk);
    reactor::Task<bool> detach_local(Disk& disk);
    reactor::Task<bool> attach(Disk& disk);
    reactor::Task<bool> detach(Disk& disk);
    reactor::Task<> look(Disk& disk);
    void check_gone(const Disk& disk);
    void check_there(const Disk& disk);
    [[nodiscard]] std::size_t pick_volume(const Disk& disk);
    reactor::Reactor& reactor() { return *process_->cores().front()->reactor; }
    /// Whether a call may be refused so for a time.
    [[nodiscard]] static bool passes(core::ErrorKind kind);

    Site& site_;
    core::Prng prng_;
    Process* process_ = nullptr;
    std::unique_ptr<reactor::Gate> gate_;
    std::vector<Disk> disks_;
    std::set<std::size_t> made_;  // volumes that the client was told are there
    std::size_t first_attached_ = 0;
    std::size_t running_ = 0;
    bool settling_ = false;
};

template <typename Part, typename Request, typename Response>
reactor::Task<core::Result<Response>> Client::ask(
    SimDaemon& daemon,
    Part control::ControlPlane::* part,
    control::Task<core::Result<Response>> (Part::*method)(const Request&),
    Request request) {
    const auto slot = std::make_shared<Slot<Response>>();
    daemon.call<Part, Request, Response>(
        part, method, std::move(request), [this, slot](core::Result<Response> answer) {
            slot->answer.emplace(std::move(answer));
            reactor().post_function([slot] { slot->signal.notify(); });
        });
    while (!slot->answer) {
        co_await slot->signal.wait_until(core::kNever);
    }
    co_return std::move(*slot->answer);
}

template <typename Part, typename Request, typename Response>
reactor::Task<bool> Client::insist(
    SimDaemon& daemon,
    Part control::ControlPlane::* part,
    control::Task<core::Result<Response>> (Part::*method)(const Request&),
    Request request,
    std::string what) {
    for (;;) {
        const core::Result<Response> answer =
            co_await ask<Part, Request, Response>(daemon, part, method, request);
        if (answer) {
            co_return true;
        }
        site_.world().trace().note(what + ": " + answer.error().message, daemon.spec().name);
        if (!passes(answer.error().kind)) {
            site_.world().violation(
                what + " was refused: " + std::string(core::to_string(answer.error().kind)) + ": " +
                answer.error().message);
            co_return false;
        }
        co_await reactor::sleep_for(std::chrono::milliseconds(50 + prng_.below(1500)));
    }
}

template <typename Part, typename Request, typename Response>
reactor::Task<> Client::confirm(SimDaemon& daemon,
                                Part control::ControlPlane::* part,
                                control::Task<core::Result<Response>> (Part::*get)(const Request&),
                                std::string name,
                                bool there) {
    Request request;
    request.set_name(name);
    const auto found = co_await ask<Part, Request, Response>(daemon, part, get, request);
    const bool wrong = found ? !there : there && found.error().kind == core::ErrorKind::NotFound;
    if (wrong) {
        site_.world().violation(name + " was answered to be " +
                                (there ? "there, and is not" : "gone, and is there"));
    }
}

}  // namespace remora::sim
