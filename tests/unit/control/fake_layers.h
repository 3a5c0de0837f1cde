// SPDX-License-Identifier: Apache-2.0
// FakeLayers: the part of the control plane's fake data plane that is about what is laid over
// volumes and made of them: faults, arrays, checksums.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/unit/control/fake_functions.h"
#include "tests/unit/control/steps.h"

namespace remora::test {

class FakeLayers : public FakeFunctions {
  public:
    /// What lies on volumes, by the volume's name: outlives this node.
    using Marks = std::map<std::string, std::string>;

    FakeLayers(Marks& marks, Steps& steps);
    ~FakeLayers() override;

    struct Array {
        node::RaidSpec spec;
        node::RaidStatus status;
        std::vector<std::string> lowers;
    };
    std::map<std::string, node::VolumeInfo> volumes;
    std::map<std::string, node::EncryptedSpec> encrypted;
    services::crypto::RekeyKeeper* rekey_keeper = nullptr;
    std::string rekey_trouble;
    std::map<std::string, Array> arrays;
    std::map<std::string, node::IntegritySpec> checked;
    std::map<std::string, node::IntegrityStatus> integrity;
    std::map<std::string, std::uint64_t> background_rates;
    std::map<std::string, node::FaultSettings> volume_faults;
    std::map<std::string, node::FaultCounts> fault_counts;
    std::map<std::string, node::Rates> volume_rates;
    node::Competition competition;

    reactor::Task<> set_volume_rates(std::string name, node::Rates rates) override;
    reactor::Task<> set_competition(node::Competition to) override;
    reactor::Task<core::Result<void>> set_volume_faults(std::string name,
                                                        node::FaultSettings settings) override;
    reactor::Task<core::Result<node::FaultCounts>> volume_fault_counts(std::string name) override;

    reactor::Task<core::Result<node::VolumeInfo>> create_encrypted(
        node::EncryptedSpec spec) override;
    void set_rekey_keeper(services::crypto::RekeyKeeper& to) override { rekey_keeper = &to; }
    reactor::Task<core::Result<void>> rekey_volume(std::string name, node::RekeySpec spec) override;
    [[nodiscard]] std::optional<node::RekeyProgress> rekey_progress(
        const std::string& name) const override;

    reactor::Task<core::Result<node::VolumeInfo>> create_raid(node::RaidSpec spec) override;
    [[nodiscard]] std::optional<node::RaidStatus> raid_status(
        const std::string& name) const override;
    reactor::Task<core::Result<void>> add_raid_spare(std::string name, std::string volume) override;
    reactor::Task<core::Result<void>> replace_raid_member(std::string name,
                                                          std::string member,
                                                          std::string with) override;
    /// The test's: what the background would do.
    void finish_rebuild(const std::string& name);
    reactor::Task<core::Result<void>> remove_raid_member(std::string name,
                                                         std::string member) override;
    void release_raid_members(const std::string& name) override;
    void set_raid_rate(const std::string& name, std::uint64_t bytes_per_second) override;
    core::Result<void> scrub_raid(const std::string& name, bool on) override;

    reactor::Task<core::Result<node::VolumeInfo>> create_integrity(
        node::IntegritySpec spec) override;
    [[nodiscard]] std::optional<node::IntegrityStatus> integrity_status(
        const std::string& name) const override;
    void set_integrity_scrub_rate(const std::string& name, std::uint64_t bytes_per_second) override;
    core::Result<void> scrub_integrity(const std::string& name, bool on) override;

  protected:
    /// A volume goes, and with it the marks of what it was made of.
    void forget_layer(const std::string& name);

  private:
    static constexpr const char* kSpare = " spare";

    static std::unexpected<core::Error> absent(const std::string& name);
    node::VolumeInfo add_layer(const std::string& name, core::Uuid uuid, std::uint64_t blocks);
    core::Result<void> fits_mark(const std::string& volume,
                                 const std::string& mark,
                                 bool fresh,
                                 bool overwrite) const;

    Marks& marks_;
    Steps& layer_steps_;
};

}  // namespace remora::test
