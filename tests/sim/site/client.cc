// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/site/client.h"

#include <algorithm>
#include <array>

namespace remora::sim {

namespace {

namespace opi = opi_api::storage::v1;
namespace api = ::remora::v1;
using control::ControlPlane;
using core::ErrorKind;
using reactor::Task;
using std::chrono::milliseconds;

constexpr const char* kSubsystem = "s0";

}  // namespace

Client::Client(Site& site) : site_(site), prng_(site.world().fork_prng()) {
    for (const DiskPlan& plan : site.plan().disks) {
        disks_.push_back({plan.ipu, plan.function, plan.volume, false, plan.hostile});
    }
}

bool Client::passes(ErrorKind kind) {
    constexpr std::array kPassing{ErrorKind::Unavailable,        ErrorKind::DeadlineExceeded,
                                  ErrorKind::ResourceExhausted,  ErrorKind::Internal,
                                  ErrorKind::FailedPrecondition, ErrorKind::NotFound};
    return std::ranges::find(kPassing, kind) != kPassing.end();
}

void Client::start() {
    Machine& machine = site_.world().add_machine("client", "10.0.2.1");
    process_ = &site_.world().start_process(machine, "client");
    process_->add_core("main");
    gate_ = std::make_unique<reactor::Gate>();
    running_ = 1;
    reactor().post_function([this] { gate_->spawn(&Client::run_all, this); });
    site_.world().start(*process_);
}

Task<bool> Client::provide_volume(std::size_t index) {
    const bool made = co_await make_volume(index);
    if (made) {
        made_.insert(index);
    }
    co_return made;
}

Task<bool> Client::make_volume(std::size_t index) {
    const VolumePlan& plan = site_.plan().volumes[index];
    SimDaemon& home = home_of(plan);
    const std::string what = "creating " + plan.id;
    if (plan.form != Form::Plain) {
        co_return co_await provide_layered(index);
    }
    if (plan.file) {
        opi::CreateAioVolumeRequest request;
        request.set_aio_volume_id(plan.id);
        auto& volume = *request.mutable_aio_volume();
        volume.set_filename("/disk/" + plan.id);
        volume.set_block_size(plan.block_size);
        volume.set_blocks_count(static_cast<std::int64_t>(plan.blocks));
        volume.set_uuid(plan.uuid.text());
        co_return co_await insist(home, &ControlPlane::volumes, &control::Volumes::create_aio,
                                  request, what);
    }
    opi::CreateMallocVolumeRequest request;
    request.set_malloc_volume_id(plan.id);
    auto& volume = *request.mutable_malloc_volume();
    volume.set_block_size(plan.block_size);
    volume.set_blocks_count(static_cast<std::int64_t>(plan.blocks));
    volume.set_uuid(plan.uuid.text());
    co_return co_await insist(home, &ControlPlane::volumes, &control::Volumes::create_malloc,
                              request, what);
}

SimDaemon& Client::home_of(const VolumePlan& volume) {
    return volume.local ? *site_.ipus()[volume.target]->daemon
                        : *site_.targets()[volume.target]->daemon;
}

std::string Client::name_of(const Disk& disk) const {
    const VolumePlan& volume = site_.volumes()[disk.volume].plan;
    std::string function = disk.function.text();
    if (volume.local) {
        std::ranges::replace(function, '.', '-');  // an id, of which a client may make no dots
    }
    return (volume.local ? "local-" : "attached-") + function + "-" +
           volume.uuid.text().substr(0, 8);
}

/// A disk made by hand over a volume of the IPU's own.
Task<bool> Client::attach_local(Disk& disk) {
    const VolumePlan& volume = site_.volumes()[disk.volume].plan;
    const bool made = co_await provide_volume(disk.volume);
    if (!made) {
        co_return false;
    }
    opi::CreateVirtioBlkRequest request;
    request.set_virtio_blk_id(name_of(disk));
    auto& device = *request.mutable_virtio_blk();
    device.mutable_pcie_id()->mutable_port_id()->set_value(0);
    device.mutable_pcie_id()->mutable_physical_function()->set_value(
        static_cast<std::int32_t>(disk.function.pf));
    device.mutable_pcie_id()->mutable_virtual_function()->set_value(
        static_cast<std::int32_t>(disk.function.vf));
    device.set_volume_name_ref(reference_of(volume));
    co_return co_await insist(home_of(volume), &ControlPlane::virtio_blks,
                              &control::VirtioBlks::create, request, "a disk over " + volume.id);
}

Task<bool> Client::detach_local(Disk& disk) {
    opi::DeleteVirtioBlkRequest request;
    request.set_name("volumes/" + name_of(disk));
    request.set_allow_missing(true);
    co_return co_await insist(home_of(site_.volumes()[disk.volume].plan),
                              &ControlPlane::virtio_blks, &control::VirtioBlks::remove, request,
                              "removing a local disk");
}

Task<bool> Client::show_volume(std::size_t index) {
    const VolumePlan& plan = site_.plan().volumes[index];
    opi::CreateNvmeNamespaceRequest space;
    space.set_parent("nvmeSubsystems/s0");
    space.set_nvme_namespace_id(plan.id);
    auto& spec = *space.mutable_nvme_namespace()->mutable_spec();
    spec.set_volume_name_ref(reference_of(plan));
    spec.set_uuid(plan.uuid.text());
    co_return co_await insist(*site_.targets()[plan.target]->daemon, &ControlPlane::subsystems,
                              &control::Subsystems::create_namespace, space, "a namespace");
}

Task<bool> Client::hide_volume(std::size_t index) {
    const VolumePlan& plan = site_.plan().volumes[index];
    opi::DeleteNvmeNamespaceRequest space;
    space.set_name("nvmeSubsystems/s0/nvmeNamespaces/" + plan.id);
    space.set_allow_missing(true);
    co_return co_await insist(*site_.targets()[plan.target]->daemon, &ControlPlane::subsystems,
                              &control::Subsystems::delete_namespace, space,
                              "taking a namespace away");
}

Task<bool> Client::provision(std::size_t target) {
    Node& node = *site_.targets()[target];
    opi::CreateNvmeSubsystemRequest subsystem;
    subsystem.set_nvme_subsystem_id(kSubsystem);
    subsystem.mutable_nvme_subsystem()->mutable_spec()->set_nqn(node.nqn);
    if (!co_await insist(*node.daemon, &ControlPlane::subsystems,
                         &control::Subsystems::create_subsystem, subsystem, "a subsystem")) {
        co_return false;
    }
    for (std::size_t i = 0; i < site_.plan().volumes.size(); ++i) {
        const VolumePlan& plan = site_.plan().volumes[i];
        if (plan.local || plan.target != target) {
            continue;
        }
        const bool made = co_await provide_volume(i);
        if (!made) {
            co_return false;
        }
        const bool shown = co_await show_volume(i);
        if (!shown) {
            co_return false;
        }
    }
    for (std::uint32_t i = 0; i < site_.plan().listeners; ++i) {
        const bool listens = co_await add_listener(node, i);
        if (!listens) {
            co_return false;
        }
    }
    co_return true;
}

/// One more way to the target: who attaches a volume uses all that there are.
Task<bool> Client::add_listener(Node& node, std::uint32_t index) {
    opi::CreateNvmeControllerRequest listener;
    listener.set_parent("nvmeSubsystems/s0");
    listener.set_nvme_controller_id("c" + std::to_string(index));
    auto& spec = *listener.mutable_nvme_controller()->mutable_spec();
    spec.set_trtype(opi::NVME_TRANSPORT_TYPE_TCP);
    spec.mutable_fabrics_id()->set_traddr(node.machine->address);
    spec.mutable_fabrics_id()->set_trsvcid(std::to_string(Site::kPort + index));
    spec.mutable_fabrics_id()->set_adrfam(opi::NVME_ADDRESS_FAMILY_IPV4);
    co_return co_await insist(*node.daemon, &ControlPlane::subsystems,
                              &control::Subsystems::create_controller, listener, "a listener");
}

Task<> Client::run_all(Client* self) {
    for (std::size_t i = 0; i < self->site_.targets().size(); ++i) {
        const bool made = co_await self->provision(i);
        if (!made) {
            co_return;
        }
    }
    for (std::size_t i = 0; i < self->disks_.size(); ++i) {
        ++self->running_;
        self->gate_->spawn(&Client::run_disk, self, i);
    }
    if (self->site_.world().faults().drawn(Fault::NamespaceGone)) {
        ++self->running_;
        self->gate_->spawn(&Client::run_namespaces, self);
    }
    self->start_layers();
    self->start_stages();
    for (std::size_t i = 0; i < self->site_.targets().size(); ++i) {
        if (self->site_.world().faults().drawn(Fault::AnaChange)) {
            ++self->running_;
            self->gate_->spawn(&Client::run_ana, self, i);
        }
    }
    --self->running_;
}

std::size_t Client::pick_volume(const Disk& disk) {
    // Its own, or one of the same IPU that is free: no volume is ever given to two hosts.
    std::vector<std::size_t> free{disk.volume};
    for (std::size_t i = 0; i < site_.volumes().size(); ++i) {
        const VolumePlan& plan = site_.volumes()[i].plan;
        if (plan.local && plan.target != disk.ipu) {
            continue;
        }
        const bool used =
            std::ranges::any_of(disks_, [i](const Disk& other) { return other.volume == i; });
        if (!used) {
            free.push_back(i);
        }
    }
    return free[prng_.below(free.size())];
}

Task<bool> Client::attach(Disk& disk) {
    Volume& volume = site_.volumes()[disk.volume];
    volume.attached_ipu = static_cast<int>(disk.ipu);
    if (volume.plan.local) {
        disk.attached = co_await attach_local(disk);
        co_return disk.attached;
    }
    Node& target = *site_.targets()[volume.plan.target];
    api::AttachVolumeRequest request;
    request.mutable_discovery()->set_traddr(target.machine->address);
    request.mutable_discovery()->set_trsvcid(std::to_string(Site::kPort));
    request.set_volume_uuid(volume.plan.uuid.text());
    request.set_host_function(static_cast<std::int32_t>(disk.function.pf));
    request.set_host_virtual_function(static_cast<std::int32_t>(disk.function.vf));
    const bool done =
        co_await insist(*site_.ipus()[disk.ipu]->daemon, &ControlPlane::attachments,
                        &control::Attachments::attach, request, "attaching " + volume.plan.id);
    disk.attached = done;
    check_there(disk);
    site_.world().trace().note("attached", volume.plan.id, disk.function.pf, disk.function.vf);
    co_return done;
}

Task<bool> Client::detach(Disk& disk) {
    disk.attached = false;
    if (site_.volumes()[disk.volume].plan.local) {
        const bool removed = co_await detach_local(disk);
        check_gone(disk);
        co_return removed;
    }
    api::DetachVolumeRequest request;
    request.set_name("attachments/" + disk.function.text());
    request.set_allow_missing(true);
    const bool done = co_await insist(*site_.ipus()[disk.ipu]->daemon, &ControlPlane::attachments,
                                      &control::Attachments::detach, request, "detaching");
    check_gone(disk);
    site_.world().trace().note("detached", "client", disk.function.pf, disk.function.vf);
    co_return done;
}

/// What was answered to be attached is in the host, unless that is another one by now, or has let
/// it go by its own will.
void Client::check_there(const Disk& disk) {
    const Faults& faults = site_.world().faults();
    SimQemu* qemu = site_.ipus()[disk.ipu]->host->qemu();
    const std::string path = Site::socket_directory() + "/" + name_of(disk);
    if (qemu != nullptr && !disk.hostile && !faults.drawn(Fault::KillHost) &&
        !faults.drawn(Fault::HostTrouble) && qemu->master_behind(path) == nullptr) {
        site_.world().violation(path + " was answered to be attached, and its host has it not");
    }
}

/// What was answered to be gone is not in the host any more.
void Client::check_gone(const Disk& disk) {
    SimQemu* qemu = site_.ipus()[disk.ipu]->host->qemu();
    const std::string path = Site::socket_directory() + "/" + name_of(disk);
    if (qemu != nullptr && qemu->master_behind(path) != nullptr) {
        site_.world().violation(path + " was answered to be detached, and its host has it");
    }
}

/// What was answered is there.
Task<> Client::look(Disk& disk) {
    if (site_.volumes()[disk.volume].plan.local) {
        co_return;
    }
    api::GetAttachmentRequest request;
    request.set_name("attachments/" + disk.function.text());
    const auto found = co_await ask(*site_.ipus()[disk.ipu]->daemon, &ControlPlane::attachments,
                                    &control::Attachments::get, request);
    const std::string wanted = site_.volumes()[disk.volume].plan.uuid.text();
    if (found ? found->volume_uuid() != wanted : found.error().kind == ErrorKind::NotFound) {
        site_.world().violation("the attachment of function " + disk.function.text() +
                                " was answered and is not there");
    }
}

Task<> Client::rest(std::uint64_t milliseconds_most) {
    constexpr std::uint64_t kStep = 200;
    for (std::uint64_t left = prng_.below(milliseconds_most); left > 0 && !settling_;) {
        const std::uint64_t step = std::min(left, kStep);
        left -= step;
        co_await reactor::sleep_for(milliseconds(step));
    }
}

/// Rests, and no longer than a moment once the host has lost the disk: while it is plugged in
/// again, somebody who saw it go may be detaching it.
Task<> Client::rest_with(Disk& disk, std::uint64_t milliseconds_most) {
    constexpr std::uint64_t kStep = 100;
    constexpr std::uint64_t kNoticedWithin = 1200;
    for (std::uint64_t left = prng_.below(milliseconds_most); left > kStep && !settling_;) {
        left -= kStep;
        co_await reactor::sleep_for(milliseconds(kStep));
        SimQemu* qemu = site_.ipus()[disk.ipu]->host->qemu();
        const std::string path = Site::socket_directory() + "/" + name_of(disk);
        if (qemu == nullptr || qemu->master_behind(path) == nullptr) {
            left = std::min(left, prng_.below(kNoticedWithin));
        }
    }
}

Task<> Client::run_namespaces(Client* self) {
    while (!self->settling_) {
        co_await self->rest(5000);
        const std::size_t volume = self->prng_.below(self->site_.volumes().size());
        if (self->site_.volumes()[volume].plan.local) {
            continue;
        }
        if (!self->site_.world().faults().strikes(Fault::NamespaceGone, 1)) {
            continue;
        }
        if (!co_await self->hide_volume(volume)) {
            co_return;
        }
        co_await self->rest(self->prng_.below(3) == 0 ? 20'000 : 500);
        if (!co_await self->show_volume(volume)) {
            co_return;
        }
    }
    --self->running_;
}

Task<bool> Client::set_ana(std::size_t target, std::uint64_t listener, api::AnaState state) {
    api::SetAnaStateRequest request;
    request.set_name("nvmeSubsystems/s0/nvmeControllers/c" + std::to_string(listener));
    request.set_ana_state(state);
    co_return co_await insist(*site_.targets()[target]->daemon, &ControlPlane::subsystems,
                              &control::Subsystems::set_ana_state, request, "an ANA state");
}

/// One way after the other, for less than a request waits: also where it is the only one.
Task<> Client::run_ana(Client* self, std::size_t target) {
    static constexpr std::array kStates{api::ANA_STATE_NON_OPTIMIZED, api::ANA_STATE_INACCESSIBLE,
                                        api::ANA_STATE_PERSISTENT_LOSS, api::ANA_STATE_CHANGE};
    while (!self->settling_) {
        co_await self->rest(4000);
        if (!self->site_.world().faults().strikes(Fault::AnaChange, 1)) {
            continue;
        }
        const std::uint64_t listener = self->prng_.below(self->site_.plan().listeners);
        const api::AnaState state = kStates[self->prng_.below(kStates.size())];
        if (!co_await self->set_ana(target, listener, state)) {
            co_return;
        }
        co_await self->rest(self->prng_.below(3) == 0 ? 5000 : 300);
        if (!co_await self->set_ana(target, listener, api::ANA_STATE_OPTIMIZED)) {
            co_return;
        }
    }
    --self->running_;
}

Task<> Client::run_disk(Client* self, std::size_t index) {
    Disk& disk = self->disks_[index];
    if (!co_await self->attach(disk)) {
        co_return;
    }
    ++self->first_attached_;
    const bool churn = self->site_.world().faults().drawn(Fault::Churn);
    while (!self->settling_) {
        if (churn) {
            co_await self->rest_with(disk, 4000);
        } else {
            co_await self->rest(60'000);
        }
        co_await self->look(disk);
        if (self->settling_ || !churn) {
            continue;
        }
        if (!co_await self->detach(disk)) {
            co_return;
        }
        disk.volume = self->pick_volume(disk);
        if (!co_await self->attach(disk)) {
            co_return;
        }
    }
    co_await self->look(disk);
    --self->running_;
}

Task<> Client::run_detach(Client* self, std::size_t index) {
    if (!co_await self->detach(self->disks_[index])) {
        co_return;
    }
    --self->running_;
}

void Client::detach_all() {
    running_ = disks_.size();
    reactor().post_function([this] {
        for (std::size_t i = 0; i < disks_.size(); ++i) {
            gate_->spawn(&Client::run_detach, this, i);
        }
    });
}

}  // namespace remora::sim
