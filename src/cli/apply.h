// SPDX-License-Identifier: Apache-2.0
// The commands that work on a whole site: apply, diff, export.
#pragma once

#include <string>

#include "cli/client.h"
#include "cli/site_plan.h"

namespace remora::cli {

struct ApplyFlags {
    std::string file;  ///< "-" is the standard input.
    PlanOptions plan;
    bool dry_run = false;
};

/// Shows the plan and carries it out. Stops at the first step that fails; what is done stays done,
/// and a second run goes on from there.
void apply(const Session& session, const ApplyFlags& flags);

/// Shows the plan. Ends with 0 when there is nothing to do, with 1 when there is, with 2 when it
/// cannot be told.
void diff(const Session& session, const ApplyFlags& flags);

/// Writes what the daemon holds as a file for apply. Without secrets, the content of volumes, and
/// what attachments have made.
void export_site(const Session& session);

}  // namespace remora::cli
