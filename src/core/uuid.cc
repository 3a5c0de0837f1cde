// SPDX-License-Identifier: Apache-2.0
#include "core/uuid.h"

#include <cstdint>

namespace remora::core {

namespace {

int nibble(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

constexpr bool is_dash_position(std::size_t at) {
    return at == 8 || at == 13 || at == 18 || at == 23;
}

}  // namespace

std::optional<Uuid> Uuid::parse(std::string_view text) {
    if (text.size() != 36) {
        return std::nullopt;
    }
    Uuid uuid;
    std::size_t byte = 0;
    for (std::size_t at = 0; at < text.size();) {
        if (is_dash_position(at)) {
            if (text[at] != '-') {
                return std::nullopt;
            }
            ++at;
            continue;
        }
        const int high = nibble(text[at]);
        const int low = nibble(text[at + 1]);
        if (high < 0 || low < 0) {
            return std::nullopt;
        }
        uuid.bytes[byte++] = static_cast<unsigned char>(high * 16 + low);
        at += 2;
    }
    return uuid;
}

Uuid Uuid::random(Prng& prng) {
    Uuid uuid;
    for (std::size_t half = 0; half < 2; ++half) {
        std::uint64_t word = prng.next();
        for (std::size_t i = 0; i < 8; ++i, word >>= 8U) {
            uuid.bytes[half * 8 + i] = static_cast<unsigned char>(word & 0xffU);
        }
    }
    // RFC 9562 section 5.4: version 4 in the high nibble of byte 6, variant 10 in byte 8.
    uuid.bytes[6] = static_cast<unsigned char>((uuid.bytes[6] & 0x0fU) | 0x40U);
    uuid.bytes[8] = static_cast<unsigned char>((uuid.bytes[8] & 0x3fU) | 0x80U);
    return uuid;
}

std::string Uuid::text() const {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string out;
    out.reserve(36);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        if (is_dash_position(out.size())) {
            out.push_back('-');
        }
        out.push_back(kDigits[bytes[i] >> 4U]);
        out.push_back(kDigits[bytes[i] & 0x0fU]);
    }
    return out;
}

}  // namespace remora::core
