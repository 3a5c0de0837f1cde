// SPDX-License-Identifier: Apache-2.0
// How much one system call moves: with host and target on one reactor a round of requests is one
// gathered send and one receive a side, whatever the depth. A change that sends answer by answer,
// or asks a drained socket again, shows here and not as noise of a benchmark.
#include "tests/support/reactor_fixture.h"
#include "tests/support/tcp_loop.h"

namespace remora::test {
namespace {

class BatchingTest : public ReactorFixture {
  public:
    /// System calls of the target's side for each `depth` requests, once they are in step.
    struct Calls {
        double sends = 0;
        double receives = 0;
        double pdus_a_send = 0;
    };
    Calls calls_of(block::Opcode opcode, std::size_t depth) {
        constexpr std::size_t kRounds = 200;
        const auto before = loop_.counters();
        EXPECT_EQ(loop_.load(opcode, depth, kRounds * depth), 0U);
        const auto after = loop_.counters();
        const auto sends = static_cast<double>(after.send_calls - before.send_calls);
        return {sends / kRounds,
                static_cast<double>(after.recv_calls - before.recv_calls) / kRounds,
                static_cast<double>(after.send_pdus - before.send_pdus) / sends};
    }

  private:
    TcpLoop loop_{*this};
};

TEST_F(BatchingTest, OneRequestAtATime_isOneSendAndOneReceive) {
    for (const auto opcode : {block::Opcode::Read, block::Opcode::Write}) {
        const Calls calls = calls_of(opcode, 1);
        EXPECT_LE(calls.sends, 1.05);
        EXPECT_LE(calls.receives, 1.05);
    }
}

TEST_F(BatchingTest, ManyRequests_leaveTogether) {
    for (const auto opcode : {block::Opcode::Read, block::Opcode::Write}) {
        for (const std::size_t depth : {std::size_t{32}, std::size_t{128}}) {
            SCOPED_TRACE(depth);
            const Calls calls = calls_of(opcode, depth);
            // A send takes up to 64 PDUs, and what the socket's buffer has room for.
            const double least = static_cast<double>(depth) / 64;
            EXPECT_LE(calls.sends, std::max(1.0, least) + 2);
            EXPECT_LE(calls.receives, std::max(1.0, least) + 4);
            EXPECT_GE(calls.pdus_a_send, depth == 32 ? 10.0 : 30.0);
            RecordProperty("sends", std::to_string(calls.sends));
        }
    }
}

}  // namespace
}  // namespace remora::test
