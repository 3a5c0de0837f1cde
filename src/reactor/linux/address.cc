// SPDX-License-Identifier: Apache-2.0
#include "reactor/linux/address.h"

#include <arpa/inet.h>
#include <cstddef>
#include <cstring>
#include <netinet/in.h>
#include <sys/un.h>

namespace remora::reactor {

core::Result<Address> to_address(const Endpoint& endpoint) {
    Address address;
    if (endpoint.family == Endpoint::Family::Unix) {
        sockaddr_un raw{};
        raw.sun_family = AF_UNIX;
        if (endpoint.address.size() >= sizeof raw.sun_path) {
            return core::fail(core::ErrorKind::InvalidArgument,
                              "socket path '" + endpoint.address + "' is longer than 107 bytes");
        }
        std::memcpy(raw.sun_path, endpoint.address.data(), endpoint.address.size());
        std::memcpy(&address.storage, &raw, sizeof raw);
        address.size =
            static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + endpoint.address.size() + 1);
        return address;
    }
    sockaddr_in v4{};
    if (inet_pton(AF_INET, endpoint.address.c_str(), &v4.sin_addr) == 1) {
        v4.sin_family = AF_INET;
        v4.sin_port = htons(endpoint.port);
        std::memcpy(&address.storage, &v4, sizeof v4);
        address.size = sizeof v4;
        return address;
    }
    sockaddr_in6 v6{};
    if (inet_pton(AF_INET6, endpoint.address.c_str(), &v6.sin6_addr) == 1) {
        v6.sin6_family = AF_INET6;
        v6.sin6_port = htons(endpoint.port);
        std::memcpy(&address.storage, &v6, sizeof v6);
        address.size = sizeof v6;
        return address;
    }
    return core::fail(core::ErrorKind::InvalidArgument,
                      "'" + endpoint.address + "' is not a numeric IPv4 or IPv6 address");
}

Endpoint to_endpoint(const Address& address) {
    char text[INET6_ADDRSTRLEN] = {};
    if (address.storage.ss_family == AF_INET) {
        sockaddr_in v4{};
        std::memcpy(&v4, &address.storage, sizeof v4);
        inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
        return Endpoint::tcp(text, ntohs(v4.sin_port));
    }
    if (address.storage.ss_family == AF_INET6) {
        sockaddr_in6 v6{};
        std::memcpy(&v6, &address.storage, sizeof v6);
        inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
        return Endpoint::tcp(text, ntohs(v6.sin6_port));
    }
    return Endpoint::unix_path("");
}

}  // namespace remora::reactor
