// SPDX-License-Identifier: Apache-2.0
// Files of a simulated process: the machine's Disk with time and faults in front of it.
#pragma once

#include <memory>
#include <string>

#include "tests/sim/world/sim_io.h"

namespace remora::sim {

core::Result<std::unique_ptr<reactor::File>> open_sim_file(SimIo& io,
                                                           const std::string& path,
                                                           const reactor::FileOptions& options);

}  // namespace remora::sim
