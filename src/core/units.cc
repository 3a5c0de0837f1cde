// SPDX-License-Identifier: Apache-2.0
#include "core/units.h"

#include <charconv>
#include <cstdio>

namespace remora::core {

namespace {

/// The multiplier of a unit suffix, or 0 for an unknown one.
std::uint64_t multiplier(std::string_view unit) {
    if (unit.empty() || unit == "B") {
        return 1;
    }
    const std::string_view rest = unit.substr(1);
    if (!rest.empty() && rest != "iB" && rest != "B") {
        return 0;
    }
    switch (unit.front()) {
        case 'k':
        case 'K':
            return kKiB;
        case 'm':
        case 'M':
            return kMiB;
        case 'g':
        case 'G':
            return kGiB;
        case 't':
        case 'T':
            return kTiB;
        default:
            return 0;
    }
}

}  // namespace

Result<std::uint64_t> parse_size(std::string_view text) {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    const auto consumed = static_cast<std::size_t>(end - text.data());
    const std::uint64_t unit = error == std::errc{} ? multiplier(text.substr(consumed)) : 0;
    std::uint64_t bytes = 0;
    if (unit == 0 || __builtin_mul_overflow(number, unit, &bytes)) {
        return fail(ErrorKind::InvalidArgument, "size '" + std::string(text) +
                                                    "' is not a whole number with a unit such as " +
                                                    "4096, 64K, 512M, 10G or 1T");
    }
    return bytes;
}

std::string format_size(std::uint64_t bytes) {
    static constexpr const char* kNames[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    // What rounds up to a whole next unit is shown in that one: 1 MiB - 1 is "1.0 MiB".
    const auto fills_next = [bytes](std::uint64_t unit) {
        return static_cast<double>(bytes) / static_cast<double>(unit) >= 1023.95;
    };
    std::uint64_t unit = 1;
    std::size_t index = 0;
    while (index + 1 < std::size(kNames) && bytes >= kKiB && fills_next(unit)) {
        unit *= kKiB;
        ++index;
    }
    char text[32];
    if (bytes % unit == 0) {
        std::snprintf(text, sizeof text, "%llu %s", static_cast<unsigned long long>(bytes / unit),
                      kNames[index]);
    } else {
        std::snprintf(text, sizeof text, "%.1f %s",
                      static_cast<double>(bytes) / static_cast<double>(unit), kNames[index]);
    }
    return text;
}

}  // namespace remora::core
