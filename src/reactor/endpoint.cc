// SPDX-License-Identifier: Apache-2.0
#include "reactor/endpoint.h"

#include <algorithm>
#include <charconv>

namespace remora::reactor {

namespace {

std::unexpected<core::Error> bad(std::string_view text) {
    return core::fail(core::ErrorKind::InvalidArgument,
                      "endpoint '" + std::string(text) +
                          "' is not of the form ADDRESS:PORT (a numeric address, IPv6 in "
                          "brackets, such as 127.0.0.1:4420 or [::1]:4420) or unix:/PATH");
}

bool numeric_v4(std::string_view address) {
    int parts = 0;
    while (true) {
        unsigned value = 0;
        const auto [end, error] =
            std::from_chars(address.data(), address.data() + address.size(), value);
        const auto digits = static_cast<std::size_t>(end - address.data());
        const bool padded = digits > 1 && address.front() == '0';  // octal to some
        if (error != std::errc{} || value > 255 || digits > 3 || padded) {
            return false;
        }
        ++parts;
        address.remove_prefix(digits);
        if (address.empty()) {
            return parts == 4;
        }
        if (address.front() != '.' || parts == 4) {
            return false;
        }
        address.remove_prefix(1);
    }
}

/// RFC 4291, 2.2: eight groups of up to four hexadecimal digits; "::", once, for one or more of
/// zeros; the last two may be written as an IPv4 address. No zone.
bool numeric_v6(std::string_view address) {
    constexpr int kGroups = 8;
    int groups = 0;
    bool gap = address.starts_with("::");
    address.remove_prefix(gap ? 2 : 0);
    while (!address.empty()) {
        if (numeric_v4(address)) {
            groups += 2;
            break;
        }
        const std::size_t digits =
            std::min(address.find_first_not_of("0123456789abcdefABCDEF"), address.size());
        if (digits == 0 || digits > 4) {
            return false;
        }
        ++groups;
        address.remove_prefix(digits);
        if (address.starts_with("::") && !gap) {
            gap = true;
            address.remove_prefix(2);
        } else if (address.starts_with(':') && address.size() > 1) {
            address.remove_prefix(1);
        } else if (!address.empty()) {
            return false;
        }
    }
    return gap ? groups < kGroups : groups == kGroups;
}

}  // namespace

core::Result<Endpoint> Endpoint::parse(std::string_view text) {
    constexpr std::size_t kUnixPathMax = 107;  // sockaddr_un.sun_path less its final zero
    if (text.starts_with("unix:")) {
        const std::string_view path = text.substr(5);
        if (path.empty() || path.size() > kUnixPathMax) {
            return bad(text);
        }
        return unix_path(std::string(path));
    }
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos || colon == 0) {
        return bad(text);
    }
    std::string_view address = text.substr(0, colon);
    const std::string_view digits = text.substr(colon + 1);
    std::uint16_t port = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    if (digits.empty() || error != std::errc{} || end != digits.data() + digits.size()) {
        return bad(text);
    }
    if (address.starts_with('[') && address.ends_with(']')) {
        address = address.substr(1, address.size() - 2);
        if (!numeric_v6(address)) {
            return bad(text);
        }
    } else if (!numeric_v4(address)) {
        return bad(text);
    }
    return tcp(std::string(address), port);
}

std::string Endpoint::text() const {
    if (family == Family::Unix) {
        return "unix:" + address;
    }
    const bool v6 = address.find(':') != std::string::npos;
    return (v6 ? "[" + address + "]" : address) + ":" + std::to_string(port);
}

}  // namespace remora::reactor
