// SPDX-License-Identifier: Apache-2.0
// nvme::ReservationKeeper: makes reservations survive a restart. Whoever keeps the desired state
// implements it; the target calls it before it answers a command.
#pragma once

#include <cstdint>
#include <string>

#include "core/result.h"
#include "nvme/reservation.h"
#include "reactor/task.h"

namespace remora::nvme {

class ReservationKeeper {
  public:
    /// Makes `record` durable as that of the namespace; one without `persist` means that nothing
    /// is to be found after a restart. On an error the old one is still there. It waits for no
    /// lock that is held while the target is called: the target answers hosts, and ends
    /// connections and namespaces, only after this. Control reactor. Errors: NotFound, and what
    /// the store says.
    virtual reactor::Task<core::Result<void>> keep(std::string nqn,
                                                   std::uint32_t nsid,
                                                   ReservationRecord record) = 0;

  protected:
    ~ReservationKeeper() = default;
};

}  // namespace remora::nvme
