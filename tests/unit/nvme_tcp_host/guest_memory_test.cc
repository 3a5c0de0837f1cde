// SPDX-License-Identifier: Apache-2.0
// A guest takes its shared memory away under its own I/O: that I/O moves zeros, and the connection
// that it shares with the other guests goes on.
#include <unistd.h>

#include <gtest/gtest.h>

#include "tests/support/peer_memory.h"
#include "tests/unit/nvme_tcp_host/host_fixture.h"

namespace remora::test {
namespace {

using std::chrono::seconds;

class GuestMemoryTest : public HostFixture {
  public:
    static constexpr std::uint32_t kBlocks = 512;
    static constexpr std::size_t kBytes = std::size_t{kBlocks} * 512;

    GuestMemoryTest()
        : memory_(make_peer_memory(kBytes)),
          mapping_(std::move(*reactor().io().map(memory_, 0, kBytes))) {
        std::memset(mapping_->bytes().data(), 0x5a, kBytes);
    }
    ~GuestMemoryTest() override { reactor().io().close(memory_); }

    /// `opcode` on a guest's memory that is cut to one page, between I/O of others.
    void work_on_lost_memory(Opcode opcode) {
        ControllerOptions with = options();
        with.timing.path_timeout = seconds(2);
        with_volume(with, [&, this](BlockClient& client) -> Task<> {
            CHECK(ftruncate(memory_, 4096) == 0);
            OwnedRequest before(Opcode::Write, 1000, 200, pattern(200 * 512, 1));
            OwnedRequest after(Opcode::Write, 2000, 200, pattern(200 * 512, 2));
            const Segment lost{mapping_->bytes().data(), kBytes};
            AwaitedRequest request;
            request.opcode = opcode;
            request.block_count = kBlocks;
            request.data = std::span(&lost, 1);
            const core::Nanos started = reactor().now();
            client.start(before.request);
            client.start(request);
            client.start(after.request);
            for (AwaitedRequest* each : {&before.request, &request, &after.request}) {
                const Status status = co_await BlockClient::finish(*each);
                EXPECT_EQ(status, Status::Ok);
            }
            EXPECT_LT(reactor().now() - started, seconds(1));
            EXPECT_EQ(target.connects, 1);
            EXPECT_TRUE(mapping_->poisoned());
            co_await expect_round_trip(client, 3000, 99, 3);
        });
    }

  protected:
    reactor::Handle memory_;
    std::unique_ptr<reactor::Mapping> mapping_;
};

TEST_F(GuestMemoryTest, Write_fromMemoryTakenAway_sendsZerosAndKeepsTheConnection) {
    target.namespaces[1].data.assign(target.namespaces[1].data.size(), std::byte{1});
    work_on_lost_memory(Opcode::Write);
    EXPECT_EQ(target.namespaces[1].data[4096], std::byte{0});
    EXPECT_EQ(target.namespaces[1].data[kBytes - 1], std::byte{0});
}

TEST_F(GuestMemoryTest, Read_intoMemoryTakenAway_keepsTheConnection) {
    target.c2h_bytes = kBytes;  // received in place
    work_on_lost_memory(Opcode::Read);
}

TEST_F(GuestMemoryTest, Read_whoseLastPagesAreTakenAway_doesNotWaitForMoreToCome) {
    target.c2h_bytes = kBytes;
    target.namespaces[1].data = pattern(target.namespaces[1].data.size(), 4);
    with_volume(options(), [this](BlockClient& client) -> Task<> {
        CHECK(ftruncate(memory_, std::int64_t{kBytes} * 3 / 4) == 0);
        const Segment lost{mapping_->bytes().data(), kBytes};
        const core::Nanos started = reactor().now();
        const Status status =
            co_await client.perform(Opcode::Read, 0, kBlocks, std::span(&lost, 1));
        EXPECT_EQ(status, Status::Ok);
        EXPECT_LT(reactor().now() - started, seconds(1));
        EXPECT_EQ(target.connects, 1);
        EXPECT_TRUE(mapping_->poisoned());
        // What came before the fault has gone with the mapping.
        const std::size_t gone = kBytes * 3 / 4;
        EXPECT_EQ(
            std::memcmp(lost.data + gone, target.namespaces[1].data.data() + gone, kBytes - gone),
            0);
    });
}

}  // namespace
}  // namespace remora::test
