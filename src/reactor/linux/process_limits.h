// SPDX-License-Identifier: Apache-2.0
// What the system lets this process have.
#pragma once

namespace remora::reactor {

/// As many descriptors as the system allows: a disk with 64 queues and a successor of its client
/// holds nearly 400, and the usual limit of 1,024 would be all disks' together. What cannot be
/// raised stays. Any thread; at start.
void allow_descriptors();

}  // namespace remora::reactor
