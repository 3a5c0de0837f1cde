// SPDX-License-Identifier: Apache-2.0
#include "reactor/endpoint.h"

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
        if (error != std::errc{} || value > 255 || digits > 3) {
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

bool plausible_v6(std::string_view address) {
    return address.find(':') != std::string_view::npos &&
           address.find_first_not_of("0123456789abcdefABCDEF:.") == std::string_view::npos;
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
        if (!plausible_v6(address)) {
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
