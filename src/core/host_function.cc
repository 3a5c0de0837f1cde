// SPDX-License-Identifier: Apache-2.0
#include "core/host_function.h"

#include <charconv>

namespace remora::core {

namespace {

/// Digits without leading zeros: each number is written in one way.
std::optional<std::uint32_t> read_number(std::string_view digits) {
    std::uint32_t value = 0;
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (digits.empty() || parsed.ec != std::errc() || parsed.ptr != digits.data() + digits.size() ||
        (digits.front() == '0' && digits.size() > 1)) {
        return std::nullopt;
    }
    return value;
}

}  // namespace

std::string HostFunction::text() const {
    return std::to_string(pf) + (vf == 0 ? std::string() : "." + std::to_string(vf));
}

std::optional<HostFunction> HostFunction::parse(std::string_view text) {
    const auto dot = text.find('.');
    const auto physical = read_number(text.substr(0, dot));
    if (!physical || dot == std::string_view::npos) {
        return physical ? std::optional(HostFunction(*physical)) : std::nullopt;
    }
    const auto virtual_one = read_number(text.substr(dot + 1));
    return virtual_one && *virtual_one != 0 ? std::optional(HostFunction(*physical, *virtual_one))
                                            : std::nullopt;
}

}  // namespace remora::core
