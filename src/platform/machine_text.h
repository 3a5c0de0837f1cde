// SPDX-License-Identifier: Apache-2.0
// How the kernel's texts about a machine are understood. Pure functions over hostile bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace remora::platform {

/// The first line without blanks at its ends. When that is not UTF-8 or has control characters,
/// everything but printable ASCII becomes '?'.
std::string clean_line(std::string_view text);

/// A whole number in base 10 or 16, alone on its line; a "0x" is taken in base 16.
std::optional<std::uint64_t> parse_number(std::string_view text, int base);

/// What follows "key:" in a line of the form "key : value" (/proc/cpuinfo, /proc/meminfo); nothing
/// when the line is of another key.
std::optional<std::string_view> value_of(std::string_view line, std::string_view key);

/// Kind of enclosure in words. Empty for numbers that the specification has not given away.
std::string_view chassis_type_text(std::uint64_t type);

}  // namespace remora::platform
