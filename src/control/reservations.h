// SPDX-License-Identifier: Apache-2.0
// Reservations: what NVMe hosts reserved with Persist Through Power Loss, in the store beside the
// namespace. The data plane decides; this only keeps. Control reactor only.
#pragma once

#include <cstdint>
#include <string>

#include "control/context.h"
#include "nvme/reservation_keeper.h"

namespace remora::control {

class Reservations final : public nvme::ReservationKeeper {
  public:
    explicit Reservations(Context& context) : context_(context) {}

    /// Takes no lock: a call that holds the subsystem's may wait for the data plane, which waits
    /// for this. It is one step: nothing else runs between the look and the commit. Errors:
    /// NotFound while the call that makes the namespace has not stored it, and the store's.
    reactor::Task<core::Result<void>> keep(std::string nqn,
                                           std::uint32_t nsid,
                                           nvme::ReservationRecord record) override;

  private:
    Context& context_;
};

/// What keep() stored. Errors: DataLoss.
core::Result<nvme::ReservationRecord> read_reservation(const state::Record& known);

}  // namespace remora::control
