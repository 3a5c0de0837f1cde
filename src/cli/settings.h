// SPDX-License-Identifier: Apache-2.0
// Settings: what a site's file says of a resource that is no field of its OPI message, as
// `remora ana`, `path-policy` and `timings` set it. Each is a kind of its own, under the name of
// the resource that has it:
//
//     kind: ana
//     name: lab/tcp
//     spec: {ana_state: non-optimized}
//
// It is there as long as its resource is: never made or deleted by itself, and default_setting()
// when its resource is new.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/calls.h"
#include "cli/kinds.h"

namespace remora::cli {

struct Setting {
    std::string name;  ///< The resource's.
    MessagePtr message;
};

std::span<const Kind> setting_kinds();

/// Null when there is no setting that is called so.
const Kind* find_setting_kind(std::string_view name);

inline bool is_setting(const Kind& kind) {
    return !kind.setting_of.empty();
}

/// The setting of each of the resources that has one. What an older daemon does not know is not
/// there.
std::vector<Setting> ask_settings(Client& client,
                                  const Kind& kind,
                                  const std::vector<std::string>& resources);

/// Names of the setting's fields.
using Changed = std::vector<std::string>;

/// Sets those fields of `wanted` that have `changed`.
void set_setting(Client& client,
                 const Kind& kind,
                 const std::string& name,
                 const Message& wanted,
                 const Changed& changed);

/// What a new resource has.
MessagePtr default_setting(const Kind& kind);

}  // namespace remora::cli
