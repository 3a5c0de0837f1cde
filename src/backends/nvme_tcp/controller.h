// SPDX-License-Identifier: Apache-2.0
// Controller: the RemoteController. One coroutine is its life:
//
//   associate ─► serve ─► dissociate ─► pause ─┐
//       ▲  (fails: straight to dissociate)     │
//       └──────────────────────────────────────┘
//
// An association is the admin queue, the I/O queues of the lanes, the keep-alive and the wait for
// events. Whatever part of it fails first ends it whole; nothing of it is left when the next one
// begins. Everything here runs on the control reactor and reaches lanes by call_on.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backends/nvme_tcp/admin.h"
#include "backends/nvme_tcp/lane.h"
#include "backends/nvme_tcp/namespace_device.h"
#include "backends/nvme_tcp/remote_controller.h"
#include "reactor/gate.h"
#include "reactor/signal.h"

namespace remora::backends::nvme_tcp {

class Controller final : public RemoteController, private LaneOwner, private Admin::Owner {
  public:
    Controller(ControllerOptions options,
               std::span<const block::ReactorContext> reactors,
               reactor::Reactor& control);
    Controller(const Controller&) = delete;
    Controller& operator=(const Controller&) = delete;
    ~Controller() override;

    /// Begins the life. Once.
    void start();

    void set_listener(NamespaceListener* listener) override { listener_ = listener; }
    Task<Result<void>> wait_ready(Nanos limit) override;
    [[nodiscard]] ControllerStatus status() const override;
    [[nodiscard]] block::Device* device(std::uint32_t nsid) const override;
    Task<Result<void>> rescan() override;
    Task<Result<void>> forget(std::uint32_t nsid) override;
    Task<> reset() override;
    Task<> stop() override;

    /// In force from the next connection on. On the control reactor.
    void set_timing(const Timing& timing) { options_.timing = timing; }

    /// Those of all namespaces, also of those that are away.
    [[nodiscard]] std::vector<NamespaceDevice*> devices() const;

    /// Greatest number of namespaces of one controller, and of devices kept for it.
    static constexpr std::uint32_t kMaxNamespaces = 4096;

  private:
    void on_lane_down(std::uint32_t lane, const core::Error& reason) override;
    void on_ana_doubt() override { want_ana(); }
    void on_overtaken(std::uint16_t queue_id, std::uint16_t cid) override;
    void on_admin_down(const core::Error& reason) override;

    // controller.cc: the life
    Task<> live();
    Task<> serve();
    Task<> pause();
    Task<bool> wait_change(Nanos deadline);
    void notify_change();
    void note_down(const core::Error& reason);
    void note_failure(const core::Error& reason);
    void cut_scan_short(const core::Error& reason);
    Task<Result<void>> ready_by(Nanos deadline);
    Task<Result<void>> rescan_by(Nanos deadline);
    Task<Result<void>> forget_device(std::uint32_t nsid);

    // controller_association.cc: what an association is made of
    Task<Result<void>> associate();
    Task<> dissociate();
    Task<Result<void>> connect_lanes(std::uint32_t granted);
    Task<> lanes_go_live(std::uint32_t granted);
    Task<Result<void>> scan();
    Task<Result<void>> read_ana();
    Task<Result<void>> learn_ana(Nanos deadline);
    void take_ana(const std::map<std::uint32_t, AnaState>& states);
    void want_ana();
    Task<> handle_event(std::uint32_t event);
    Task<Result<std::vector<NamespaceIdentity>>> ask_namespaces(Nanos deadline);
    NamespaceDevice* device_for(const NamespaceIdentity& identity);
    bool take_namespaces(const std::vector<NamespaceIdentity>& shown);
    Task<> update_views();
    Task<> keep_alive_loop();
    Task<> event_loop();
    Task<> abort_overtaken();
    [[nodiscard]] QueuePairOptions queue_options(std::uint16_t queue_id) const;
    [[nodiscard]] TransferLimits transfer_limits() const;

    ControllerOptions options_;
    reactor::Reactor& reactor_;
    NamespaceListener* listener_ = nullptr;
    std::vector<std::unique_ptr<Lane>> lanes_;
    std::map<std::uint32_t, std::unique_ptr<NamespaceDevice>> devices_;
    bool devices_busy_ = false;  // a scan or forget() is under way

    PathState state_ = PathState::Connecting;
    core::Error last_error_;
    bool has_error_ = false;
    bool refused_ = false;  // the last attempt failed in a way that repeating alone does not mend
    bool was_live_ = false;
    std::uint64_t failures_ = 0;
    std::uint64_t reconnects_ = 0;
    unsigned backoff_step_ = 0;

    bool stopping_ = false;
    bool reset_wanted_ = false;
    bool hurry_ = false;
    bool scan_wanted_ = false;
    Nanos next_scan_ = core::kNever;   // a namespace could not be described for now
    Nanos next_ana_ = core::kNever;    // when the ANA states are to be read
    Nanos ana_read_{};                 // when they were
    Nanos ana_change_ = core::kNever;  // since when a namespace is going from one to another
    bool scanning_ = false;            // the controller is being asked
    bool told_left_out_ = false;
    bool told_undescribed_ = false;
    std::uint64_t scans_started_ = 0;
    std::uint64_t scans_done_ = 0;

    // The association.
    std::unique_ptr<Admin> admin_;
    std::unique_ptr<reactor::Gate> background_;
    reactor::Signal keep_alive_end_;
    ControllerFacts facts_;
    std::optional<core::Error> down_;
    struct Overtaken {
        std::uint16_t queue_id;
        std::uint16_t cid;
    };
    std::vector<Overtaken> overtaken_;  // to be aborted, one at a time (ACL); one a lane at most
    bool aborting_ = false;

    reactor::Signal wake_;                   // for live()
    std::vector<reactor::Signal*> waiters_;  // for whoever waits for a change
    reactor::Gate gate_;
};

}  // namespace remora::backends::nvme_tcp
