// SPDX-License-Identifier: Apache-2.0
// Commands that show the whole of something: the machine, all volumes, all conditions, what the
// daemon can do; and one that makes a remote controller connect anew.
#pragma once

#include <string>

#include "cli/client.h"

namespace remora::cli {

/// What the daemon's machine is made of.
void inventory(const Session& session);

/// Every volume of any kind, with what it stands on and what uses it.
void volumes(const Session& session);

struct ConditionsFlags {
    std::string prefix;    ///< Only of resources whose names begin so; "": of all.
    bool trouble = false;  ///< Only what is not as it should be.
};

void conditions(const Session& session, const ConditionsFlags& flags);

struct CapabilitiesFlags {
    bool missing = false;  ///< Only what this daemon cannot do.
};

void capabilities(const Session& session, const CapabilitiesFlags& flags);

/// `remote` is a remote controller, all of whose paths connect anew.
void reset(const Session& session, const std::string& remote);

}  // namespace remora::cli
