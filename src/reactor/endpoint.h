// SPDX-License-Identifier: Apache-2.0
// Where a stream connects or listens: a numeric TCP address and port, or a unix socket path.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/result.h"

namespace remora::reactor {

struct Endpoint {
    enum class Family { Tcp, Unix };

    Family family = Family::Tcp;
    std::string address;     ///< Numeric IPv4 or IPv6 without brackets; or the socket's path.
    std::uint16_t port = 0;  ///< TCP only. 0 when listening: the system picks.

    static Endpoint tcp(std::string address, std::uint16_t port) {
        return {Family::Tcp, std::move(address), port};
    }
    static Endpoint unix_path(std::string path) { return {Family::Unix, std::move(path), 0}; }

    /// Reads "127.0.0.1:4420", "[::1]:4420" or "unix:/path". Errors: InvalidArgument with the form.
    static core::Result<Endpoint> parse(std::string_view text);

    /// The same form back.
    [[nodiscard]] std::string text() const;

    auto operator<=>(const Endpoint&) const = default;
};

}  // namespace remora::reactor
