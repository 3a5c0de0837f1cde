// SPDX-License-Identifier: Apache-2.0
// Who this machine is as an NVMe host: made once, kept in the store, the same after each restart,
// so that targets recognise it.
#pragma once

#include <string>

#include "control/store.h"
#include "core/prng.h"
#include "core/uuid.h"

namespace remora::control {

struct Identity {
    core::Uuid host_id;
    std::string host_nqn;  ///< nqn.2014-08.org.nvmexpress:uuid:{host_id} (NVMe Base 2.0, 4.5)
};

core::Result<Identity> load_identity(Store& store, core::Prng& prng);

}  // namespace remora::control
