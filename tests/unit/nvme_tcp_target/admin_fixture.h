// SPDX-License-Identifier: Apache-2.0
// What the tests of admin queues share.
#pragma once

#include <cstring>
#include <vector>

#include "nvme/spec/features.h"
#include "reactor/call.h"
#include "tests/unit/nvme_tcp_target/target_fixture.h"

namespace remora::test {

using spec::LogPage;

template <typename T>
T as(const std::vector<std::byte>& bytes) {
    CHECK(bytes.size() >= sizeof(T));
    T out;
    std::memcpy(&out, bytes.data(), sizeof(T));
    return out;
}

class TargetAdmin : public TargetFixture {
  public:
    Task<Outcome> try_connect(ConnectOptions options) {
        auto host = co_await RawHost::open(endpoint_);
        const bool greeted = co_await host->handshake();
        EXPECT_TRUE(greeted);
        Outcome outcome = co_await host->connect(options);
        co_return outcome;
    }

    static void post_event_request(RawHost& host, std::uint16_t cid) {
        spec::Command command = make_command(
            static_cast<std::uint8_t>(spec::AdminOpcode::AsyncEventRequest), 0, 0, false);
        command.cid = cid;
        host.send(host.capsule(command));
    }
};

}  // namespace remora::test
