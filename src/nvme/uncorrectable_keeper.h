// SPDX-License-Identifier: Apache-2.0
// nvme::UncorrectableKeeper: makes the marks of Write Uncorrectable survive a restart. Whoever
// keeps the desired state implements it; the target calls it before it answers a command.
#pragma once

#include <cstdint>
#include <string>

#include "core/result.h"
#include "nvme/uncorrectable.h"
#include "reactor/task.h"

namespace remora::nvme {

class UncorrectableKeeper {
  public:
    /// Makes `marks` durable as those of the namespace, instead of the ones before. On an error
    /// these are still there. It waits for no lock that is held while the target is called: the
    /// target ends connections and namespaces only after this. Control reactor. Errors: NotFound,
    /// and what the store says.
    virtual reactor::Task<core::Result<void>> keep(std::string nqn,
                                                   std::uint32_t nsid,
                                                   UncorrectableBlocks marks) = 0;

  protected:
    ~UncorrectableKeeper() = default;
};

}  // namespace remora::nvme
