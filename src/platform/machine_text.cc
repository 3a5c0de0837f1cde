// SPDX-License-Identifier: Apache-2.0
#include "platform/machine_text.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace remora::platform {

namespace {

std::string_view trim(std::string_view text) {
    constexpr std::string_view kBlanks(" \t\r\n\v\f\0", 7);
    const auto first = text.find_first_not_of(kBlanks);
    if (first == std::string_view::npos) {
        return {};
    }
    return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

/// Bytes of the well-formed character at the front (RFC 3629 section 4), 0 when there is none.
std::size_t utf8_length(std::string_view text) {
    const auto byte = [&](std::size_t at) {
        return at < text.size() ? static_cast<unsigned char>(text[at]) : 0U;
    };
    const auto tail = [&](std::size_t at, unsigned low = 0x80, unsigned high = 0xbf) {
        return byte(at) >= low && byte(at) <= high;
    };
    const unsigned lead = byte(0);
    if (lead < 0x80) {
        return 1;
    }
    if (lead >= 0xc2 && lead <= 0xdf) {
        return tail(1) ? 2 : 0;
    }
    if (lead >= 0xe0 && lead <= 0xef) {
        const bool second = tail(1, lead == 0xe0 ? 0xa0 : 0x80, lead == 0xed ? 0x9f : 0xbf);
        return second && tail(2) ? 3 : 0;
    }
    if (lead >= 0xf0 && lead <= 0xf4) {
        const bool second = tail(1, lead == 0xf0 ? 0x90 : 0x80, lead == 0xf4 ? 0x8f : 0xbf);
        return second && tail(2) && tail(3) ? 4 : 0;
    }
    return 0;
}

bool is_printable_ascii(char c) {
    return c >= 0x20 && c < 0x7f;
}

bool is_clean(std::string_view text) {
    while (!text.empty()) {
        const std::size_t length = utf8_length(text);
        if (length == 0 || (length == 1 && !is_printable_ascii(text.front()))) {
            return false;
        }
        text.remove_prefix(length);
    }
    return true;
}

/// DMTF DSP0134 (SMBIOS) 3.7.0 section 7.4.1: System enclosure or chassis types.
constexpr std::array<std::string_view, 0x24> kChassisTypes{"Other",
                                                           "Unknown",
                                                           "Desktop",
                                                           "Low Profile Desktop",
                                                           "Pizza Box",
                                                           "Mini Tower",
                                                           "Tower",
                                                           "Portable",
                                                           "Laptop",
                                                           "Notebook",
                                                           "Hand Held",
                                                           "Docking Station",
                                                           "All in One",
                                                           "Sub Notebook",
                                                           "Space-saving",
                                                           "Lunch Box",
                                                           "Main Server Chassis",
                                                           "Expansion Chassis",
                                                           "SubChassis",
                                                           "Bus Expansion Chassis",
                                                           "Peripheral Chassis",
                                                           "RAID Chassis",
                                                           "Rack Mount Chassis",
                                                           "Sealed-case PC",
                                                           "Multi-system chassis",
                                                           "Compact PCI",
                                                           "Advanced TCA",
                                                           "Blade",
                                                           "Blade Enclosure",
                                                           "Tablet",
                                                           "Convertible",
                                                           "Detachable",
                                                           "IoT Gateway",
                                                           "Embedded PC",
                                                           "Mini PC",
                                                           "Stick PC"};

}  // namespace

std::string clean_line(std::string_view text) {
    const std::string_view line = trim(text.substr(0, text.find('\n')));
    std::string out(line);
    if (!is_clean(line)) {
        std::replace_if(out.begin(), out.end(), [](char c) { return !is_printable_ascii(c); }, '?');
    }
    return out;
}

std::optional<std::uint64_t> parse_number(std::string_view text, int base) {
    std::string_view digits = trim(text);
    if (base == 16 && digits.starts_with("0x")) {
        digits.remove_prefix(2);
    }
    std::uint64_t value = 0;
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
    if (digits.empty() || parsed.ec != std::errc() || parsed.ptr != digits.data() + digits.size()) {
        return std::nullopt;
    }
    return value;
}

std::optional<std::string_view> value_of(std::string_view line, std::string_view key) {
    const auto colon = line.find(':');
    if (colon == std::string_view::npos || trim(line.substr(0, colon)) != key) {
        return std::nullopt;
    }
    return trim(line.substr(colon + 1));
}

std::string_view chassis_type_text(std::uint64_t type) {
    return type >= 1 && type <= kChassisTypes.size() ? kChassisTypes[type - 1] : std::string_view();
}

}  // namespace remora::platform
