// SPDX-License-Identifier: Apache-2.0
#include "cli/endpoint.h"

#include <charconv>

namespace remora::cli {

core::Result<Endpoint> parse_endpoint(std::string_view flag, std::string_view text) {
    const auto refuse = [&] {
        return core::fail(core::ErrorKind::InvalidArgument,
                          std::string(flag) + " '" + std::string(text) +
                              "' is not ADDRESS:PORT, such as 127.0.0.1:4420 or [::1]:4420");
    };
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos || colon == 0) {
        return refuse();
    }
    std::string_view address = text.substr(0, colon);
    const std::string_view digits = text.substr(colon + 1);
    Endpoint endpoint;
    if (address.front() == '[' && address.back() == ']') {
        address = address.substr(1, address.size() - 2);
        endpoint.ipv6 = true;
    }
    // A bare IPv6 address cannot be told from one with a port.
    if (address.empty() || (!endpoint.ipv6 && address.contains(':'))) {
        return refuse();
    }
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), endpoint.port);
    if (error != std::errc{} || end != digits.data() + digits.size() || endpoint.port == 0) {
        return refuse();
    }
    endpoint.traddr = address;
    return endpoint;
}

std::string format_endpoint(std::string_view traddr, std::string_view port) {
    std::string text(traddr);
    if (traddr.contains(':')) {
        text = "[" + text + "]";
    }
    return text + ":" + std::string(port);
}

}  // namespace remora::cli
