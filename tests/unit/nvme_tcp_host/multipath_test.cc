// SPDX-License-Identifier: Apache-2.0
// One volume through two paths: which one is used, and what becomes of its I/O when a path dies,
// comes, goes, or shows the volume under another number.
#include <gtest/gtest.h>

#include "tests/unit/nvme_tcp_host/multipath_fixture.h"

namespace remora::test {
namespace {

using core::ErrorKind;
using std::chrono::milliseconds;
using std::chrono::seconds;

using MultipathTest = MultipathFixture;

std::unique_ptr<OwnedRequest> one_block(Opcode opcode, std::uint64_t lba) {
    return std::make_unique<OwnedRequest>(opcode, lba, 1, pattern(512, lba));
}

TEST_F(MultipathTest, ActivePathDies_underIo_nothingFailsAndEachIsDoneOnce) {
    keep_silent(a);
    with_volume(options(PathPolicy::Failover), [this](BlockClient& client) -> Task<> {
        std::vector<std::unique_ptr<OwnedRequest>> requests;
        for (std::size_t i = 0; i < 300; ++i) {
            requests.push_back(one_block(i % 3 == 0 ? Opcode::Read : Opcode::Write, i));
            client.start(requests.back()->request);
        }
        co_await until([this] { return a.io_log.size() == 127; });  // the queue is full
        EXPECT_TRUE(b.io_log.empty());
        a.die();
        const core::Nanos died = reactor().now();
        for (const auto& request : requests) {
            const Status status = co_await BlockClient::finish(request->request);
            EXPECT_EQ(status, Status::Ok);
            EXPECT_EQ(request->request.completions, 1);
        }
        EXPECT_LT(reactor().now() - died, seconds(2));
        EXPECT_EQ(b.io_log.size(), requests.size());
        for (std::size_t i = 0; i < requests.size(); ++i) {
            if (i % 3 != 0) {
                EXPECT_EQ(std::memcmp(b.namespaces[1].data.data() + i * 512,
                                      requests[i]->data.data(), 512),
                          0);
            }
        }
    });
}

TEST_F(MultipathTest, Write_onADeadConnection_isNotSentElsewhereBeforeItIsDrained) {
    keep_silent(a);
    a.never_closes = true;
    MultipathOptions with = options(PathPolicy::Failover);
    with.timing.io_timeout = milliseconds(60);
    with.timing.close_linger = milliseconds(400);
    with_volume(with, [this](BlockClient& client) -> Task<> {
        const auto write = one_block(Opcode::Write, 4);
        const auto read = one_block(Opcode::Read, 4);
        client.start(write->request);
        client.start(read->request);
        co_await until([this] { return !is_live("a"); });
        const core::Nanos died = reactor().now();
        // A read goes at once, and so does what changes other blocks; the same blocks wait.
        const auto other = one_block(Opcode::Write, 5);
        OwnedRequest same(Opcode::Write, 3, 2, pattern(1024, 77));
        client.start(same.request);
        client.start(other->request);
        co_await BlockClient::finish(read->request);
        co_await BlockClient::finish(other->request);
        EXPECT_LT(reactor().now() - died, milliseconds(200));
        EXPECT_FALSE(write->request.finished);
        EXPECT_FALSE(same.request.finished);
        EXPECT_EQ(b.io_log.size(), 2U);
        Status status = co_await BlockClient::finish(write->request);
        EXPECT_EQ(status, Status::Ok);
        EXPECT_GE(reactor().now() - died, milliseconds(390));
        status = co_await BlockClient::finish(same.request);
        EXPECT_EQ(status, Status::Ok);
        EXPECT_EQ(
            std::memcmp(b.namespaces[1].data.data() + std::size_t{3} * 512, same.data.data(), 1024),
            0);
        a.never_closes = false;
    });
}

// The end of a connection that breaks says nothing of what the target still does: it may be a
// killed process, or a disk that is slow behind a network that is broken.
TEST_F(MultipathTest, Write_onAConnectionThatBreaks_isHeldForItsTime) {
    keep_silent(a);
    with_volume(options(PathPolicy::Failover), [this](BlockClient& client) -> Task<> {
        const auto write = one_block(Opcode::Write, 4);
        const auto read = one_block(Opcode::Read, 4);
        client.start(write->request);
        client.start(read->request);
        co_await until([this] { return a.io_log.size() == 2; });
        a.die();
        co_await until([this] { return !is_live("a"); });
        const core::Nanos died = reactor().now();
        co_await BlockClient::finish(read->request);
        EXPECT_LT(reactor().now() - died, milliseconds(200));
        EXPECT_FALSE(write->request.finished);
        const Status status = co_await BlockClient::finish(write->request);
        EXPECT_EQ(status, Status::Ok);
        EXPECT_GE(reactor().now() - died, milliseconds(290));
        EXPECT_EQ(b.io_log.size(), 2U);
    });
}

/// A write whose connection breaks when it has waited longer than it may: how it ends, after its
/// hold.
class MultipathHoldTest : public MultipathTest {
  public:
    void end_of_late_write(bool other_path, Status wanted) {
        keep_silent(a);
        MultipathOptions with = options(PathPolicy::Failover);
        with.timing.path_timeout = milliseconds(100);
        with_volume(with, [this, other_path, wanted](BlockClient& client) -> Task<> {
            const auto write = one_block(Opcode::Write, 4);
            client.start(write->request);
            co_await until([this] { return a.io_log.size() == 1; });
            if (!other_path) {
                b.die();
            }
            co_await reactor::sleep_for(milliseconds(150));
            a.die();
            co_await until([this] { return !is_live("a"); });
            const core::Nanos died = reactor().now();
            const Status status = co_await BlockClient::finish(write->request);
            EXPECT_EQ(status, wanted);
            EXPECT_GE(reactor().now() - died, milliseconds(290));
        });
    }
};

// Else its guest would take it for over, write the block by the other path, and the dead
// connection's copy undo that.
TEST_F(MultipathHoldTest, Write_thatMayStillBeExecuted_doesNotFailBefore) {
    end_of_late_write(true, Status::Ok);
    EXPECT_EQ(b.io_log.size(), 1U);
}

TEST_F(MultipathHoldTest, Write_thatMayStillBeExecuted_failsAfterwardsWithoutAPath) {
    end_of_late_write(false, Status::PathError);
}

TEST_F(MultipathTest, Write_onAConnectionThatBreaks_goesOnWhenItsPathIsBack) {
    keep_silent(a);
    MultipathOptions with = options(PathPolicy::Failover);
    with.timing.resend_hold = seconds(60);
    with_volume(with, [this](BlockClient& client) -> Task<> {
        const auto write = one_block(Opcode::Write, 4);
        client.start(write->request);
        co_await until([this] { return a.io_log.size() == 1; });
        a.die();
        co_await until([this] { return !is_live("a"); });
        a.on_io = nullptr;
        a.revive();  // a target holds the Connect until the old write has ended
        const Status status = co_await BlockClient::finish(write->request);
        EXPECT_EQ(status, Status::Ok);
        EXPECT_EQ(write->request.completions, 1);
        co_await until([this] { return is_live("a"); });
    });
}

TEST_F(MultipathTest, AllPathsDie_ioWaitsAndGoesOnWithTheFirstThatComesBack) {
    with_volume(options(PathPolicy::RoundRobin), [this](BlockClient& client) -> Task<> {
        a.die();
        b.die();
        co_await until([this] { return !is_live("a") && !is_live("b"); });
        std::vector<std::unique_ptr<OwnedRequest>> writes;
        for (std::size_t i = 0; i < 50; ++i) {
            writes.push_back(one_block(Opcode::Write, i));
            client.start(writes.back()->request);
        }
        co_await reactor::sleep_for(milliseconds(30));
        EXPECT_FALSE(writes[0]->request.finished);
        b.io_log.clear();
        b.revive();
        for (std::size_t i = 0; i < writes.size(); ++i) {
            const Status status = co_await BlockClient::finish(writes[i]->request);
            EXPECT_EQ(status, Status::Ok);
            EXPECT_EQ(nvme::spec::starting_lba(b.io_log[i]), i);  // in their old order
        }
        a.revive();
    });
}

TEST_F(MultipathTest, AllPathsAwayPastTheTimeout_failsCountedFromSubmission) {
    MultipathOptions with = options(PathPolicy::QueueDepth);
    with.timing.path_timeout = milliseconds(150);
    keep_silent(a);
    with_volume(with, [this](BlockClient& client) -> Task<> {
        const auto outstanding = one_block(Opcode::Write, 0);
        const core::Nanos started = reactor().now();
        client.start(outstanding->request);
        co_await until([this] { return !a.io_log.empty(); });
        a.die();
        b.die();
        co_await until([this] { return !is_live("a") && !is_live("b"); });
        const auto waiting = one_block(Opcode::Read, 0);
        client.start(waiting->request);
        Status status = co_await BlockClient::finish(outstanding->request);
        EXPECT_EQ(status, Status::PathError);
        EXPECT_GE(reactor().now() - started, milliseconds(149));
        EXPECT_LT(reactor().now() - started, milliseconds(450));
        status = co_await BlockClient::finish(waiting->request);
        EXPECT_EQ(status, Status::PathError);
        EXPECT_EQ(outstanding->request.completions, 1);
        a.on_io = nullptr;
        a.revive();
        co_await until([this] { return is_live("a"); });
        co_await expect_io(client, 3);
    });
}

TEST_F(MultipathTest, Failover_sticksToItsPath_alsoWhenThePreferredComesBack) {
    with_volume(options(PathPolicy::Failover), [this](BlockClient& client) -> Task<> {
        co_await expect_io(client, 5);
        EXPECT_EQ(a.io_log.size(), 5U);
        a.die();
        co_await until([this] { return !is_live("a"); });
        co_await expect_io(client, 5);
        EXPECT_EQ(b.io_log.size(), 5U);
        a.revive();
        co_await until([this] { return is_live("a"); });
        co_await expect_io(client, 5);
        EXPECT_EQ(b.io_log.size(), 10U);
        EXPECT_EQ(a.io_log.size(), 5U);
    });
}

TEST_F(MultipathTest, RoundRobin_usesEachPathInTurn) {
    with_volume(options(PathPolicy::RoundRobin), [this](BlockClient& client) -> Task<> {
        co_await expect_io(client, 10);
        EXPECT_EQ(a.io_log.size(), 5U);
        EXPECT_EQ(b.io_log.size(), 5U);
    });
}

TEST_F(MultipathTest, QueueDepth_avoidsThePathThatIsSlow) {
    keep_silent(a);
    with_volume(options(PathPolicy::QueueDepth), [this](BlockClient& client) -> Task<> {
        const auto slow = one_block(Opcode::Read, 0);
        client.start(slow->request);
        co_await until([this] { return a.io_log.size() == 1; });
        co_await expect_io(client, 10);
        EXPECT_EQ(a.io_log.size(), 1U);
        EXPECT_EQ(b.io_log.size(), 10U);
        a.on_io = nullptr;
        a.die();
        const Status status = co_await BlockClient::finish(slow->request);
        EXPECT_EQ(status, Status::Ok);
    });
}

TEST_F(MultipathTest, SecondPath_addedWhileTheOnlyOneIsDown_takesWhatWaits) {
    run([this]() -> Task<> {
        make(options(PathPolicy::QueueDepth));
        co_await add_live("a", a);
        auto body = [this](BlockClient& client) -> Task<> {
            keep_silent(a);
            const auto sent = one_block(Opcode::Write, 1);
            client.start(sent->request);
            co_await until([this] { return !a.io_log.empty(); });
            a.die();
            co_await until([this] { return !is_live("a"); });
            const auto waiting = one_block(Opcode::Write, 2);
            client.start(waiting->request);
            co_await add_live("b", b);
            Status status = co_await BlockClient::finish(sent->request);
            EXPECT_EQ(status, Status::Ok);
            status = co_await BlockClient::finish(waiting->request);
            EXPECT_EQ(status, Status::Ok);
            EXPECT_EQ(b.io_log.size(), 2U);
        };
        co_await with_client(controller->device(1), body);
        co_await end();
    });
}

TEST_F(MultipathTest, Paths_addedAndRemovedUnderIo_nothingFails) {
    run([this]() -> Task<> {
        make(options(PathPolicy::RoundRobin));
        co_await add_live("a", a);
        auto body = [this](BlockClient& client) -> Task<> {
            for (int round = 0; round < 6; ++round) {
                std::vector<std::unique_ptr<OwnedRequest>> requests;
                for (std::size_t i = 0; i < 200; ++i) {
                    requests.push_back(one_block(i % 2 == 0 ? Opcode::Write : Opcode::Read, i));
                    client.start(requests.back()->request);
                }
                if (round % 2 == 0) {
                    co_await add_live("b", b);
                } else {
                    const auto removed = co_await controller->remove_path(round < 5 ? "b" : "a");
                    EXPECT_TRUE(removed);
                }
                for (const auto& request : requests) {
                    const Status status = co_await BlockClient::finish(request->request);
                    EXPECT_EQ(status, Status::Ok);
                    EXPECT_EQ(request->request.completions, 1);
                }
            }
            EXPECT_EQ(controller->status().paths.size(), 1U);
            EXPECT_EQ(controller->only_by("b"), std::vector<std::string>{"rn1"});
        };
        co_await with_client(controller->device(1), body);
        co_await end();
    });
}

TEST_F(MultipathTest, Path_twiceOrTooMany_isRefused) {
    run([this]() -> Task<> {
        make(options(PathPolicy::Failover));
        co_await add_live("a", a);
        auto again = controller->add_path({"a", b.endpoint(), {}});
        EXPECT_EQ(again.error().kind, ErrorKind::AlreadyExists);
        for (std::size_t i = 1; i < MultipathController::kMaxPaths; ++i) {
            again = controller->add_path({"p" + std::to_string(i), b.endpoint(), {}});
            EXPECT_TRUE(again);
        }
        again = controller->add_path({"more", b.endpoint(), {}});
        EXPECT_EQ(again.error().kind, ErrorKind::ResourceExhausted);
        const auto none = co_await controller->remove_path("x");
        EXPECT_EQ(none.error().kind, ErrorKind::NotFound);
        co_await end();
    });
}

TEST_F(MultipathTest, Nsids_thatDiffer_areOneVolume) {
    b.namespaces.clear();
    b.add_namespace(7).uuid = a.namespaces[1].uuid;
    with_volume(options(PathPolicy::RoundRobin), [this](BlockClient& client) -> Task<> {
        EXPECT_EQ(controller->status().volumes.size(), 1U);
        co_await expect_io(client, 4);
        EXPECT_EQ(a.io_log.size(), 2U);
        EXPECT_EQ(b.io_log.size(), 2U);
        EXPECT_EQ(b.io_log[0].nsid, 7U);
    });
}

TEST_F(MultipathTest, Volume_comesBackUnderAnotherNumber_goesOn) {
    run([this]() -> Task<> {
        make(options(PathPolicy::Failover));
        co_await add_live("a", a);
        auto body = [this](BlockClient& client) -> Task<> {
            co_await expect_io(client, 1);
            const FakeNamespace kept = a.namespaces[1];
            a.namespaces.clear();
            a.namespaces[5] = kept;
            a.add_namespace(1).uuid.bytes.fill(0x77);  // its old place is another volume's
            a.tell_namespaces_changed();
            const auto write = one_block(Opcode::Write, 9);
            // The new volume gets a name of its own, once the host has looked.
            co_await until([this] { return controller->status().volumes.size() == 2; });
            client.start(write->request);
            const Status status = co_await BlockClient::finish(write->request);
            EXPECT_EQ(status, Status::Ok);
            EXPECT_EQ(a.io_log.back().nsid, 5U);
            EXPECT_EQ(std::memcmp(a.namespaces[5].data.data() + std::size_t{9} * 512,
                                  write->data.data(), 512),
                      0);
            EXPECT_EQ(controller->status().volumes[0].uuid, kept.uuid);
            EXPECT_EQ(controller->status().volumes[0].nsid, 5U);
            // Once the path has let go of who was at that place before.
            co_await until([this] { return controller->status().volumes[1].nsid == 1U; });
        };
        co_await with_client(controller->device(1), body);
        co_await end();
    });
}

TEST_F(MultipathTest, Known_bothPathsDown_existsAtOnceAndIsServedByTheFirstThatComes) {
    a.die();
    b.die();
    b.namespaces.clear();
    b.add_namespace(7).uuid = a.namespaces[1].uuid;
    run([this]() -> Task<> {
        make(options(PathPolicy::QueueDepth));
        const core::Uuid uuid = a.namespaces[1].uuid;
        auto added = controller->add_path({"a", a.endpoint(), {{1, uuid, 512, 8192, 3}}});
        EXPECT_TRUE(added);
        added = controller->add_path({"b", b.endpoint(), {{7, uuid, 512, 8192, 3}}});
        EXPECT_TRUE(added);
        EXPECT_EQ(controller->status().volumes.size(), 1U);
        EXPECT_EQ(controller->device(3)->name(), "rn3");
        auto channel = controller->device(3)->open_channel();
        BlockClient client(**channel);
        const auto write = one_block(Opcode::Write, 9);
        client.start(write->request);
        co_await reactor::sleep_for(milliseconds(20));
        EXPECT_FALSE(write->request.finished);
        b.revive();
        const Status status = co_await BlockClient::finish(write->request);
        EXPECT_EQ(status, Status::Ok);
        EXPECT_EQ(b.io_log.at(0).nsid, 7U);
        channel->reset();
        co_await end();
    });
}

TEST_F(MultipathTest, Size_changesOnOnePath_isTheVolumes) {
    with_volume(options(PathPolicy::RoundRobin), [this](BlockClient& client) -> Task<> {
        for (FakeTarget* target : {&a, &b}) {
            target->namespaces[1].block_count = 9000;
            target->namespaces[1].data.resize(9000 * 512);
        }
        a.tell_namespaces_changed();
        co_await until([this] { return controller->device(1)->geometry().block_count == 9000; });
        std::vector<std::byte> data(512);
        const Segment one = segment_of(data);
        for (int i = 0; i < 4; ++i) {  // by both paths, though one has not looked again
            const Status status =
                co_await client.perform(Opcode::Read, 8999, 1, std::span(&one, 1));
            EXPECT_EQ(status, Status::Ok);
        }
    });
}

}  // namespace
}  // namespace remora::test
