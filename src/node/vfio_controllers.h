// SPDX-License-Identifier: Apache-2.0
// VfioControllers: the vfio-user NVMe controllers of a node, each placed on one data reactor with
// all namespaces of its subsystem. On the control reactor; the controllers live on their own.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "frontends/vfio_user_nvme/controller.h"
#include "node/competitors.h"
#include "node/node.h"
#include "node/volume_table.h"
#include "services/qos/qos_device.h"

namespace remora::node {

class VfioControllers {
  public:
    /// `drain_limit`: how long the last requests may take when something is removed (seconds over
    /// the time a request may wait for a path). Each of `frozen` goes on as soon as the controller
    /// of its name is made and has all the namespaces that it had, or kFrozenLimit later.
    VfioControllers(VolumeTable& volumes,
                    std::span<const block::ReactorContext> reactors,
                    Competitors& competitors,
                    core::Nanos drain_limit,
                    const std::vector<FrozenFunction>& frozen = {})
        : volumes_(volumes),
          contexts_(reactors.begin(), reactors.end()),
          competitors_(competitors),
          load_(reactors.size()),
          drain_limit_(drain_limit) {
        if (!frozen.empty()) {
            frozen_until_ = reactor::Reactor::current().now() + kFrozenLimit;
        }
        for (const FrozenFunction& function : frozen) {
            frozen_.emplace(function.name, function.controller);
        }
    }
    VfioControllers(const VfioControllers&) = delete;
    VfioControllers& operator=(const VfioControllers&) = delete;
    /// After stop().
    ~VfioControllers() { CHECK(controllers_.empty()); }

    /// With what its subsystem shows.
    Task<Result<void>> create(VfioNvmeSpec spec, std::vector<NamespaceSpec> namespaces);
    Task<Result<void>> remove(std::string name);
    /// The subsystem shows it from now on, under the number that it says: by all controllers or, on
    /// an error, by none.
    Task<Result<void>> add_namespace(NamespaceSpec spec);
    /// Errors: DeadlineExceeded: it is hidden, and this is to be called again.
    Task<Result<void>> remove_namespace(std::string nqn, std::uint32_t nsid);
    Task<Result<VfioNvmeStatus>> status(std::string name);
    Task<Result<block::DeviceStats>> stats(std::string name);
    Task<Result<void>> set_rates(std::string name, Rates rates);
    /// All of them.
    [[nodiscard]] std::vector<ControllerCompetitor> competitors() const;
    /// A controller of the subsystem; empty: there is none.
    [[nodiscard]] std::string one_of(const std::string& nqn) const;
    /// All that can be frozen by the deadline, for a process that takes this one's place: nothing
    /// else may be asked afterwards, not stop() either.
    Task<std::vector<FrozenFunction>> freeze(core::Nanos deadline);
    /// False when a controller still held requests after `limit`; then it must live on.
    Task<bool> stop(core::Nanos limit);

  private:
    /// Linux gives a command of NVMe 30 s.
    static constexpr core::Nanos kFrozenLimit = std::chrono::seconds(20);
    using Controller = frontends::vfio_user_nvme::Controller;
    using Frozen = frontends::vfio_user_nvme::FrozenController;
    struct Shown {
        std::string volume;
        std::unique_ptr<services::qos::QosDevice> limited;
    };
    struct Entry {
        std::string nqn;
        std::uint16_t cntlid = 0;
        std::size_t place = 0;  // index of its reactor
        std::shared_ptr<services::qos::QosStage> limits;
        std::unique_ptr<Controller> controller;
        std::map<std::uint32_t, Shown> namespaces;  // by nsid
        bool busy = true;                           // a call changes it
        bool leaving =
            false;  // a removal has begun: if it ran out of time, only another one is left
    };
    Task<Result<void>> drain(std::string name, core::Nanos limit);
    Task<> go_on(std::string name);
    Task<> restore(std::string name);
    Task<Result<Frozen>> freeze_one(Entry& entry, core::Nanos deadline);
    Task<Result<void>> show(std::string name, NamespaceSpec spec);
    Task<Result<void>> hide(std::string name, std::uint32_t nsid);
    /// Each controller of the subsystem learns of the others.
    Task<> tell_controllers(std::string nqn);
    Result<Entry*> find(const std::string& name);
    [[nodiscard]] std::vector<std::string> names_of(const std::string& nqn) const;
    /// Runs `read(controller)` on its reactor.
    template <typename F>
    auto ask(Entry& entry, F read);

    VolumeTable& volumes_;
    std::vector<block::ReactorContext> contexts_;
    Competitors& competitors_;
    std::vector<std::size_t> load_;  // controllers on each reactor
    core::Nanos drain_limit_;
    std::map<std::string, std::unique_ptr<Entry>> controllers_;
    std::map<std::string, Frozen> frozen_;
    core::Nanos frozen_until_{};
};

}  // namespace remora::node
