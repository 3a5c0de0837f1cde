// SPDX-License-Identifier: Apache-2.0
// What has to be done so that a daemon holds what a site's file declares. Pure: the plan follows
// from the file, the holdings and the options alone.
//
// Only declared fields count. First come deletions, each before what it stands on; then what is
// made or changed, each behind what it stands on. A field that cannot change blocks the plan,
// unless `replace` allows to delete the resource and make it anew, with all declared ones that use
// it. A setting is compared with what is set, and with the defaults where its resource is to be
// made.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/holdings.h"
#include "cli/site.h"

namespace remora::cli {

struct PlanOptions {
    /// Delete what is not declared, of the kinds that are, and with names that begin with `scope`.
    bool prune = false;
    std::string scope;
    bool replace = false;
};

enum class Act : std::uint8_t { Unchanged, Create, Change, Delete, Blocked };

struct FieldChange {
    FieldPath path;
    std::string before;
    std::string after;
    nlohmann::ordered_json before_value;
    nlohmann::ordered_json after_value;
};

struct Step {
    Act act = Act::Unchanged;
    const Kind* kind = nullptr;
    std::string typed;
    /// Fields that differ. Of a deletion and a blocked step: why it is one.
    std::vector<FieldChange> changes;
    std::string reason;
    const Declared* wanted = nullptr;  ///< Null for a deletion.
    const Held* held = nullptr;        ///< Null when there is none yet.
};

struct Plan {
    std::vector<Step> steps;

    [[nodiscard]] bool differs() const;
    [[nodiscard]] bool blocked() const;
};

/// Settles the sizes of `site`. The plan refers to both. Throws Refused for a declared resource
/// that is to be made and lacks a required field.
Plan make_plan(Site& site, const Holdings& holdings, const PlanOptions& options);

}  // namespace remora::cli
