// SPDX-License-Identifier: Apache-2.0
#include "cli/kinds.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <vector>

#include "cli/host_function.h"
#include "core/units.h"
#include "core/uuid.h"

namespace remora::cli {

std::string& Values::slot(std::string_view flag, std::string_view fallback) {
    return values_.insert_or_assign(std::string(flag), std::string(fallback)).first->second;
}

const std::string& Values::text(std::string_view flag) const {
    static const std::string kAbsent;
    const auto found = values_.find(flag);
    return found == values_.end() ? kAbsent : found->second;
}

std::uint64_t Values::size(std::string_view flag) const {
    return take(core::parse_size(text(flag)), flag);
}

std::int32_t Values::number(std::string_view flag) const {
    const std::string& digits = text(flag);
    if (digits.empty()) {
        return 0;
    }
    std::int32_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc{} || end != digits.data() + digits.size()) {
        refuse_argument(std::string(flag) + " '" + digits + "' is not a whole number up to " +
                        std::to_string(std::numeric_limits<std::int32_t>::max()));
    }
    return value;
}

core::HostFunction Values::function(std::string_view flag) const {
    const auto function = read_function(text(flag));
    if (!function) {
        refuse_argument(std::string(flag) + " '" + text(flag) + "' is no function of a host");
    }
    return *function;
}

std::span<const Kind> kinds() {
    static const std::vector<Kind> kAll = [] {
        std::vector<Kind> all;
        for (const auto group :
             {volume_kinds(), service_kinds(), layer_kinds(), nvme_kinds(), disk_kinds()}) {
            all.insert(all.end(), group.begin(), group.end());
        }
        return all;
    }();
    return kAll;
}

const Kind* find_kind(std::string_view name) {
    for (const Kind& kind : kinds()) {
        if (name == kind.name || name == kind.plural) {
            return &kind;
        }
    }
    return nullptr;
}

std::pair<std::string, std::string> split_child(const Kind& kind, const std::string& typed) {
    const std::size_t slash = typed.find('/');
    if (slash == std::string::npos || slash == 0 || slash + 1 == typed.size() ||
        typed.find('/', slash + 1) != std::string::npos) {
        refuse_argument("'" + typed + "' does not say whose " + std::string(kind.name) +
                        " it is: write PARENT/ID, such as " + std::string(kind.example));
    }
    return {std::string(kind.parent) + "/" + typed.substr(0, slash), typed.substr(slash + 1)};
}

std::string full_name(const Kind& kind, const std::string& typed) {
    const auto slashes = std::ranges::count(typed, '/');
    if (!kind.parent.empty()) {
        if (slashes == 3) {
            return typed;
        }
        const auto [parent, id] = split_child(kind, typed);
        return parent + "/" + std::string(kind.collection) + "/" + id;
    }
    if (slashes != 0 || (kind.uuid_is_name && core::Uuid::parse(typed))) {
        return typed;
    }
    return std::string(kind.collection) + "/" + typed;
}

std::string short_name(const std::string& name) {
    std::vector<std::string> segments{""};
    for (const char letter : name) {
        if (letter == '/') {
            segments.emplace_back();
        } else {
            segments.back() += letter;
        }
    }
    if (segments.size() == 4) {
        return segments[1] + "/" + segments[3];
    }
    return segments.size() == 2 ? segments[1] : name;
}

}  // namespace remora::cli
