// SPDX-License-Identifier: Apache-2.0
// ANA: the states that a controller reports, by its log page, its events and its statuses, decide
// which path is used.
#include <gtest/gtest.h>

#include "tests/unit/nvme_tcp_host/multipath_fixture.h"

namespace remora::test {
namespace {

using nvme::spec::StatusCode;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint8_t kOptimized = 0x1;
constexpr std::uint8_t kNonOptimized = 0x2;
constexpr std::uint8_t kInaccessible = 0x3;
constexpr std::uint8_t kPersistentLoss = 0x4;
constexpr std::uint8_t kChange = 0xf;
constexpr std::uint32_t kAnaEvent = 0x000c0302;

class MultipathAnaTest : public MultipathFixture {
  public:
    /// Answers every I/O command with the status.
    static void refuse(FakeTarget& target, std::uint16_t status) {
        target.on_io = [status](FakeConnection& connection, const nvme::spec::Command& command,
                                std::span<const std::byte>) {
            connection.respond(command.cid, status);
            return true;
        };
    }
    Task<> change(FakeTarget& target, const char* id, std::uint8_t wire, AnaState state) {
        target.set_ana(wire);
        target.tell(kAnaEvent);
        co_await until([this, id, state] { return access(id) == state; });
    }
};

TEST_F(MultipathAnaTest, BestState_isUsed_andChangesAreFollowed) {
    a.set_ana(kNonOptimized);
    b.set_ana(kOptimized);
    with_volume(options(PathPolicy::RoundRobin), [this](BlockClient& client) -> Task<> {
        EXPECT_EQ(a.event_mask, 0x900U);  // namespaces and ANA
        EXPECT_EQ(access("a"), AnaState::NonOptimized);
        co_await expect_io(client, 6);
        EXPECT_EQ(a.io_log.size(), 0U);
        EXPECT_EQ(b.io_log.size(), 6U);
        co_await change(b, "b", kInaccessible, AnaState::Inaccessible);
        co_await expect_io(client, 6);
        EXPECT_EQ(a.io_log.size(), 6U);
        co_await until([this] { return b.connections()[0]->event_waits(); });
        co_await change(b, "b", kNonOptimized, AnaState::NonOptimized);
        co_await expect_io(client, 6);
        EXPECT_EQ(a.io_log.size(), 9U);
        EXPECT_EQ(b.io_log.size(), 9U);
    });
}

TEST_F(MultipathAnaTest, Failover_followsAnaBackToThePreferred) {
    a.set_ana(kInaccessible);
    b.set_ana(kNonOptimized);
    with_volume(options(PathPolicy::Failover), [this](BlockClient& client) -> Task<> {
        co_await expect_io(client, 3);
        EXPECT_EQ(b.io_log.size(), 3U);
        co_await change(a, "a", kOptimized, AnaState::Optimized);
        co_await expect_io(client, 3);
        EXPECT_EQ(a.io_log.size(), 3U);
    });
}

TEST_F(MultipathAnaTest, NothingAccessible_waitsUntilItIs) {
    a.set_ana(kInaccessible);
    b.set_ana(kPersistentLoss);
    with_volume(options(PathPolicy::QueueDepth), [this](BlockClient& client) -> Task<> {
        OwnedRequest read(Opcode::Read, 0, 1, std::vector<std::byte>(512));
        client.start(read.request);
        co_await reactor::sleep_for(milliseconds(50));
        EXPECT_FALSE(read.request.finished);
        EXPECT_TRUE(a.io_log.empty() && b.io_log.empty());
        co_await change(a, "a", kOptimized, AnaState::Optimized);
        const Status status = co_await BlockClient::finish(read.request);
        EXPECT_EQ(status, Status::Ok);
        EXPECT_EQ(a.io_log.size(), 1U);
    });
}

TEST_F(MultipathAnaTest, SinglePath_inaccessible_waitsToo) {
    a.set_ana(kInaccessible);
    run([this]() -> Task<> {
        make(options(PathPolicy::QueueDepth));
        co_await add_live("a", a);
        auto body = [this](BlockClient& client) -> Task<> {
            OwnedRequest read(Opcode::Read, 0, 1, std::vector<std::byte>(512));
            client.start(read.request);
            co_await reactor::sleep_for(milliseconds(50));
            EXPECT_TRUE(a.io_log.empty());
            co_await change(a, "a", kOptimized, AnaState::Optimized);
            const Status status = co_await BlockClient::finish(read.request);
            EXPECT_EQ(status, Status::Ok);
        };
        co_await with_client(controller->device(1), body);
        co_await end();
    });
}

struct Told {
    StatusCode code;
    bool asks_again;  ///< It is of the ANA kind: the log is read anew.
};

class MultipathStatusTest : public MultipathAnaTest, public testing::WithParamInterface<Told> {};

TEST_P(MultipathStatusTest, PathRelatedStatus_sendsTheRequestToTheOtherPath) {
    a.set_ana(kOptimized);
    b.set_ana(kNonOptimized);
    with_volume(options(PathPolicy::Failover), [this](BlockClient& client) -> Task<> {
        refuse(a, nvme::spec::status_field(GetParam().code));
        const int reads = a.ana_reads;
        co_await expect_io(client, 1);
        EXPECT_EQ(a.io_log.size(), 1U);
        EXPECT_EQ(b.io_log.size(), 1U);
        if (GetParam().asks_again) {
            // The log says that it is well, whatever the statuses say.
            co_await until([this, reads] { return a.ana_reads > reads; });
            a.on_io = nullptr;
            co_await until([this] { return access("a") == AnaState::Optimized; });
            co_await reactor::sleep_for(milliseconds(5));
            co_await expect_io(client, 1);
            EXPECT_EQ(a.io_log.size(), 2U);
        } else {
            co_await reactor::sleep_for(milliseconds(5));
            EXPECT_EQ(a.ana_reads, reads);
        }
    });
}

INSTANTIATE_TEST_SUITE_P(Codes,
                         MultipathStatusTest,
                         testing::Values(Told{StatusCode::InternalPathError, false},
                                         Told{StatusCode::AnaPersistentLoss, true},
                                         Told{StatusCode::AnaInaccessible, true},
                                         Told{StatusCode::AnaTransition, true},
                                         Told{StatusCode::ControllerPathError, false},
                                         Told{StatusCode::HostPathError, false},
                                         Told{StatusCode::AbortedByHost, false}));

TEST_F(MultipathAnaTest, Status_thatForbidsARetry_isTheGuests) {
    with_volume(options(PathPolicy::Failover), [this](BlockClient& client) -> Task<> {
        refuse(a, nvme::spec::status_field(StatusCode::InternalPathError, true));
        std::vector<std::byte> data(512);
        const Segment one = segment_of(data);
        const Status status = co_await client.perform(Opcode::Read, 0, 1, std::span(&one, 1));
        EXPECT_NE(status, Status::Ok);
        EXPECT_TRUE(b.io_log.empty());
    });
}

TEST_F(MultipathAnaTest, BothPathsRefuse_isTriedWithPauses_untilTheDeadline) {
    MultipathOptions with = options(PathPolicy::RoundRobin);
    with.timing.path_timeout = milliseconds(100);
    with_volume(with, [this](BlockClient& client) -> Task<> {
        refuse(a, nvme::spec::status_field(StatusCode::HostPathError));
        refuse(b, nvme::spec::status_field(StatusCode::HostPathError));
        std::vector<std::byte> data(512);
        const Segment one = segment_of(data);
        const Status status = co_await client.perform(Opcode::Read, 0, 1, std::span(&one, 1));
        EXPECT_EQ(status, Status::PathError);
        const std::size_t tries = a.io_log.size() + b.io_log.size();
        EXPECT_GT(tries, 4U);
        EXPECT_LT(tries, 40U);
    });
}

TEST_F(MultipathAnaTest, NoAna_statusesOfItsKindMoveOneRequestOnly) {
    with_volume(options(PathPolicy::Failover), [this](BlockClient& client) -> Task<> {
        refuse(a, nvme::spec::status_field(StatusCode::AnaInaccessible));
        co_await expect_io(client, 1);
        a.on_io = nullptr;
        co_await expect_io(client, 1);
        EXPECT_EQ(a.io_log.size(), 2U);
        EXPECT_EQ(a.ana_reads, 0);
    });
}

TEST_F(MultipathAnaTest, Change_longerThanAnatt_endsTheAssociation) {
    a.set_ana(kChange);
    a.anatt = 1;
    with_volume(options(PathPolicy::Failover), [this](BlockClient& client) -> Task<> {
        co_await expect_io(client, 3);
        EXPECT_EQ(b.io_log.size(), 3U);
        EXPECT_EQ(a.connects, 1);
        co_await until([this] { return path("a").controller.reconnects == 1; });
        EXPECT_NE(path("a").controller.last_error.find("ANATT"), std::string::npos);
    });
}

TEST_F(MultipathAnaTest, HostileLog_pathIsNotUsed_andSaysWhy) {
    run([this]() -> Task<> {
        make(options(PathPolicy::Failover));
        b.set_ana(kOptimized);
        b.ana_log[8] = std::byte{200};  // more groups than the controller has
        co_await add_live("a", a);
        const auto added = controller->add_path({"b", b.endpoint(), {}});
        EXPECT_TRUE(added);
        co_await until([this] {
            return path("b").controller.last_error.find("ANA log page") != std::string::npos;
        });
        EXPECT_FALSE(is_live("b"));
        auto body = [this](BlockClient& client) -> Task<> { co_await expect_io(client, 3); };
        co_await with_client(controller->device(1), body);
        EXPECT_TRUE(b.io_log.empty());
        b.set_ana(kOptimized);
        const auto ready = co_await controller->wait_path("b", seconds(5));
        EXPECT_TRUE(ready);
        co_await end();
    });
}

TEST_F(MultipathAnaTest, Group_thatTheLogDoesNotHave_isInaccessible) {
    a.set_ana(kOptimized);
    a.namespaces[1].ana_group = 2;
    b.set_ana(kOptimized);
    b.namespaces[1].ana_group = 0;  // of no group: does not vary
    with_volume(options(PathPolicy::RoundRobin), [this](BlockClient& client) -> Task<> {
        EXPECT_EQ(access("a"), AnaState::Inaccessible);
        EXPECT_EQ(access("b"), AnaState::Optimized);
        co_await expect_io(client, 4);
        EXPECT_TRUE(a.io_log.empty());
    });
}

}  // namespace
}  // namespace remora::test
