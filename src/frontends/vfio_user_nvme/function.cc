// SPDX-License-Identifier: Apache-2.0
// The function's life: sessions, resets, what waits for requests to end, interrupts, namespaces.
#include "frontends/vfio_user_nvme/function.h"

#include <algorithm>
#include <utility>

#include "core/log.h"
#include "core/probe.h"
#include "nvme/spec/fabrics.h"
#include "nvme/spec/log_page.h"
#include "nvme/spec/pcie.h"

namespace remora::frontends::vfio_user_nvme {

using vfio_user::kRegionRead;
using vfio_user::kRegionWrite;

namespace {

constexpr std::uint64_t kBarBytes = 0x4000;
constexpr std::uint32_t kMsixTable = 0x2000;
constexpr std::uint32_t kMsixPending = 0x3000;
constexpr std::size_t kMsixEntryBytes = 16;
static_assert(nvme::spec::kDoorbells == Function::kDoorbellOffset);
static_assert((kMaxIoQueues + 1U) * kMsixEntryBytes <= kMsixPending - kMsixTable);

/// NVM Express NVMe over PCIe Transport Specification 1.0, Class Code: mass storage, non-volatile
/// memory, NVM Express I/O controller.
constexpr std::uint32_t kNvmeClass = 0x010802;

std::uint16_t vector_count(const FunctionSpec& spec) {
    return spec.msix ? static_cast<std::uint16_t>(spec.io_queues + 1U) : std::uint16_t{0};
}

vfio_user::PciLayout make_layout(const FunctionSpec& spec) {
    vfio_user::PciLayout layout{.identity = spec.pci,
                                .bar0_bytes = kBarBytes,
                                .msix = {.vectors = vector_count(spec),
                                         .table_offset = kMsixTable,
                                         .pending_offset = kMsixPending},
                                .msi = !spec.msix};
    layout.identity.class_code = kNvmeClass;
    return layout;
}

}  // namespace

Function::Function(const FunctionSpec& spec,
                   block::ReactorContext& context,
                   std::unique_ptr<Doorbells> doorbells,
                   FunctionOwner& owner)
    : spec_(spec),
      reactor_(context.reactor),
      owner_(owner),
      doorbells_(std::move(doorbells)),
      subsystem_(spec.identity),
      subsystem_controllers_{spec.cntlid},
      shared_{.context = context, .doorbells = *doorbells_, .subsystem = subsystem_},
      since_(reactor_.now()),
      config_(make_layout(spec)),
      msix_table_(vector_count(spec) * kMsixEntryBytes) {
    regions_[vfio_user::kRegionBar0] = {.size = kBarBytes, .flags = kRegionRead | kRegionWrite};
    if (spec.map_doorbells) {
        regions_[vfio_user::kRegionBar0].map_offset = nvme::spec::kDoorbells;
        regions_[vfio_user::kRegionBar0].map_size = Doorbells::kBytes;
        regions_[vfio_user::kRegionBar0].handle = doorbells_->handle();
    }
    regions_[vfio_user::kRegionConfig] = {.size = vfio_user::PciConfig::kBytes,
                                          .flags = kRegionRead | kRegionWrite};
    make_controller();
}

Function::~Function() {
    CHECK(session_ == nullptr && queues_idle());
    destroy_io_queues();
    destroy_admin_queue();
    controller_->detach();
    while (!namespaces_.empty()) {
        namespaces_.pop_back();
    }
    core::ListHook<reactor::Runnable>::unlink();
}

void Function::make_controller() {
    nvme::ControllerOptions options;
    options.attachment = nvme::Attachment::Pcie;
    options.cntlid = spec_.cntlid;
    options.max_io_queues = spec_.io_queues;
    options.max_queue_entries = kMaxQueueEntries;
    options.transfer_shift = kTransferShift;
    options.pci_vendor = spec_.pci.vendor;
    options.pci_subsystem_vendor = spec_.pci.subsystem_vendor;
    // Without MSI-X clients find out that the host has dealt with an interrupt by its next access
    // to a BAR (QEMU does), which shadow doorbells would save.
    options.doorbell_buffers = spec_.msix;
    options.vectors = std::max(vector_count(spec_), std::uint16_t{1});
    nvme::ControllerTransport& transport = *this;
    controller_ = std::make_unique<nvme::Controller>(reactor_, transport, &subsystem_, nullptr,
                                                     std::move(options));
}

void Function::attach(vfio_user::Session& session) {
    CHECK(session_ == nullptr);
    session_ = &session;
    shared_.memory = &session.memory();
    stopping_ = false;
}

vfio_user::IrqCounts Function::irq_counts() const {
    return {.msix = vector_count(spec_), .msi = spec_.msix ? 0U : 1U, .intx = 1};
}

std::uint32_t Function::io_queue_count() const {
    return static_cast<std::uint32_t>(
        std::ranges::count_if(submissions_, [](const auto& queue) { return queue != nullptr; }));
}

/// Commands are taken while the controller is ready, nothing ends, and the function may do DMA (PCI
/// Local Bus 3.0 §6.2.2, Bus Master).
void Function::update_running() {
    const std::uint32_t csts = controller_->status();
    const bool shut = (csts & (nvme::spec::csts::kShutdownMask | nvme::spec::csts::kFatal)) != 0;
    shared_.running = session_ != nullptr && controller_->ready() && !shut && !closing_queues_ &&
                      !resetting_ && !stopping_ && !freezing_ && !halted_ && config_.bus_master();
}

// --- Memory ---

void Function::on_memory_changed() {
    const memory::GuestMemory& guest = session_->memory().guest();
    doorbells_->locate(guest);
    if (admin_ != nullptr) {
        admin_completions_->locate(guest);
        admin_->locate(guest);
    }
    for (std::size_t i = 0; i < kQueues; ++i) {
        if (completions_[i] != nullptr) {
            completions_[i]->locate(guest);
        }
        if (submissions_[i] != nullptr) {
            submissions_[i]->locate(guest);
        }
    }
}

bool Function::is_memory_idle(std::span<const std::byte> bytes) {
    const bool used = std::ranges::any_of(submissions_, [bytes](const auto& queue) {
        return queue != nullptr && queue->uses(bytes);
    });
    leaving_memory_ = used ? bytes : std::span<const std::byte>{};
    return !used;
}

void Function::on_memory_poisoned() {
    session_->fail_soon("the client truncated the memory that it shares");
}

void Function::on_invalid_doorbell() {
    controller_->doorbell_error(nvme::spec::kErrorDoorbellValue);
}

// --- What waits for requests ---

void Function::on_progress() {
    const bool deleting =
        std::ranges::any_of(deletions_, [](const auto& token) { return token.has_value(); });
    if (closing_queues_ || resetting_ || stopping_ || halting_ || deleting ||
        !leaving_memory_.empty()) {
        run_later();
    }
}

void Function::run() {
    if (!leaving_memory_.empty() && is_memory_idle(leaving_memory_)) {
        session_->on_memory_idle();
    }
    finish_deletions();
    if (!queues_idle()) {
        return;
    }
    if (resetting_) {
        finish_reset();
    } else if (closing_queues_) {
        finish_disable();
    }
    if (halting_ && !changing()) {
        halting_ = false;
        session_->on_halted();
    }
    if (stopping_ && session_ != nullptr) {
        destroy_io_queues();
        session_->on_stopped();
    }
}

/// The controller asks for this when it is disabled or shut down.
void Function::close_io_queues() {
    closing_queues_ = true;
    const bool shutdown = (controller_->configuration() & nvme::spec::cc::kEnable) != 0;
    stop_queues(shutdown);
    run_later();
}

void Function::finish_disable() {
    closing_queues_ = false;
    destroy_io_queues();
    controller_->io_queues_closed();
    if (!controller_->ready()) {
        destroy_admin_queue();
        doorbells_->reset_all();
    }
    update_running();
    if (const auto next = std::exchange(next_cc_, std::nullopt)) {
        write_cc(*next);
    }
}

void Function::begin_reset() {
    resetting_ = true;
    update_running();
    if (admin_ != nullptr) {
        admin_->discard();
    }
    stop_queues(false);
}

bool Function::reset_function() {
    begin_reset();
    if (!queues_idle()) {
        reset_awaited_ = true;
        return false;
    }
    finish_reset();
    return true;
}

/// Everything is as it was when the function was made, but for namespaces and the session.
void Function::finish_reset() {
    resetting_ = false;
    closing_queues_ = false;
    next_cc_.reset();
    forget_all();
    update_running();
    if (session_ != nullptr) {
        session_->irqs().reset();
        if (std::exchange(reset_awaited_, false)) {
            session_->on_reset_done();
        }
    }
}

void Function::forget_all() {
    destroy_io_queues();
    destroy_admin_queue();
    controller_->detach();
    make_controller();
    config_.reset();
    doorbells_->reset_all();
    std::ranges::fill(msix_table_, std::byte{0});
    interrupt_mask_ = aqa_ = 0;
    asq_ = acq_ = 0;
}

bool Function::stop(bool publish) {
    stopping_ = true;
    halting_ = false;
    leaving_memory_ = {};
    update_running();
    if (admin_ != nullptr && !publish) {
        admin_->discard();
    }
    stop_queues(publish);
    if (!queues_idle()) {
        return false;
    }
    destroy_io_queues();
    return true;
}

/// The client may keep its mapping of the doorbells, and the next one is to have its own.
void Function::renew_doorbells() {
    const auto renewed = doorbells_->renew();
    if (!renewed) {
        log::warn("doorbells are not mapped by the next client", log::kv("device", spec_.name),
                  log::kv("reason", renewed.error().message));
    }
    if (spec_.map_doorbells) {
        regions_[vfio_user::kRegionBar0].handle =
            renewed ? doorbells_->handle() : reactor::kNoHandle;
    }
}

/// The client is gone: the next one finds a function that was reset.
void Function::on_session_ended() {
    CHECK(queues_idle());
    reset_awaited_ = false;
    halted_ = false;
    if (admin_ != nullptr) {
        admin_->discard();
    }
    session_ = nullptr;
    finish_reset();
    shared_.memory = nullptr;
    renew_doorbells();
    owner_.on_session_ended();
}

// --- nvme::Controller's other wishes ---

void Function::complete_event(nvme::CommandToken token, std::uint16_t status, std::uint32_t dw0) {
    CHECK(admin_ != nullptr);
    admin_->complete_held(token, status, dw0);
}

void Function::persist_reservations(nvme::CommandToken token,
                                    std::uint32_t /*nsid*/,
                                    bool /*persist*/) {
    // Not offered, so not asked for; a command is answered in any case.
    complete_event(token, nvme::spec::status_field(nvme::spec::StatusCode::InvalidField, true), 0);
}

void Function::gather(nvme::CommandToken token) {
    admin_->request_census(token);
}

void Function::end_association() {
    log::warn("keep alive timeout", log::kv("device", spec_.name));
    update_running();
}

nvme::Census Function::take_census() {
    return {.controllers = subsystem_controllers_,
            .io = shared_.smart,
            .up = reactor_.now() - since_,
            .errors = shared_.errors.take()};
}

// --- Interrupts ---

bool Function::msix_mode() const {
    return config_.msix_enabled() || session_->irqs().has_msix();
}

bool Function::msi_mode() const {
    return config_.msi_enabled() || session_->irqs().has_msi();
}

void Function::interrupt(std::uint16_t vector) {
    if (session_ == nullptr) {
        return;
    }
    const bool msix = msix_mode();
    if (!msix && !msi_mode()) {
        refresh_interrupts();
        return;
    }
    const std::uint64_t before = session_->irqs().signals();
    if (msix) {
        session_->irqs().raise(vector);
    } else {
        session_->irqs().raise_msi();
    }
    shared_.counters.interrupts += session_->irqs().signals() - before;
}

/// INTx is high while the host has entries that it has not taken in a queue with interrupts (NVMe
/// over PCIe 1.0, Pin Based Interrupts).
void Function::refresh_interrupts() {
    if (session_ == nullptr || msix_mode() || msi_mode()) {
        return;
    }
    const auto asks = [this](const std::unique_ptr<CompletionQueue>& queue) {
        return queue != nullptr && queue->interrupts() && queue->has_untaken() &&
               (queue->vector() >= 32 || ((interrupt_mask_ >> queue->vector()) & 1U) == 0);
    };
    const bool high = !config_.intx_disabled() &&
                      (asks(admin_completions_) || std::ranges::any_of(completions_, asks));
    config_.show_interrupt(high);
    const std::uint64_t before = session_->irqs().signals();
    session_->irqs().set_intx_level(high);
    shared_.counters.interrupts += session_->irqs().signals() - before;
}

// --- Namespaces ---

core::Result<void> Function::add_namespace(const nvme::Namespace& from, block::Device& device) {
    if (from.nsid == 0 || from.nsid > spec_.identity.max_namespaces) {
        return core::fail(
            core::ErrorKind::InvalidArgument,
            "a namespace has a number from 1 to " + std::to_string(spec_.identity.max_namespaces));
    }
    const bool taken = std::ranges::any_of(
        namespaces_, [&from](const auto& there) { return there->nsid == from.nsid; });
    if (taken) {
        return core::fail(core::ErrorKind::AlreadyExists,
                          "namespace " + std::to_string(from.nsid) + " is there already");
    }
    auto channel = device.open_channel();
    if (!channel) {
        return core::fail("open volume '" + device.name() + "'", channel.error());
    }
    NamespaceListener& listener = *this;
    auto added = std::make_unique<OpenNamespace>(listener, device);
    static_cast<nvme::Namespace&>(*added) = from;
    added->geometry = device.geometry();
    added->shared = !spec_.identity.one_controller;
    added->in_ana_group = false;
    added->can_reserve = false;
    added->can_persist = false;
    added->channel = std::move(*channel);
    subsystem_.add(*added);
    namespaces_.push_back(std::move(added));
    announce(from.nsid);
    return {};
}

OpenNamespace* Function::hide_namespace(std::uint32_t nsid) {
    OpenNamespace* found = shared_.find(nsid);
    if (found != nullptr) {
        subsystem_.remove(nsid);
        announce(nsid);
        return found;
    }
    const auto at = std::ranges::find_if(namespaces_,
                                         [nsid](const auto& there) { return there->nsid == nsid; });
    return at == namespaces_.end() ? nullptr : at->get();
}

void Function::drop_namespace(std::uint32_t nsid) {
    CHECK(shared_.find(nsid) == nullptr);
    std::erase_if(namespaces_, [nsid](const auto& there) { return there->nsid == nsid; });
}

OpenNamespace* Function::first_namespace() const {
    return namespaces_.empty() ? nullptr : namespaces_.front().get();
}

void Function::on_namespace_resized(OpenNamespace& changed) {
    if (shared_.find(changed.nsid) == &changed) {
        announce(changed.nsid);
    }
}

/// A host that has not enabled the controller finds out by itself.
void Function::announce(std::uint32_t nsid) {
    if (controller_->ready()) {
        controller_->namespace_changed(nsid);
    }
}

}  // namespace remora::frontends::vfio_user_nvme
