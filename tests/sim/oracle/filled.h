// SPDX-License-Identifier: Apache-2.0
// filled(): a sentence with values in its {} places, for the violations that oracles report.
#pragma once

#include <concepts>
#include <string>
#include <string_view>

namespace remora::sim {
namespace detail {

inline std::string value_text(std::string_view text) {
    return std::string(text);
}
template <std::integral T>
std::string value_text(T value) {
    return std::to_string(value);
}

}  // namespace detail

/// Each {} of `pattern` replaced by the next value: a text or an integer.
template <typename... Values>
std::string filled(std::string_view pattern, const Values&... values) {
    std::string out;
    const auto put = [&out, &pattern](const std::string& value) {
        const std::size_t place = pattern.find("{}");
        out += pattern.substr(0, place);
        out += value;
        pattern.remove_prefix(place == std::string_view::npos ? pattern.size() : place + 2);
    };
    (put(detail::value_text(values)), ...);
    return out += pattern;
}

}  // namespace remora::sim
