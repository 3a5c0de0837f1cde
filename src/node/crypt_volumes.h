// SPDX-License-Identifier: Apache-2.0
// CryptVolumes: the encrypted volumes of a node: each a CryptDevice in the volume table, over
// another volume there, which it uses for as long as it exists. On the control reactor only.
//
// What is below is never stopped from here: it has its own owner, and goes after its users.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "block/reactor_context.h"
#include "node/node.h"
#include "node/volume_table.h"
#include "services/crypto/rekey.h"
#include "services/crypto/xts_kernel.h"

namespace remora::node {

class CryptVolumes {
  public:
    /// `kernel`: one that can be trusted; without any, no volume is encrypted.
    CryptVolumes(VolumeTable& volumes,
                 std::span<const block::ReactorContext> reactors,
                 std::optional<services::crypto::XtsKernel> kernel)
        : volumes_(volumes), reactors_(reactors), kernel_(kernel) {}
    CryptVolumes(const CryptVolumes&) = delete;
    CryptVolumes& operator=(const CryptVolumes&) = delete;
    /// After all are removed.
    ~CryptVolumes();

    void set_keeper(services::crypto::RekeyKeeper& keeper) { keeper_ = &keeper; }

    /// Errors: NotFound (below), AlreadyExists, InvalidArgument (the sector size, how far a change
    /// of keys was), Unavailable without a kernel.
    Task<Result<VolumeInfo>> create(EncryptedSpec spec);
    /// Node::rekey_volume() and rekey_progress().
    Task<Result<void>> rekey(std::string name, RekeySpec spec);
    [[nodiscard]] std::optional<RekeyProgress> rekey_progress(const std::string& name) const;
    /// Null when `name` is none of these.
    [[nodiscard]] const std::string* lower_of(const std::string& name) const;
    /// Ends the change of its key where it is. Errors: FailedPrecondition naming the users.
    Task<Result<void>> remove(std::string name);
    /// No key is being changed any more; false when one still is at the deadline: those below hold
    /// its I/O.
    Task<bool> stop_rekeys(core::Nanos deadline);
    [[nodiscard]] bool empty() const { return crypts_.empty(); }
    /// Those that nobody uses; how many.
    Task<std::size_t> remove_unused();

  private:
    struct Crypt {
        std::string lower;
        services::crypto::CryptDevice* device;  ///< The table's.
        std::unique_ptr<services::crypto::Rekey> rekey;
    };
    using Started = Result<std::unique_ptr<services::crypto::Rekey>>;

    Task<Result<VolumeInfo>> make(EncryptedSpec spec, block::Device* lower);
    Task<Started> start(services::crypto::CryptDevice& device, RekeySpec spec);

    VolumeTable& volumes_;
    std::span<const block::ReactorContext> reactors_;
    std::optional<services::crypto::XtsKernel> kernel_;
    services::crypto::RekeyKeeper* keeper_ = nullptr;
    std::map<std::string, Crypt> crypts_;  // by name
};

}  // namespace remora::node
