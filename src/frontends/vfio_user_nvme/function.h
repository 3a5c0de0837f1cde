// SPDX-License-Identifier: Apache-2.0
// Function: the PCI function of an NVMe controller, as a vfio-user client sees it.
//
//   configuration space: header, power management, MSI-X, PCI Express
//   BAR 0   0000h registers   1000h doorbells (clients may map this page)
//           2000h MSI-X table   3000h MSI-X pending bits
//
// The semantics are nvme::Controller's, which is made anew with each reset of the function. The
// function has the queues: it makes and deletes them, and where something has to wait until their
// requests have ended (disable, shutdown, reset, memory that is taken away, the session's end) it
// waits here, step by step in run(). Everything is on one reactor.
//
// NVM Express Base Specification 2.0, Controller Properties, Controller Initialization, Controller
// Shutdown; NVM Express NVMe over PCIe Transport Specification 1.0.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "frontends/vfio_user_nvme/admin_queue.h"
#include "frontends/vfio_user_nvme/completion_queue.h"
#include "frontends/vfio_user_nvme/doorbells.h"
#include "frontends/vfio_user_nvme/function_state.h"
#include "frontends/vfio_user_nvme/moved_state.h"
#include "frontends/vfio_user_nvme/namespaces.h"
#include "frontends/vfio_user_nvme/submission_queue.h"
#include "nvme/controller.h"
#include "vfio_user/pci_config.h"
#include "vfio_user/session.h"

namespace remora::frontends::vfio_user_nvme {

constexpr std::uint16_t kMaxIoQueues = 64;
constexpr std::uint32_t kMaxQueueEntries = 1024;

struct FunctionSpec {
    std::string name;
    std::uint16_t io_queues = 1;  ///< Pairs, 1..kMaxIoQueues.
    bool map_doorbells = true;    ///< Clients may map them; then they are polled, also when idle.
    bool msix = true;             ///< Else MSI with one message, and INTx.
    std::uint16_t cntlid = 1;     ///< Of the controller in its subsystem.
    nvme::SubsystemIdentity identity;
    vfio_user::PciIdentity pci;
};

/// The function's owner: told when it has no session any more.
class FunctionOwner {
  public:
    virtual void on_session_ended() = 0;

  protected:
    ~FunctionOwner() = default;
};

class Function final : public vfio_user::SessionDevice,
                       private nvme::ControllerTransport,
                       private QueueOwner,
                       private QueueCommands,
                       private InterruptSink,
                       private NamespaceListener,
                       private reactor::Runnable {
  public:
    Function(const FunctionSpec& spec,
             block::ReactorContext& context,
             std::unique_ptr<Doorbells> doorbells,
             FunctionOwner& owner);
    Function(const Function&) = delete;
    Function& operator=(const Function&) = delete;
    ~Function();

    /// Where the doorbells lie in their memory, which is where they lie in BAR 0.
    static constexpr std::size_t kDoorbellOffset = 0x1000;

    /// A client has come; until on_session_ended().
    void attach(vfio_user::Session& session);
    [[nodiscard]] vfio_user::IrqCounts irq_counts() const;

    // Namespaces; the host is told of changes by an asynchronous event.
    core::Result<void> add_namespace(const nvme::Namespace& from, block::Device& device);
    /// Takes it out of the table: no command reaches it any more. Null when there is none.
    OpenNamespace* hide_namespace(std::uint32_t nsid);
    /// Forgets one that is hidden and idle.
    void drop_namespace(std::uint32_t nsid);
    [[nodiscard]] std::size_t namespace_count() const { return namespaces_.size(); }
    [[nodiscard]] OpenNamespace* first_namespace() const;

    /// The controllers of the subsystem, this one with them: the host may ask for a list.
    void set_subsystem_controllers(std::vector<std::uint16_t> cntlids) {
        subsystem_controllers_ = std::move(cntlids);
    }
    [[nodiscard]] const QueueCounters& counters() const { return shared_.counters; }
    [[nodiscard]] std::uint32_t io_queue_count() const;
    [[nodiscard]] bool ready() const { return controller_->ready(); }

    // For another process to go on as this function (function_state.cc).
    /// Takes no more commands; those under way are answered.
    void begin_freeze();
    /// Whether they all are, and nothing else is under way.
    [[nodiscard]] bool can_freeze() const { return freezing_ && quiet(); }
    [[nodiscard]] FunctionState freeze();
    /// With the session attached and its memory there, nothing done yet; takes the handle of the
    /// doorbells. Errors say what of the state cannot be: then the session is to be closed.
    core::Result<void> restore(const FunctionState& from);

    // vfio_user::SessionDevice
    [[nodiscard]] const vfio_user::Region& region(std::uint32_t index) const override {
        return regions_[index];
    }
    bool read_region(std::uint32_t index, std::uint64_t offset, std::span<std::byte> to) override;
    bool write_region(std::uint32_t index,
                      std::uint64_t offset,
                      std::span<const std::byte> from) override;
    void on_memory_changed() override;
    bool is_memory_idle(std::span<const std::byte> bytes) override;
    bool reset_function() override;
    void refresh_interrupts() override;
    // vfio_user::MigratingDevice (function_state.cc)
    bool halt() override;
    void go_on() override;
    core::Result<std::vector<std::byte>> save() override;
    core::Result<void> load(std::span<const std::byte> state) override;
    bool stop(bool publish) override;
    void on_session_ended() override;

  private:
    static constexpr std::size_t kQueues = kMaxIoQueues + 1U;

    // nvme::ControllerTransport
    void complete_event(nvme::CommandToken token, std::uint16_t status, std::uint32_t dw0) override;
    void persist_reservations(nvme::CommandToken token, std::uint32_t nsid, bool persist) override;
    void gather(nvme::CommandToken token) override;
    void close_io_queues() override;
    void end_association() override;
    // QueueOwner
    void on_progress() override;
    void on_memory_poisoned() override;
    void on_invalid_doorbell() override;
    // QueueCommands (function_queues.cc)
    std::optional<nvme::AdminResult> run_queue_command(const nvme::spec::Command& command,
                                                       nvme::CommandToken token) override;
    nvme::Census take_census() override;
    // others
    void interrupt(std::uint16_t vector) override;
    void on_namespace_resized(OpenNamespace& changed) override;
    void run() override;

    // function_registers.cc
    void read_registers(std::uint64_t offset, std::span<std::byte> to) const;
    void write_register(std::uint64_t offset, std::uint32_t value);
    void write_bar(std::uint64_t offset, std::span<const std::byte> from);
    void write_doorbell(std::uint64_t offset, std::uint32_t value);
    void read_pending(std::uint64_t offset, std::span<std::byte> to) const;
    void write_cc(std::uint32_t value);
    bool make_admin_queue();
    void make_admin_queue(const QueueMemory& submission, const QueueMemory& completion);
    // function_state.cc
    /// Nothing is under way, and all that was is answered.
    [[nodiscard]] bool quiet() const;
    [[nodiscard]] FunctionState collect();
    core::Result<void> apply(const FunctionState& from);
    core::Result<void> check_namespaces(std::span<const MovedNamespace> from) const;
    bool restore_admin_queue(const FunctionState& from);
    bool restore_completions(const CompletionQueueState& from);
    bool restore_submissions(const SubmissionQueueState& from);

    // function_queues.cc
    nvme::AdminResult create_cq(const nvme::spec::Command& command);
    nvme::AdminResult create_sq(const nvme::spec::Command& command);
    nvme::AdminResult delete_cq(const nvme::spec::Command& command);
    nvme::AdminResult delete_sq(const nvme::spec::Command& command, nvme::CommandToken token);
    nvme::AdminResult set_doorbell_buffers(const nvme::spec::Command& command);
    /// The memory of a queue to be made; the error is a status field.
    std::expected<QueueMemory, std::uint16_t> queue_memory(const nvme::spec::Command& command,
                                                           std::uint32_t entry_bytes) const;
    void finish_deletions();
    void stop_queues(bool publish);
    [[nodiscard]] bool queues_idle() const;
    void destroy_io_queues();
    void destroy_admin_queue();

    void announce(std::uint32_t nsid);
    void make_controller();
    /// A disable, a shutdown or a reset is not over.
    [[nodiscard]] bool changing() const { return closing_queues_ || resetting_; }
    void begin_reset();
    void finish_reset();
    void forget_all();
    void renew_doorbells();
    void finish_disable();
    [[nodiscard]] bool msix_mode() const;
    [[nodiscard]] bool msi_mode() const;
    void update_running();
    void run_later() {
        if (!core::ListHook<reactor::Runnable>::linked()) {
            reactor_.run_soon(*this);
        }
    }

    FunctionSpec spec_;
    reactor::Reactor& reactor_;
    FunctionOwner& owner_;
    std::unique_ptr<Doorbells> doorbells_;
    nvme::Subsystem subsystem_;
    std::vector<std::uint16_t> subsystem_controllers_;
    std::vector<std::unique_ptr<OpenNamespace>> namespaces_;
    QueueShared shared_;
    core::Nanos since_;
    std::array<vfio_user::Region, vfio_user::kRegionCount> regions_{};
    vfio_user::PciConfig config_;
    std::vector<std::byte> msix_table_;
    std::unique_ptr<nvme::Controller> controller_;
    vfio_user::Session* session_ = nullptr;

    std::uint32_t interrupt_mask_ = 0;  // INTMS, INTMC
    std::uint32_t aqa_ = 0;
    std::uint64_t asq_ = 0;
    std::uint64_t acq_ = 0;
    std::unique_ptr<CompletionQueue> admin_completions_;
    std::unique_ptr<AdminQueue> admin_;
    std::array<std::unique_ptr<CompletionQueue>, kQueues> completions_;
    std::array<std::unique_ptr<SubmissionQueue>, kQueues> submissions_;
    std::array<std::optional<nvme::CommandToken>, kQueues> deletions_;

    // What waits until requests have ended.
    bool closing_queues_ = false;           // disable or shutdown
    std::optional<std::uint32_t> next_cc_;  // written meanwhile
    bool resetting_ = false;
    bool reset_awaited_ = false;  // the session waits for it
    bool stopping_ = false;
    bool freezing_ = false;
    bool halted_ = false;
    bool halting_ = false;  // the session waits for it
    std::span<const std::byte> leaving_memory_;
};

}  // namespace remora::frontends::vfio_user_nvme
