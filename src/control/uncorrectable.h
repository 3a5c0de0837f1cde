// SPDX-License-Identifier: Apache-2.0
// Uncorrectable: the blocks that NVMe hosts marked (Write Uncorrectable), in the store beside their
// namespace, so that they are gone with it. The data plane decides; this only keeps. Control
// reactor only.
#pragma once

#include <cstdint>
#include <string>

#include "control/context.h"
#include "nvme/uncorrectable_keeper.h"

namespace remora::control {

class Uncorrectable final : public nvme::UncorrectableKeeper {
  public:
    explicit Uncorrectable(Context& context) : context_(context) {}

    /// Takes no lock, for Reservations::keep()'s reason, and is one step, too. Errors: NotFound
    /// while the call that makes the namespace has not stored it, and the store's.
    reactor::Task<core::Result<void>> keep(std::string nqn,
                                           std::uint32_t nsid,
                                           nvme::UncorrectableBlocks marks) override;

  private:
    Context& context_;
};

/// What keep() stored. Errors: DataLoss.
core::Result<nvme::UncorrectableBlocks> read_uncorrectable(const state::Record& known);

}  // namespace remora::control
