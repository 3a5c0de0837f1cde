// SPDX-License-Identifier: Apache-2.0
// FNV-1a: a short, stable name for a longer text. It is stored and shown, so it never changes; it
// is no protection against a text that is chosen on purpose.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace remora::core {

constexpr std::uint64_t fnv1a(std::string_view text) {
    std::uint64_t hash = 0xcbf29ce484222325ULL;
    for (const char c : text) {
        hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
    }
    return hash;
}

/// The lowest `digits` hexadecimal digits, 1 to 16.
inline std::string hex_digits(std::uint64_t value, unsigned digits) {
    constexpr std::string_view kHex = "0123456789abcdef";
    std::string text;
    for (unsigned left = digits; left > 0; --left) {
        text.push_back(kHex[(value >> (4 * (left - 1))) & 0xfU]);
    }
    return text;
}

}  // namespace remora::core
