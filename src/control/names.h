// SPDX-License-Identifier: Apache-2.0
// Ids, resource names and the order they are listed in.
//
// An id is the part a client chooses; a name is a collection path with ids in it. The volume-like
// kinds have two spellings: `volumes/{id}` is what is returned, and the annotated pattern
// (`mallocVolumes/{id}`) is taken as well, because clients of the REST routes use it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "core/prng.h"
#include "core/result.h"

namespace remora::control {

constexpr std::size_t kMaxIdLength = 63;

/// The id a Create call gets: the client's, checked, or a new UUID for an empty one. Errors:
/// InvalidArgument naming the rule.
core::Result<std::string> choose_id(std::string_view field,
                                    const std::string& id,
                                    core::Prng& prng);

/// Whether `name` is `/`-separated segments of [A-Za-z0-9_.-], none empty or led by '-'. Errors:
/// InvalidArgument.
core::Result<void> check_name(std::string_view field, const std::string& name);

/// The collections a kind's names are made of. `alias` is empty without a second spelling.
struct Collection {
    std::string_view canonical;
    std::string_view alias;
};

/// The canonical name for what a client calls `name` (either spelling, or a bare id). A name of
/// another collection comes back as it is: it is then not found.
std::string canonical_name(const Collection& collection, const std::string& name);

/// "nvmeSubsystems/a/nvmeNamespaces/b" -> {"nvmeSubsystems/a", "b"} for the child collection
/// "nvmeNamespaces"; nothing when the name has another form.
std::optional<std::pair<std::string, std::string>> split_child(std::string_view child_collection,
                                                               const std::string& name);

/// The last segment.
std::string_view last_segment(std::string_view name);

/// Order in which digits count as numbers: function 2 comes before function 10.
struct NaturalLess {
    using is_transparent = void;
    bool operator()(std::string_view a, std::string_view b) const;
};

}  // namespace remora::control
