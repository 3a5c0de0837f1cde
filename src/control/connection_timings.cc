// SPDX-License-Identifier: Apache-2.0
#include "control/connection_timings.h"

#include <chrono>
#include <string>

namespace remora::control {

namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;

struct Limits {
    const char* field;
    std::uint32_t least_ms;
    std::uint32_t most_ms;
};
constexpr Limits kConnect{"connect_ms", 100, 60'000};
constexpr Limits kKeepAlive{"keep_alive_ms", 1'000, 600'000};
constexpr Limits kIo{"io_ms", 1'000, 600'000};
constexpr Limits kReconnectMax{"reconnect_max_ms", 100, 600'000};

core::Result<void> check(bool given, std::uint32_t value, const Limits& limits) {
    if (!given || value == 0 || (value >= limits.least_ms && value <= limits.most_ms)) {
        return {};
    }
    return core::fail(core::ErrorKind::InvalidArgument,
                      std::string(limits.field) + " is " + std::to_string(value) + "; use " +
                          std::to_string(limits.least_ms) + " to " +
                          std::to_string(limits.most_ms) + ", or 0 for the default");
}

std::uint32_t to_ms(core::Nanos time) {
    return static_cast<std::uint32_t>(duration_cast<milliseconds>(time).count());
}

}  // namespace

node::ConnectionTimings timings_of(const state::ConnectionTimings& set) {
    node::ConnectionTimings timings;
    if (set.has_connect_ms()) {
        timings.connect = milliseconds(set.connect_ms());
    }
    if (set.has_keep_alive_ms()) {
        timings.keep_alive = milliseconds(set.keep_alive_ms());
    }
    if (set.has_io_ms()) {
        timings.io = milliseconds(set.io_ms());
    }
    if (set.has_reconnect_max_ms()) {
        timings.reconnect_max = milliseconds(set.reconnect_max_ms());
    }
    return timings;
}

bool sets_any(const api::SetConnectionTimingsRequest& request) {
    return request.has_connect_ms() || request.has_keep_alive_ms() || request.has_io_ms() ||
           request.has_reconnect_max_ms();
}

core::Result<void> update_timings(state::ConnectionTimings& set,
                                  const api::SetConnectionTimingsRequest& request) {
    for (const auto& good :
         {check(request.has_connect_ms(), request.connect_ms(), kConnect),
          check(request.has_keep_alive_ms(), request.keep_alive_ms(), kKeepAlive),
          check(request.has_io_ms(), request.io_ms(), kIo),
          check(request.has_reconnect_max_ms(), request.reconnect_max_ms(), kReconnectMax)}) {
        if (!good) {
            return good;
        }
    }
    if (request.has_connect_ms()) {
        request.connect_ms() == 0 ? set.clear_connect_ms()
                                  : set.set_connect_ms(request.connect_ms());
    }
    if (request.has_keep_alive_ms()) {
        request.keep_alive_ms() == 0 ? set.clear_keep_alive_ms()
                                     : set.set_keep_alive_ms(request.keep_alive_ms());
    }
    if (request.has_io_ms()) {
        request.io_ms() == 0 ? set.clear_io_ms() : set.set_io_ms(request.io_ms());
    }
    if (request.has_reconnect_max_ms()) {
        request.reconnect_max_ms() == 0 ? set.clear_reconnect_max_ms()
                                        : set.set_reconnect_max_ms(request.reconnect_max_ms());
    }
    return {};
}

api::ConnectionTimings to_api(const node::ConnectionTimings& timings) {
    api::ConnectionTimings out;
    out.set_connect_ms(to_ms(timings.connect));
    out.set_keep_alive_ms(to_ms(timings.keep_alive));
    out.set_io_ms(to_ms(timings.io));
    out.set_reconnect_max_ms(to_ms(timings.reconnect_max));
    return out;
}

}  // namespace remora::control
