// SPDX-License-Identifier: Apache-2.0
#include "control/names.h"

#include <algorithm>

#include "core/uuid.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;

namespace {

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
bool is_lower(char c) {
    return c >= 'a' && c <= 'z';
}
bool is_upper(char c) {
    return c >= 'A' && c <= 'Z';
}

/// Length of the run of digits at the front, without leading zeros counted.
std::size_t digits_at(std::string_view text) {
    const auto end = std::find_if_not(text.begin(), text.end(), is_digit);
    return static_cast<std::size_t>(end - text.begin());
}

/// Compares the digit runs both texts start with; removes them. Negative, zero or positive.
int compare_numbers(std::string_view& a, std::string_view& b) {
    const auto take = [](std::string_view& text) {
        std::string_view digits = text.substr(0, digits_at(text));
        text.remove_prefix(digits.size());
        digits.remove_prefix(std::min(digits.find_first_not_of('0'), digits.size()));
        return digits;
    };
    const std::string_view x = take(a);
    const std::string_view y = take(b);
    if (x.size() != y.size()) {
        return x.size() < y.size() ? -1 : 1;
    }
    return x.compare(y);
}

}  // namespace

Result<std::string> choose_id(std::string_view field, const std::string& id, core::Prng& prng) {
    if (id.empty()) {
        return core::Uuid::random(prng).text();
    }
    const bool is_uuid =
        core::Uuid::parse(id).has_value() && std::none_of(id.begin(), id.end(), is_upper);
    const bool well_formed =
        is_uuid || (id.size() <= kMaxIdLength && is_lower(id.front()) && id.back() != '-' &&
                    std::all_of(id.begin(), id.end(),
                                [](char c) { return is_lower(c) || is_digit(c) || c == '-'; }));
    if (!well_formed) {
        return fail(ErrorKind::InvalidArgument,
                    std::string(field) + ": \"" + id +
                        "\" is not an id; an id is 1 to 63 characters of a-z, 0-9 and '-', starts "
                        "with a letter and does not end in '-', or is a UUID");
    }
    return id;
}

Result<void> check_name(std::string_view field, const std::string& name) {
    constexpr std::string_view kWhat =
        "; a name is segments of letters, digits, '_', '.' and '-' (not first) between '/'";
    std::size_t start = 0;
    while (start <= name.size()) {
        const std::size_t end = std::min(name.find('/', start), name.size());
        const std::string_view segment = std::string_view(name).substr(start, end - start);
        const bool fine = !segment.empty() && segment.front() != '-' &&
                          std::all_of(segment.begin(), segment.end(), [](char c) {
                              return is_lower(c) || is_upper(c) || is_digit(c) || c == '_' ||
                                     c == '.' || c == '-';
                          });
        if (!fine) {
            return fail(ErrorKind::InvalidArgument, std::string(field) + ": \"" + name +
                                                        "\" is not a resource name" +
                                                        std::string(kWhat));
        }
        start = end + 1;
    }
    return {};
}

std::string canonical_name(const Collection& collection, const std::string& name) {
    const auto slash = name.find('/');
    if (slash == std::string::npos) {
        return std::string(collection.canonical) + "/" + name;
    }
    if (!collection.alias.empty() && std::string_view(name).substr(0, slash) == collection.alias) {
        return std::string(collection.canonical) + name.substr(slash);
    }
    return name;
}

std::optional<std::pair<std::string, std::string>> split_child(std::string_view child_collection,
                                                               const std::string& name) {
    const auto last = name.rfind('/');
    if (last == std::string::npos || last == 0) {
        return std::nullopt;
    }
    const auto middle = name.rfind('/', last - 1);
    if (middle == std::string::npos ||
        std::string_view(name).substr(middle + 1, last - middle - 1) != child_collection) {
        return std::nullopt;
    }
    return std::pair{name.substr(0, middle), name.substr(last + 1)};
}

std::string_view last_segment(std::string_view name) {
    const auto slash = name.rfind('/');
    return slash == std::string_view::npos ? name : name.substr(slash + 1);
}

bool NaturalLess::operator()(std::string_view a, std::string_view b) const {
    std::string_view x = a;
    std::string_view y = b;
    while (!x.empty() && !y.empty()) {
        if (is_digit(x.front()) && is_digit(y.front())) {
            const int order = compare_numbers(x, y);
            if (order != 0) {
                return order < 0;
            }
            continue;
        }
        if (x.front() != y.front()) {
            return x.front() < y.front();
        }
        x.remove_prefix(1);
        y.remove_prefix(1);
    }
    if (x.empty() != y.empty()) {
        return x.empty();
    }
    // Equal up to leading zeros: any fixed order will do, as long as it is one.
    return a < b;
}

}  // namespace remora::control
