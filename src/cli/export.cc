// SPDX-License-Identifier: Apache-2.0
// `remora export`: the opposite of reading a site's file.
#include <algorithm>
#include <vector>

#include <nlohmann/json.hpp>

#include "cli/apply.h"
#include "cli/settings.h"
#include "cli/yaml.h"

namespace remora::cli {

namespace {

using nlohmann::ordered_json;

constexpr const char* kHeader =
    "# What a Remora daemon holds, written by `remora export` for `remora apply -f`.\n"
    "# Keys, the content of volumes, and what attachments made are not in it: an encrypted volume\n"
    "# is made anew from it once its spec has a line `key-file: PATH`.\n";

bool is_chosen(const Kind& kind, const FieldPath& path) {
    return std::ranges::find(kind.chosen, path_text(path)) != kind.chosen.end();
}

/// A setting that nobody has made.
bool is_default(const Kind& kind, const Message& message, const FieldPath& path) {
    return is_setting(kind) && same_value(message, *default_setting(kind), path);
}

ordered_json spec_of(const Kind& kind, const Message& message) {
    ordered_json spec = ordered_json::object();
    const Field* root = spec_field(*message.GetDescriptor());
    for (const FieldPath& path : set_leaves(message)) {
        if (is_secret(*path.back()) || is_chosen(kind, path) ||
            path_text(path) == kind.name_field || is_default(kind, message, path)) {
            continue;
        }
        ordered_json* place = &spec;
        for (const Field* field : path) {
            if (field != root) {
                place = &(*place)[field->name()];
            }
        }
        *place = value_of(message, path);
    }
    return spec;
}

}  // namespace

void export_site(const Session& session) {
    std::vector<const Kind*> settings;
    for (const Kind& kind : setting_kinds()) {
        settings.push_back(&kind);
    }
    const Holdings holdings = ask_holdings(session, settings);
    std::vector<Item> items;
    for (const Held& held : holdings.all()) {
        if (!held.of_attachment) {
            items.push_back(held.item());
        }
    }
    for (const Held& setting : holdings.settings()) {
        if (!setting.of_attachment && !spec_of(*setting.kind, *setting.message).empty()) {
            items.push_back(setting.item());
        }
    }
    ordered_json all = ordered_json::array();
    for (const std::size_t index : creation_order(items)) {
        const Item& item = items[index];
        all.push_back({{"kind", item.kind->name},
                       {"name", short_name(item.name)},
                       {"spec", spec_of(*item.kind, *item.message)}});
    }
    if (session.json()) {
        session.out << all.dump(1, ' ', false, ordered_json::error_handler_t::replace) << '\n';
    } else {
        session.out << kHeader << write_yaml(all);
    }
}

}  // namespace remora::cli
