// SPDX-License-Identifier: Apache-2.0
// What is the same for every kind that lives under a parent: its parent, its listing.
#pragma once

#include "control/context.h"

namespace remora::control {

/// The name a new child gets, and its parent. Errors: as lookup(), for the parent.
template <typename Parent>
core::Result<std::string> parent_name(const Model& model, const std::string& raw) {
    const auto parent = lookup<Parent>(model, raw);
    if (!parent) {
        return core::fail("parent", parent.error());
    }
    return (*parent)->resource.name();
}

/// The prefix of the children's names a listing asks for; "-" in place of the parent's id means
/// every parent (AIP-159).
template <typename Parent>
core::Result<std::string> list_prefix(const Model& model, const std::string& raw) {
    const std::string all = std::string(KindTraits<Parent>::kCollection.canonical) + "/-";
    if (raw == all || raw == "-") {
        return std::string();
    }
    auto parent = parent_name<Parent>(model, raw);
    if (!parent) {
        return parent;
    }
    return *parent + "/";
}

/// The parent's name of a child's name.
inline std::string parent_of(const std::string& child) {
    const auto last = child.rfind('/');
    return child.substr(0, child.rfind('/', last - 1));
}

}  // namespace remora::control
