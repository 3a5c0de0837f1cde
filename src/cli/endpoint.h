// SPDX-License-Identifier: Apache-2.0
// ADDRESS:PORT as people write it, split into NVMe's transport address and service id.
//
// Only the text is taken apart: whether the address is one that can be reached is for the daemon
// to say. An IPv6 address stands in brackets (RFC 3986 section 3.2.2): [::1]:4420. Pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/result.h"

namespace remora::cli {

/// One side of an NVMe/TCP connection.
struct Endpoint {
    std::string traddr;  ///< Without brackets.
    std::uint16_t port = 0;
    bool ipv6 = false;
};

/// `flag` is named in the error. Errors: InvalidArgument.
core::Result<Endpoint> parse_endpoint(std::string_view flag, std::string_view text);

/// The opposite: with brackets around an IPv6 address.
std::string format_endpoint(std::string_view traddr, std::string_view port);

}  // namespace remora::cli
