// SPDX-License-Identifier: Apache-2.0
// nvme::Controller: the NVMe semantics of one controller, whatever the transport: properties and
// life cycle, admin commands, features, asynchronous events, keep alive.
//
// It lives on the reactor of its admin queue. The transport hands it admin commands whose data is
// already in memory and carries out what ControllerTransport asks for.
//
//   CC.EN=0 ──EN:=1──► ready ──EN:=0──► closing I/O queues ──all closed──► CC.EN=0
//                        │ └──SHN───► closing I/O queues ──all closed──► shut down
//                        └─ keep alive expires: fatal, the association ends
//
// NVM Express Base 2.0: Controller Properties, Admin Command Set, Fabrics commands.
#pragma once

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "nvme/ana.h"
#include "nvme/census.h"
#include "nvme/commands.h"
#include "nvme/controller_state.h"
#include "nvme/discovery.h"
#include "nvme/health.h"
#include "nvme/reservation_log.h"
#include "nvme/spec/command.h"
#include "nvme/spec/features.h"
#include "nvme/spec/identify.h"
#include "nvme/spec/log_page.h"
#include "nvme/subsystem.h"
#include "reactor/reactor.h"

namespace remora::nvme {

using core::Nanos;

/// Names one outstanding admin command to the transport.
using CommandToken = std::uint32_t;

class ControllerTransport {
  public:
    /// An Asynchronous Event Request that was left pending ends with this.
    virtual void complete_event(CommandToken token, std::uint16_t status, std::uint32_t dw0) = 0;
    /// Sets whether the reservations of a namespace, or of all (FFFFFFFFh), survive a restart, and
    /// ends the command with complete_event().
    virtual void persist_reservations(CommandToken token, std::uint32_t nsid, bool persist) = 0;
    /// Asks every reactor about the subsystem, and ends the command with what
    /// Controller::finish() makes of the answers.
    virtual void gather(CommandToken token) = 0;
    /// Ends the controller's I/O queues; Controller::io_queues_closed() is called when the last is
    /// gone, never from within this call.
    virtual void close_io_queues() = 0;
    /// The association is over (keep alive): ends all queues.
    virtual void end_association() = 0;

  protected:
    ~ControllerTransport() = default;
};

enum class ControllerType : std::uint8_t { Io, Discovery };

/// How the host reaches it. A PCIe controller has one host and is alone in its subsystem: no ANA,
/// no reservations, no fused pairs, no Write Uncorrectable.
enum class Attachment : std::uint8_t { Fabrics, Pcie };

struct ControllerOptions {
    ControllerType type = ControllerType::Io;
    std::uint16_t cntlid = 0;
    std::string hostnqn;
    std::array<std::uint8_t, 16> host_id{};
    std::uint32_t keep_alive_ms = 0;  ///< 0: none.
    std::uint32_t max_io_queues = 64;
    std::uint32_t max_queue_entries = 1024;
    std::uint32_t in_capsule_bytes = 16384;
    std::uint8_t transfer_shift = 6;  ///< MDTS.
    Attachment attachment = Attachment::Fabrics;
    std::uint16_t pci_vendor = 0;            ///< PCIe: as in the configuration space.
    std::uint16_t pci_subsystem_vendor = 0;  ///< The same.
    std::uint16_t vectors = 1;               ///< PCIe: interrupts.
    bool doorbell_buffers = true;            ///< PCIe: Doorbell Buffer Config is offered.
    /// The port it was reached through; outlives it. Fabrics I/O controllers have one.
    const AnaPort* port = nullptr;
};

/// What an admin command needs before execute().
struct AdminPlan {
    std::uint16_t status = 0;  ///< Not 0: answer with this.
    Transfer transfer = Transfer::None;
    std::uint32_t bytes = 0;
};

struct AdminResult {
    std::uint16_t status = 0;
    std::uint32_t dw0 = 0;
    std::uint32_t dw1 = 0;
    bool pending = false;  ///< complete_event() or finish() will answer.
};

class Controller final : private reactor::TimerHandler {
  public:
    /// `subsystem` (for an I/O controller) and `directory` (for a discovery controller) outlive it.
    Controller(reactor::Reactor& reactor,
               ControllerTransport& transport,
               const Subsystem* subsystem,
               const Directory* directory,
               ControllerOptions options);
    Controller(const Controller&) = delete;
    Controller& operator=(const Controller&) = delete;
    ~Controller() = default;

    [[nodiscard]] const ControllerOptions& options() const { return options_; }
    [[nodiscard]] const Subsystem* subsystem() const { return subsystem_; }
    [[nodiscard]] bool ready() const { return (csts_ & spec_ready()) != 0; }
    // The registers of a PCIe controller, which are the properties of one over fabrics.
    [[nodiscard]] std::uint64_t capabilities() const { return cap(); }
    [[nodiscard]] std::uint32_t configuration() const { return cc_; }
    [[nodiscard]] std::uint32_t status() const { return csts_; }
    /// A write of CC. False while the change before it is under way: nothing was done then.
    bool configure(std::uint32_t value);
    /// CSTS.CFS: the host has to reset it.
    void fail();
    [[nodiscard]] std::uint32_t max_transfer_bytes() const {
        return std::uint32_t{4096} << options_.transfer_shift;
    }

    /// How the data of an admin or fabrics command (never Connect) moves; no side effect.
    [[nodiscard]] AdminPlan plan(const spec::Command& command) const;
    /// Carries out a command that plan() let through. `data` has plan().bytes, filled for FromHost.
    AdminResult execute(const spec::Command& command,
                        std::span<std::byte> data,
                        CommandToken token);
    /// The rest of a command that asked for gather(); the status field to answer with. `data` is
    /// what execute() had.
    std::uint16_t finish(const spec::Command& command,
                         std::span<std::byte> data,
                         const Census& census);

    /// The status field for a Connect to I/O queue `qid` with `sqsize` (0's based); `dw0` is set
    /// when it is Connect Invalid Parameters.
    [[nodiscard]] std::uint16_t check_io_connect(std::uint16_t qid,
                                                 std::uint16_t sqsize,
                                                 std::uint32_t& dw0) const;
    /// An I/O queue came or went.
    void io_queue_added() { ++io_queues_; }
    void io_queue_removed() {
        CHECK(io_queues_ > 0);
        --io_queues_;
    }
    /// Answer to ControllerTransport::close_io_queues().
    void io_queues_closed();

    void namespace_changed(std::uint32_t nsid);
    /// Something happened to this host's reservation or registration.
    void reservation_changed(std::uint32_t nsid, spec::ReservationNotice type);
    void discovery_changed();
    /// A queue has gone, with these errors.
    void add_errors(const ErrorBatch& errors) { error_log_.add(errors); }
    /// The state of its port is another one.
    void ana_changed();
    /// The host has rung a doorbell in a way that cannot be; `event` is spec::kErrorDoorbell….
    void doorbell_error(std::uint32_t event);
    /// The admin queue is going: nothing is completed any more, no timer fires.
    void detach();

    // For another process to go on as this controller, which is on PCIe (controller_state.cc).
    /// Of one that is not being closed.
    [[nodiscard]] ControllerState save() const;
    /// Of one that is new. `requests` are the tokens of `from.event_requests`, so far as there is
    /// room for them.
    void restore(const ControllerState& from, std::span<const CommandToken> requests);

    [[nodiscard]] bool keep_alive_expired() const { return expired_; }

  private:
    enum class Closing : std::uint8_t { No, Reset, Shutdown };
    static constexpr std::size_t kMaxEventRequests = 4;  // AERL + 1
    static constexpr std::size_t kMaxChanged = 1024;
    static constexpr std::size_t kMaxVectors = 65;

    struct EventRequest {
        CommandToken token = 0;
        std::uint16_t cid = 0;
    };
    /// One kind of notice: raised until reported, then masked until its log page is read.
    struct Notice {
        bool pending = false;
        bool masked = false;
    };

    static constexpr std::uint32_t spec_ready() { return 1U; }
    void on_timer(reactor::Timer& timer) override;
    void start_keep_alive();
    [[nodiscard]] bool pcie() const { return options_.attachment == Attachment::Pcie; }
    [[nodiscard]] bool discovery() const { return options_.type == ControllerType::Discovery; }

    // controller.cc: life cycle and events
    AdminResult property_get(const spec::Command& command) const;
    AdminResult property_set(const spec::Command& command);
    AdminResult write_cc(std::uint32_t value);
    void enable(std::uint32_t value);
    [[nodiscard]] std::uint64_t cap() const;
    AdminResult event_request(const spec::Command& command, CommandToken token);
    AdminResult abort(const spec::Command& command);
    void deliver_events();
    bool deliver(Notice& notice, std::uint32_t dw0);
    void drop_event_requests();

    // admin_commands.cc: identify and logs
    [[nodiscard]] AdminPlan plan_identify(const spec::Command& command) const;
    [[nodiscard]] AdminPlan plan_log_page(const spec::Command& command) const;
    std::uint16_t identify(const spec::Command& command, std::span<std::byte> data) const;
    void identify_controller(std::span<std::byte> data) const;
    void identify_attachment(spec::IdentifyController& out) const;
    void identify_sharing(spec::IdentifyController& out) const;
    void identify_command_set(std::span<std::byte> data) const;
    void active_namespaces(std::uint32_t after, std::span<std::byte> data) const;
    std::uint16_t log_page(const spec::Command& command, std::span<std::byte> data);
    void changed_namespaces(std::uint64_t offset, std::span<std::byte> data, bool retain);
    // controller_census.cc
    AdminResult list_controllers(const spec::Command& command, CommandToken token);
    AdminResult health_page(const spec::Command& command, CommandToken token);
    // controller_reservations.cc
    std::uint16_t reservation_log(std::uint64_t offset, std::span<std::byte> data, bool retain);
    AdminResult set_reservation_feature(const spec::Command& command, CommandToken token);
    [[nodiscard]] AdminResult get_reservation_feature(const spec::Command& command) const;
    // features.cc
    AdminResult set_features(const spec::Command& command, CommandToken token);
    [[nodiscard]] AdminResult set_queue_count(std::uint32_t value) const;
    AdminResult set_vector(std::uint32_t value);
    [[nodiscard]] AdminResult get_features(const spec::Command& command,
                                           std::span<std::byte> data) const;
    [[nodiscard]] std::uint32_t* stored_feature(spec::Feature feature);

    reactor::Reactor& reactor_;
    ControllerTransport* transport_;  // null once detached
    const Subsystem* subsystem_;
    const Directory* directory_;
    ControllerOptions options_;

    std::uint32_t cc_ = 0;
    std::uint32_t csts_ = 0;
    Closing closing_ = Closing::No;
    std::uint32_t io_queues_ = 0;

    reactor::Timer keep_alive_timer_;
    Nanos last_alive_{};
    bool expired_ = false;

    std::array<EventRequest, kMaxEventRequests> event_requests_{};
    std::size_t event_request_count_ = 0;
    std::uint32_t event_config_;
    Notice namespace_notice_;
    Notice discovery_notice_;
    Notice ana_notice_;
    Notice reservation_notice_;
    Notice error_notice_;
    std::uint32_t error_event_ = 0;  // that it tells: the first one
    ReservationLog reservation_log_;
    ErrorLog error_log_;
    std::vector<std::uint32_t> changed_;  // ascending, at most kMaxChanged
    bool changed_overflow_ = false;

    struct Stored {
        spec::Feature feature;
        std::uint32_t value;
    };
    std::array<Stored, 6> stored_;
    std::bitset<kMaxVectors> not_coalesced_;
};

}  // namespace remora::nvme
