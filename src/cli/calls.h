// SPDX-License-Identifier: Apache-2.0
// The calls of a kind's service, found through protobuf's descriptions: what the verbs and
// `remora apply` are made of. Each throws Refused with the daemon's words.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cli/client.h"
#include "cli/kinds.h"

namespace remora::cli {

using MessagePtr = std::unique_ptr<Message>;

/// An empty resource of the kind.
MessagePtr new_resource(const Kind& kind);

/// The resource's name, "" in one that was not made yet.
std::string name_of(const Message& resource);

/// `typed` is ID, or PARENT/ID for a child. Returns what was made.
MessagePtr create_resource(Client& client,
                           const Kind& kind,
                           const std::string& typed,
                           const Message& resource);

MessagePtr get_resource(Client& client, const Kind& kind, const std::string& typed);

/// All pages. `parent` is "" for every parent's children.
std::vector<MessagePtr> list_resources(Client& client, const Kind& kind, const std::string& parent);

/// Sends the whole resource, of which what lies under `paths` is to be taken.
MessagePtr update_resource(Client& client,
                           const Kind& kind,
                           const Message& resource,
                           std::span<const std::string> paths);

void delete_resource(Client& client,
                     const Kind& kind,
                     const std::string& typed,
                     bool allow_missing);

/// The kind's own counters, of which there may be none.
MessagePtr get_stats(Client& client, const Kind& kind, const std::string& typed);

}  // namespace remora::cli
