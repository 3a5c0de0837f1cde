// SPDX-License-Identifier: Apache-2.0
// Discovery: asks the discovery subsystem at an endpoint which subsystems this host may reach
// there (log page 70h), and those that its referrals lead to. Short associations, one after the
// other, on the current reactor.
#pragma once

#include <string>
#include <vector>

#include "core/result.h"
#include "core/units.h"
#include "core/uuid.h"
#include "reactor/endpoint.h"
#include "reactor/task.h"

namespace remora::backends::nvme_tcp {

struct DiscoveryEntry {
    std::string subnqn;
    reactor::Endpoint endpoint;
};

/// The I/O subsystems reachable by TCP, in the logs' order: first that of `endpoint`, then those of
/// its referrals and theirs, 8 logs in all at most. A referral that cannot be asked is left out.
/// Errors, of the first log: Unavailable, DeadlineExceeded,
/// PermissionDenied, NotFound (nothing there is a discovery subsystem), DataLoss (the answer makes
/// no sense).
reactor::Task<core::Result<std::vector<DiscoveryEntry>>> discover(reactor::Endpoint endpoint,
                                                                  std::string hostnqn,
                                                                  core::Uuid hostid,
                                                                  core::Nanos deadline);

}  // namespace remora::backends::nvme_tcp
