// SPDX-License-Identifier: Apache-2.0
#include "rest/url.h"

#include <algorithm>
#include <utility>

namespace remora::rest {

using core::ErrorKind;
using core::fail;
using core::Result;

namespace {

int hex_digit(char digit) {
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    if (digit >= 'a' && digit <= 'f') {
        return digit - 'a' + 10;
    }
    if (digit >= 'A' && digit <= 'F') {
        return digit - 'A' + 10;
    }
    return -1;
}

/// Length of the UTF-8 sequence at the start of `bytes`, 0 when there is none (RFC 3629, 4).
std::size_t sequence_length(std::string_view bytes) {
    const auto at = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
    const unsigned char lead = at(0);
    if (lead < 0x80) {
        return 1;
    }
    const std::size_t length = lead >= 0xC2 && lead <= 0xDF   ? 2
                               : lead >= 0xE0 && lead <= 0xEF ? 3
                               : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                              : 0;
    if (length == 0 || bytes.size() < length) {
        return 0;
    }
    for (std::size_t i = 1; i < length; ++i) {
        if (at(i) < 0x80 || at(i) > 0xBF) {
            return 0;
        }
    }
    const bool overlong = (lead == 0xE0 && at(1) < 0xA0) || (lead == 0xF0 && at(1) < 0x90);
    const bool surrogate = lead == 0xED && at(1) > 0x9F;
    const bool beyond = lead == 0xF4 && at(1) > 0x8F;
    return overlong || surrogate || beyond ? 0 : length;
}

Result<std::string> decode_form(std::string_view text) {
    std::string plus_free(text);
    std::ranges::replace(plus_free, '+', ' ');
    return percent_decode(plus_free, Slash::Decode);
}

}  // namespace

bool is_utf8(std::string_view bytes) {
    while (!bytes.empty()) {
        const std::size_t length = sequence_length(bytes);
        if (length == 0) {
            return false;
        }
        bytes.remove_prefix(length);
    }
    return true;
}

Result<std::string> percent_decode(std::string_view text, Slash slash) {
    std::string decoded;
    decoded.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            decoded.push_back(text[i]);
            continue;
        }
        const int high = i + 1 < text.size() ? hex_digit(text[i + 1]) : -1;
        const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
        if (high < 0 || low < 0) {
            return fail(ErrorKind::InvalidArgument, "a '%' is not followed by two hex digits");
        }
        const char byte = static_cast<char>(high * 16 + low);
        if (byte == '/' && slash == Slash::Keep) {
            decoded.append("%2F");
        } else {
            decoded.push_back(byte);
        }
        i += 2;
    }
    if (decoded.find('\0') != std::string::npos) {
        return fail(ErrorKind::InvalidArgument, "it has a zero byte");
    }
    if (!is_utf8(decoded)) {
        return fail(ErrorKind::InvalidArgument, "it is not UTF-8");
    }
    return decoded;
}

Result<std::vector<Parameter>> parse_query(std::string_view text) {
    std::vector<Parameter> parameters;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('&'), text.size());
        const std::string_view item = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        if (item.empty()) {
            continue;
        }
        if (parameters.size() == kMostParameters) {
            return fail(
                ErrorKind::InvalidArgument,
                "the query has more than " + std::to_string(kMostParameters) + " parameters");
        }
        const std::size_t equals = std::min(item.find('='), item.size());
        auto name = decode_form(item.substr(0, equals));
        auto value = decode_form(item.substr(std::min(equals + 1, item.size())));
        if (!name || !value) {
            return fail("the query's parameter " + std::to_string(parameters.size() + 1),
                        name ? value.error() : name.error());
        }
        parameters.push_back({std::move(*name), std::move(*value)});
    }
    return parameters;
}

}  // namespace remora::rest
