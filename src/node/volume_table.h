// SPDX-License-Identifier: Apache-2.0
// VolumeTable: every volume of the node by name, and who uses it. On the control reactor only.
//
// Each volume stands behind a CountedDevice, a QosDevice and a Junction, where its faults are put
// in. A volume of the node's own (RAM, null, file, encrypted) is owned here; one of a remote
// controller is owned by that controller and only shown here.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "block/counted_device.h"
#include "block/junction.h"
#include "block/reactor_context.h"
#include "node/node.h"
#include "services/fault/fault_stage.h"
#include "services/qos/qos_device.h"

namespace remora::node {

class Competitors;

/// Whose time a volume's I/O takes.
struct Foundation {
    std::optional<std::string> pool;  ///< By name (node.h, Competition); nothing: other volumes'.
};
inline const Foundation kOwn{.pool = ""};
inline const Foundation kOtherVolumes{};

class VolumeTable {
  public:
    /// `competitors` outlives the table.
    explicit VolumeTable(Competitors& competitors) : competitors_(competitors) {}
    VolumeTable(const VolumeTable&) = delete;
    VolumeTable& operator=(const VolumeTable&) = delete;

    /// Errors: AlreadyExists.
    Result<VolumeInfo> add_owned(std::unique_ptr<block::Device> device,
                                 const Foundation& foundation = kOwn);
    Result<void> add_shown(block::Device& device, const std::string& remote);
    /// Forgets the volume and gives back what was owned (null for a shown one). Errors: NotFound,
    /// FailedPrecondition naming the users.
    Result<std::unique_ptr<block::Device>> remove(const std::string& name);

    [[nodiscard]] std::optional<VolumeInfo> info(const std::string& name) const;
    [[nodiscard]] block::CountedDevice* find(const std::string& name) const;
    /// Where its rates are kept; null when there is no such volume.
    [[nodiscard]] services::qos::QosDevice* limits(const std::string& name) const;
    /// Of all volumes that have a pool.
    struct Competitor {
        std::string name;
        std::string pool;
        std::shared_ptr<services::qos::QosStage> stage;
    };
    [[nodiscard]] std::vector<Competitor> competitors() const;
    /// For the volume that has the name, now or later. Reactors have to be shown it.
    void set_rates(const std::string& name, const Rates& rates);
    /// The same for its faults, which `reactors` are shown. Valid settings. Errors: Aborted while
    /// another call changes them; those of the stage's channels.
    Task<Result<void>> set_faults(std::string name,
                                  FaultSettings settings,
                                  std::span<const block::ReactorContext> reactors);
    /// What obeys its faults; stays for as long as it is held, also when it was taken out. Null
    /// when there are none or there is no such volume.
    [[nodiscard]] std::shared_ptr<services::fault::FaultStage> faults(
        const std::string& name) const;
    /// Owned volumes may be deleted by name; shown ones go with their controller.
    [[nodiscard]] bool owned(const std::string& name) const;
    [[nodiscard]] std::vector<std::string> users(const std::string& name) const;
    [[nodiscard]] std::vector<std::string> names() const;

    /// Marks the volume used by `user` (a few words for error texts). Errors: NotFound.
    Result<block::CountedDevice*> use(const std::string& name, const std::string& user);
    void release(const std::string& name, const std::string& user);

  private:
    struct Entry {
        Foundation foundation;
        std::unique_ptr<block::Device> owned;
        std::shared_ptr<services::fault::FaultStage> faults;  ///< In the junction; null: none.
        std::unique_ptr<block::Junction> junction;
        std::unique_ptr<services::qos::QosDevice> limited;
        std::unique_ptr<block::CountedDevice> counted;
        std::multiset<std::string> users;
    };
    Result<void> add(block::Device& device,
                     std::unique_ptr<block::Device> owned,
                     const Foundation& foundation);
    /// For a volume that is there and stays.
    Task<Result<void>> apply_faults(const std::string& name,
                                    const FaultSettings& settings,
                                    std::span<const block::ReactorContext> reactors);
    Competitors& competitors_;
    std::map<std::string, Entry> volumes_;
    std::map<std::string, Rates> rates_;           // of volumes that are there or not
    std::map<std::string, FaultSettings> faults_;  // the same
    std::set<std::string> changing_faults_;
};

/// Makes reactors go by what was set of `limits`, which stay meanwhile.
Task<> show_rates(services::qos::QosStage& limits, std::span<const block::ReactorContext> reactors);

}  // namespace remora::node
