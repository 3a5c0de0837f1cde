// SPDX-License-Identifier: Apache-2.0
// Endpoint to sockaddr and back.
#pragma once

#include <string>
#include <sys/socket.h>

#include "core/result.h"
#include "reactor/endpoint.h"

namespace remora::reactor {

struct Address {
    sockaddr_storage storage{};
    socklen_t size = 0;
    [[nodiscard]] const sockaddr* get() const {
        return reinterpret_cast<const sockaddr*>(&storage);
    }
    sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

core::Result<Address> to_address(const Endpoint& endpoint);
/// The endpoint of a bound or peer address.
Endpoint to_endpoint(const Address& address);

}  // namespace remora::reactor
