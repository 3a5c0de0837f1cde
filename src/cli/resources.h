// SPDX-License-Identifier: Apache-2.0
// The verbs every kind has: create, get, list, delete, stats. One implementation for all kinds,
// which finds requests and answers through protobuf's descriptions of the services.
#pragma once

#include <string>

#include "cli/client.h"
#include "cli/kinds.h"

namespace remora::cli {

/// `typed` is ID, or PARENT/ID for a child. Prints what was made.
void create(const Session& session,
            const Kind& kind,
            const std::string& typed,
            const Values& values);

void get(const Session& session, const Kind& kind, const std::string& typed);

/// All pages. `parent` is "" for every parent's children.
void list(const Session& session, const Kind& kind, const std::string& parent);

void remove(const Session& session, const Kind& kind, const std::string& typed, bool allow_missing);

/// Changes the limits of rate that were given.
void limit(const Session& session,
           const Kind& kind,
           const std::string& typed,
           const Values& values);
/// Gives a volume another size ("128M"), which its hosts see at once.
void resize(const Session& session,
            const Kind& kind,
            const std::string& typed,
            const std::string& size_text);

void stats(const Session& session, const Kind& kind, const std::string& typed);

/// Counters of any volume, however it is referred to.
void volume_stats(const Session& session, const std::string& reference);

}  // namespace remora::cli
