// SPDX-License-Identifier: Apache-2.0
// CryptVolumes: the encrypted volumes of a node: each a CryptDevice in the volume table, over
// another volume there, which it uses for as long as it exists. On the control reactor only.
//
// What is below is never stopped from here: it has its own owner, and goes after its users.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>

#include "block/reactor_context.h"
#include "node/node.h"
#include "node/volume_table.h"
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

    /// Errors: NotFound (below), AlreadyExists, InvalidArgument (the sector size), Unavailable
    /// without a kernel.
    Result<VolumeInfo> create(EncryptedSpec spec);
    /// Null when `name` is none of these.
    [[nodiscard]] const std::string* lower_of(const std::string& name) const;
    /// Errors: FailedPrecondition naming the users.
    Result<void> remove(const std::string& name);
    [[nodiscard]] bool empty() const { return lowers_.empty(); }
    /// Those that nobody uses; how many.
    std::size_t remove_unused();

  private:
    VolumeTable& volumes_;
    std::span<const block::ReactorContext> reactors_;
    std::optional<services::crypto::XtsKernel> kernel_;
    std::map<std::string, std::string> lowers_;  // by name
};

}  // namespace remora::node
