// SPDX-License-Identifier: Apache-2.0
// What happens while the path to the controller goes and comes: waiting, resending, time-outs,
// keep-alive, refusals.
#include <gtest/gtest.h>

#include "tests/unit/nvme_tcp_host/host_fixture.h"

namespace remora::test {
namespace {

using core::ErrorKind;
using nvme::spec::StatusCode;
using std::chrono::milliseconds;
using std::chrono::seconds;

class HostPathTest : public HostFixture {
  public:
    /// A target that takes commands of I/O queues and never answers.
    void keep_silent() {
        target.on_io = [](FakeConnection&, const nvme::spec::Command&, std::span<const std::byte>) {
            return true;
        };
    }
};

TEST_F(HostPathTest, TargetDiesWithIoOutstanding_isResentInOrderAndCompletesOnce) {
    keep_silent();
    with_volume(options(), [this](BlockClient& client) -> Task<> {
        std::vector<std::unique_ptr<OwnedRequest>> writes;
        for (std::size_t i = 0; i < 300; ++i) {
            writes.push_back(std::make_unique<OwnedRequest>(Opcode::Write, i, 1, pattern(512, i)));
            client.start(writes.back()->request);
        }
        co_await until([this] { return target.io_log.size() == 127; });  // the queue is full
        target.die();
        co_await until([this] { return controller->status().state != PathState::Live; });
        EXPECT_FALSE(writes[0]->request.finished);
        target.on_io = nullptr;
        target.io_log.clear();
        target.revive();
        for (std::size_t i = 0; i < writes.size(); ++i) {
            const Status status = co_await BlockClient::finish(writes[i]->request);
            EXPECT_EQ(status, Status::Ok);
            EXPECT_EQ(writes[i]->request.completions, 1);
            EXPECT_EQ(nvme::spec::starting_lba(target.io_log[i]), i);
        }
        EXPECT_EQ(target.io_log.size(), writes.size());
        EXPECT_EQ(controller->status().reconnects, 1U);
        co_await expect_round_trip(client, 0, 9, 3);
    });
}

TEST_F(HostPathTest, TargetDiesAgainAndAgain_nothingIsLost) {
    with_volume(options(), [this](BlockClient& client) -> Task<> {
        for (std::uint64_t round = 0; round < 10; ++round) {
            std::vector<std::unique_ptr<OwnedRequest>> writes;
            for (std::size_t i = 0; i < 40; ++i) {
                writes.push_back(std::make_unique<OwnedRequest>(Opcode::Write, i * 200, 200,
                                                                pattern(200 * 512, i + round)));
                client.start(writes.back()->request);
            }
            co_await reactor::sleep_for(milliseconds(round % 3));
            target.die();
            co_await reactor::sleep_for(milliseconds(round % 4));
            target.revive();
            for (std::size_t i = 0; i < writes.size(); ++i) {
                const Status status = co_await BlockClient::finish(writes[i]->request);
                EXPECT_EQ(status, Status::Ok);
                EXPECT_EQ(writes[i]->request.completions, 1);
                EXPECT_EQ(std::memcmp(target.namespaces[1].data.data() + i * 200 * 512,
                                      writes[i]->data.data(), 200 * 512),
                          0);
            }
        }
    });
}

TEST_F(HostPathTest, NoPathPastTheTimeout_failsWithPathError) {
    ControllerOptions with = options();
    with.timing.path_timeout = milliseconds(80);
    keep_silent();
    with_volume(with, [this](BlockClient& client) -> Task<> {
        OwnedRequest outstanding(Opcode::Read, 0, 1, std::vector<std::byte>(512));
        client.start(outstanding.request);
        co_await until([this] { return !target.io_log.empty(); });
        target.die();
        co_await until([this] { return controller->status().state != PathState::Live; });
        OwnedRequest waiting(Opcode::Read, 0, 1, std::vector<std::byte>(512));
        const core::Nanos started = reactor().now();
        client.start(waiting.request);
        Status status = co_await BlockClient::finish(outstanding.request);
        EXPECT_EQ(status, Status::PathError);
        status = co_await BlockClient::finish(waiting.request);
        EXPECT_EQ(status, Status::PathError);
        EXPECT_GE(reactor().now() - started, milliseconds(79));
        EXPECT_EQ(outstanding.request.completions, 1);
        target.on_io = nullptr;
        target.revive();
        const auto ready = co_await controller->wait_ready(seconds(5));
        EXPECT_TRUE(ready);
        co_await expect_round_trip(client, 0, 9, 3);
        EXPECT_EQ(outstanding.request.completions, 1);
    });
}

TEST_F(HostPathTest, SilentIoQueue_isDroppedAndTheIoDoneOnTheNext) {
    ControllerOptions with = options();
    with.timing.io_timeout = milliseconds(60);
    keep_silent();
    with_volume(with, [this](BlockClient& client) -> Task<> {
        OwnedRequest write(Opcode::Write, 4, 1, pattern(512, 1));
        client.start(write.request);
        co_await until([this] { return controller->status().state != PathState::Live; });
        EXPECT_NE(controller->status().last_error.find("no answer to I/O"), std::string::npos);
        target.on_io = nullptr;
        const Status status = co_await BlockClient::finish(write.request);
        EXPECT_EQ(status, Status::Ok);
        EXPECT_EQ(target.connects, 2);
    });
}

TEST_F(HostPathTest, LostCommand_othersOvertake_isDroppedToo) {
    ControllerOptions with = options();
    with.timing.io_timeout = milliseconds(40);
    bool lose = true;
    target.on_io = [&lose](FakeConnection&, const nvme::spec::Command&,
                           std::span<const std::byte>) { return std::exchange(lose, false); };
    with_volume(with, [this](BlockClient& client) -> Task<> {
        OwnedRequest lost(Opcode::Write, 4, 1, pattern(512, 1));
        client.start(lost.request);
        while (!lost.request.finished) {
            co_await expect_round_trip(client, 100, 1, 3);
            co_await reactor::sleep_for(milliseconds(5));
        }
        EXPECT_EQ(lost.request.status, Status::Ok);
        EXPECT_EQ(target.connects, 2);
    });
}

TEST_F(HostPathTest, OvertakenCommand_isAbortedAndSentAgainOnTheSameConnection) {
    ControllerOptions with = options();
    with.timing.io_timeout = milliseconds(40);
    with.timing.retry_delay = milliseconds(1);
    FakeConnection* queue = nullptr;  // of the command that is not answered
    std::uint16_t cid = 0;
    target.on_io = [&](FakeConnection& connection, const nvme::spec::Command& command,
                       std::span<const std::byte>) {
        if (queue != nullptr) {
            return false;
        }
        queue = &connection;
        cid = command.cid;
        return true;
    };
    int aborts = 0;
    target.on_pdu = [&](FakeConnection& connection, const nvme::tcp::CommonHeader& header,
                        std::span<const std::byte> pdu) {
        if (connection.queue_id() != 0 || queue == nullptr ||
            header.type != static_cast<std::uint8_t>(nvme::tcp::PduType::CapsuleCmd)) {
            return false;
        }
        const auto command = load<nvme::tcp::CapsuleCmd>(pdu).command;
        if (command.opcode == static_cast<std::uint8_t>(nvme::spec::AdminOpcode::Abort)) {
            ++aborts;
            EXPECT_EQ(command.cdw10.get(), queue->queue_id() | (std::uint32_t{cid} << 16U));
            queue->respond(cid, static_cast<std::uint16_t>(nvme::spec::StatusCode::AbortRequested));
        }
        return false;
    };
    with_volume(with, [&](BlockClient& client) -> Task<> {
        OwnedRequest lost(Opcode::Write, 4, 1, pattern(512, 1));
        client.start(lost.request);
        while (!lost.request.finished) {
            co_await expect_round_trip(client, 100, 1, 3);
            co_await reactor::sleep_for(milliseconds(5));
        }
        EXPECT_EQ(lost.request.status, Status::Ok);
        EXPECT_EQ(lost.request.completions, 1);
        EXPECT_EQ(aborts, 1);
        EXPECT_EQ(target.connects, 1);
        target.on_pdu = nullptr;
    });
}

TEST_F(HostPathTest, SilentController_isDetectedByKeepAliveWithinTwice) {
    ControllerOptions with = options();
    with.timing.keep_alive = milliseconds(300);
    with_volume(with, [this](BlockClient&) -> Task<> {
        co_await until([this] { return target.keep_alives >= 2; });
        bool deaf = true;
        target.on_pdu = [&deaf](FakeConnection&, const nvme::tcp::CommonHeader&,
                                std::span<const std::byte>) { return deaf; };
        const core::Nanos silent_since = reactor().now();
        co_await until([this] { return controller->status().state != PathState::Live; });
        EXPECT_LE(reactor().now() - silent_since, milliseconds(600));
        deaf = false;
        const auto ready = co_await controller->wait_ready(seconds(5));
        EXPECT_TRUE(ready);
        target.on_pdu = nullptr;
    });
}

TEST_F(HostPathTest, NobodyListens_waitReadyTellsUnavailable) {
    run([this]() -> Task<> {
        target.die();
        make(options());
        const auto ready = co_await controller->wait_ready(milliseconds(100));
        EXPECT_FALSE(ready);
        EXPECT_EQ(ready.error().kind, ErrorKind::Unavailable);
        EXPECT_NE(controller->status().last_error, "");
        target.revive();
        const auto later = co_await controller->wait_ready(seconds(5));
        EXPECT_TRUE(later);
        EXPECT_EQ(controller->status().last_error, "");
        co_await end();
    });
}

struct Refusal {
    std::uint16_t status;
    std::uint32_t dw0;
    ErrorKind kind;
};

class HostRefusalTest : public HostFixture, public testing::WithParamInterface<Refusal> {};

TEST_P(HostRefusalTest, Connect_refused_isToldAtOnceAndTriedAgain) {
    run([this]() -> Task<> {
        target.connect_status = GetParam().status;
        target.connect_dw0 = GetParam().dw0;
        ControllerOptions with = options();
        with.timing.backoff_max = milliseconds(1500);
        make(with);
        const core::Nanos started = reactor().now();
        const auto refused = co_await controller->wait_ready(seconds(10));
        EXPECT_LT(reactor().now() - started, milliseconds(1000));
        EXPECT_FALSE(refused);
        EXPECT_EQ(refused.error().kind, GetParam().kind) << refused.error().message;
        target.connect_status = 0;
        const auto ready = co_await controller->wait_ready(seconds(10));  // hurries
        EXPECT_TRUE(ready);
        EXPECT_LT(reactor().now() - started, milliseconds(1000));
        co_await end();
    });
}

INSTANTIATE_TEST_SUITE_P(
    Codes,
    HostRefusalTest,
    testing::Values(Refusal{nvme::spec::status_field(StatusCode::ConnectInvalidParameters, true),
                            nvme::spec::connect_invalid_parameter(256, true), ErrorKind::NotFound},
                    Refusal{nvme::spec::status_field(StatusCode::ConnectInvalidHost, true), 0,
                            ErrorKind::PermissionDenied},
                    Refusal{nvme::spec::status_field(StatusCode::ConnectInvalidParameters, true),
                            nvme::spec::connect_invalid_parameter(512, true),
                            ErrorKind::PermissionDenied},
                    Refusal{nvme::spec::status_field(StatusCode::AuthenticationRequired, true), 0,
                            ErrorKind::PermissionDenied},
                    Refusal{nvme::spec::status_field(StatusCode::ConnectIncompatibleFormat, true),
                            0, ErrorKind::Unimplemented}));

TEST_F(HostPathTest, ControllerNeverReady_isGivenUpInItsOwnTime) {
    target.never_ready_reads = 1000000;
    run([this]() -> Task<> {
        make(options());
        const auto ready = co_await controller->wait_ready(seconds(3));
        EXPECT_FALSE(ready);
        EXPECT_NE(ready.error().message.find("not ready"), std::string::npos);
        co_await end();
    });
}

TEST_F(HostPathTest, ControllerReadyLate_isWaitedFor) {
    target.never_ready_reads = 3;
    with_volume(options(),
                [](BlockClient& client) -> Task<> { co_await expect_round_trip(client, 0, 9, 3); });
}

TEST_F(HostPathTest, Stop_whileConnectingToSilence_endsSoon) {
    target.on_pdu = [](FakeConnection&, const nvme::tcp::CommonHeader&,
                       std::span<const std::byte>) { return true; };
    run([this]() -> Task<> {
        ControllerOptions with = options();
        with.timing.connect_timeout = seconds(30);
        make(with);
        co_await until([this] { return target.connections_made > 0; });
        co_await reactor::sleep_for(milliseconds(5));
        const core::Nanos started = reactor().now();
        co_await end();
        EXPECT_LT(reactor().now() - started, milliseconds(500));
    });
}

TEST_F(HostPathTest, Reset_withIoOutstanding_reconnectsAndLosesNothing) {
    target.on_io = [this](FakeConnection&, const nvme::spec::Command&, std::span<const std::byte>) {
        return target.connects < 2;
    };
    with_volume(options(), [this](BlockClient& client) -> Task<> {
        std::vector<std::unique_ptr<OwnedRequest>> writes;
        for (std::size_t i = 0; i < 200; ++i) {
            writes.push_back(
                std::make_unique<OwnedRequest>(Opcode::Write, i * 8, 8, pattern(4096, i)));
            client.start(writes.back()->request);
        }
        co_await controller->reset();
        for (const auto& write : writes) {
            const Status status = co_await BlockClient::finish(write->request);
            EXPECT_EQ(status, Status::Ok);
        }
        EXPECT_EQ(target.connects, 2);
        EXPECT_EQ(controller->status().reconnects, 1U);
    });
}

TEST_F(HostPathTest, OldConnections_areClosedBeforeTheNextConnect) {
    std::size_t open_at_connect = 0;
    with_volume(options(), [&, this](BlockClient& client) -> Task<> {
        target.on_pdu = [&](FakeConnection&, const nvme::tcp::CommonHeader& header,
                            std::span<const std::byte>) {
            if (header.type == static_cast<std::uint8_t>(nvme::tcp::PduType::IcReq)) {
                open_at_connect = std::max(open_at_connect, target.connections().size());
            }
            return false;
        };
        co_await controller->reset();
        const auto ready = co_await controller->wait_ready(seconds(5));
        EXPECT_TRUE(ready);
        EXPECT_EQ(open_at_connect, 2U);  // the new admin and I/O queue, none of the old ones
        co_await expect_round_trip(client, 0, 9, 3);
        target.on_pdu = nullptr;
    });
}

/// A write of several parts of 8 KiB that travel within their capsules.
class HostPartsTest : public HostPathTest {
  public:
    HostPartsTest() { target.mdts = 1; }
    void become_another_volume() { target.namespaces[1].uuid.bytes.fill(0x77); }
};

TEST_F(HostPartsTest, ConnectionDiesBetweenTwoParts_volumeIsAnother_noMoreIsSent) {
    ControllerOptions with = options();
    with.queue_size = 2;  // one part at a time
    target.on_io = [this](FakeConnection& connection, const nvme::spec::Command& command,
                          std::span<const std::byte>) {
        if (target.connects == 1) {
            become_another_volume();
            // With one send, so that the host sees the answer and the end of the connection at
            // once: the part is done and nothing is outstanding.
            connection.respond_and_break(command.cid);
            return true;
        }
        return false;
    };
    with_volume(with, [this](BlockClient& client) -> Task<> {
        OwnedRequest write(Opcode::Write, 0, 48, pattern(48 * 512, 1));
        client.start(write.request);
        const Status status = co_await BlockClient::finish(write.request);
        EXPECT_EQ(status, Status::IoError);
        EXPECT_EQ(target.connects, 2);
        EXPECT_EQ(target.io_log.size(), 1U);
    });
}

TEST_F(HostPartsTest, ConnectionDiesBetweenTwoParts_volumeIsTheSame_allIsSentAgain) {
    ControllerOptions with = options();
    with.queue_size = 2;
    target.on_io = [this](FakeConnection& connection, const nvme::spec::Command& command,
                          std::span<const std::byte>) {
        if (target.connects == 1) {
            connection.respond_and_break(command.cid);  // the answer is a lie, so all must come
            return true;
        }
        return false;
    };
    with_volume(with, [this](BlockClient& client) -> Task<> {
        OwnedRequest write(Opcode::Write, 0, 48, pattern(48 * 512, 1));
        client.start(write.request);
        const Status status = co_await BlockClient::finish(write.request);
        EXPECT_EQ(status, Status::Ok);
        EXPECT_EQ(target.io_log.size(), 4U);
        EXPECT_EQ(std::memcmp(target.namespaces[1].data.data(), write.data.data(), 48 * 512), 0);
    });
}

TEST_F(HostPartsTest, VolumeBecomesAnother_withPartsOutstanding_restIsNotSent) {
    ControllerOptions with = options();
    with.queue_size = 3;  // two parts at a time
    std::vector<std::uint16_t> held;
    target.on_io = [&held](FakeConnection&, const nvme::spec::Command& command,
                           std::span<const std::byte>) {
        held.push_back(command.cid);
        return true;
    };
    with_volume(with, [&, this](BlockClient& client) -> Task<> {
        OwnedRequest write(Opcode::Write, 0, 64, pattern(64 * 512, 1));
        client.start(write.request);
        co_await until([&] { return held.size() == 2; });
        become_another_volume();
        const auto scanned = co_await controller->rescan();
        EXPECT_TRUE(scanned);
        for (const auto& connection : target.connections()) {
            if (connection->queue_id() != 0) {
                connection->respond(held[0], 0);
                co_await reactor::sleep_for(milliseconds(5));
                EXPECT_FALSE(write.request.finished);
                connection->respond(held[1], 0);
            }
        }
        const Status status = co_await BlockClient::finish(write.request);
        EXPECT_EQ(status, Status::IoError);
        EXPECT_EQ(write.request.completions, 1);
        EXPECT_EQ(held.size(), 2U);
    });
}

}  // namespace
}  // namespace remora::test
