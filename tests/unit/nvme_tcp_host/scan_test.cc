// SPDX-License-Identifier: Apache-2.0
// Reading the namespaces of a controller that takes its time over it, or never ends showing others.
#include <gtest/gtest.h>

#include "reactor/gate.h"
#include "tests/unit/nvme_tcp_host/host_fixture.h"

namespace remora::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// The identifier of an Identify command for such a page, if the PDU is one.
std::optional<std::uint16_t> asks_for(nvme::spec::Cns page,
                                      const FakeConnection& connection,
                                      const nvme::tcp::CommonHeader& header,
                                      std::span<const std::byte> pdu) {
    if (header.type != static_cast<std::uint8_t>(nvme::tcp::PduType::CapsuleCmd)) {
        return std::nullopt;
    }
    const auto command = load<nvme::tcp::CapsuleCmd>(pdu).command;
    const bool identify = connection.queue_id() == 0 && command.opcode == 0x06;
    return identify && command.cdw10 == static_cast<std::uint32_t>(page)
               ? std::optional<std::uint16_t>(command.cid)
               : std::nullopt;
}

std::optional<std::uint16_t> asks_for_namespace(const FakeConnection& connection,
                                                const nvme::tcp::CommonHeader& header,
                                                std::span<const std::byte> pdu) {
    return asks_for(nvme::spec::Cns::Namespace, connection, header, pdu);
}

class HostScanTest : public HostFixture {
  public:
    /// From now on the first association's controller is silent about its namespaces.
    Task<> begin_endless_scan() {
        target.on_pdu = [this](FakeConnection& connection, const nvme::tcp::CommonHeader& header,
                               std::span<const std::byte> pdu) {
            const bool silent =
                target.connects == 1 && asks_for_namespace(connection, header, pdu).has_value();
            asked_ += silent ? 1 : 0;
            return silent;
        };
        co_await until([this] { return target.connections()[0]->event_waits(); });
        target.tell_namespaces_changed();
        co_await until([this] { return asked_ > 0; });
    }

  private:
    int asked_ = 0;
};

TEST_F(HostScanTest, Stop_whileAScanIsUnderWay_endsSoon) {
    run([this]() -> Task<> {
        make(options());
        const auto ready = co_await controller->wait_ready(seconds(5));
        EXPECT_TRUE(ready);
        co_await begin_endless_scan();
        const core::Nanos started = reactor().now();
        co_await end();
        EXPECT_LT(reactor().now() - started, seconds(1));
    });
}

TEST_F(HostScanTest, Reset_whileAScanIsUnderWay_reconnectsSoon) {
    with_volume(options(), [this](BlockClient& client) -> Task<> {
        co_await begin_endless_scan();
        const core::Nanos started = reactor().now();
        co_await controller->reset();
        const auto ready = co_await controller->wait_ready(seconds(5));
        EXPECT_TRUE(ready);
        EXPECT_LT(reactor().now() - started, seconds(1));
        EXPECT_EQ(target.connects, 2);
        EXPECT_EQ(controller->status().last_error, "");
        co_await expect_round_trip(client, 0, 9, 3);
    });
}

TEST_F(HostScanTest, LaneDies_whileAScanIsUnderWay_reconnectsSoon) {
    with_volume(options(), [this](BlockClient& client) -> Task<> {
        co_await begin_endless_scan();
        const core::Nanos started = reactor().now();
        for (FakeConnection* connection : target.connections()) {
            if (connection->queue_id() != 0) {
                connection->close();
            }
        }
        co_await expect_round_trip(client, 0, 9, 3);
        EXPECT_LT(reactor().now() - started, seconds(1));
        EXPECT_EQ(target.connects, 2);
    });
}

TEST_F(HostScanTest, Namespace_goesBetweenItsTwoPages_itsIoWaits) {
    with_volume(options(), [this](BlockClient& client) -> Task<> {
        const FakeNamespace kept = target.namespaces[1];
        target.on_pdu = [this](FakeConnection& connection, const nvme::tcp::CommonHeader& header,
                               std::span<const std::byte> pdu) {
            if (asks_for(nvme::spec::Cns::NamespaceDescriptors, connection, header, pdu)) {
                target.namespaces.erase(1);
            }
            return false;
        };
        co_await until([this] { return target.connections()[0]->event_waits(); });
        target.tell_namespaces_changed();
        co_await until([this] { return !present(1); });
        OwnedRequest write(Opcode::Write, 4, 1, pattern(512, 1));
        client.start(write.request);
        co_await reactor::sleep_for(milliseconds(20));
        EXPECT_FALSE(write.request.finished);
        target.on_pdu = nullptr;
        target.namespaces[1] = kept;
        co_await until([this] { return target.connections()[0]->event_waits(); });
        target.tell_namespaces_changed();
        const Status status = co_await BlockClient::finish(write.request);
        EXPECT_EQ(status, Status::Ok);
        EXPECT_EQ(controller->status().last_error, "");
    });
}

TEST_F(HostScanTest, Descriptors_refusedForNow_noOtherIdentityIsBelieved) {
    with_volume(options(), [this](BlockClient& client) -> Task<> {
        int refusals = 0;
        target.on_pdu = [&](FakeConnection& connection, const nvme::tcp::CommonHeader& header,
                            std::span<const std::byte> pdu) {
            const auto cid =
                asks_for(nvme::spec::Cns::NamespaceDescriptors, connection, header, pdu);
            if (!cid || refusals == 2) {
                return false;
            }
            ++refusals;
            connection.respond(*cid,
                               nvme::spec::status_field(nvme::spec::StatusCode::InternalError));
            return true;
        };
        co_await until([this] { return target.connections()[0]->event_waits(); });
        target.tell_namespaces_changed();
        co_await until([&] { return refusals == 2; });
        co_await expect_round_trip(client, 0, 9, 3);
        EXPECT_EQ(controller->status().last_error, "");
        EXPECT_EQ(target.connects, 1) << "one namespace is no reason to leave the others";
    });
}

TEST_F(HostScanTest, Controller_answersSlowly_theScanEndsAtItsLimit) {
    for (std::uint32_t nsid = 2; nsid <= 200; ++nsid) {
        target.add_namespace(nsid, 8);
    }
    reactor::Gate answers;
    target.on_pdu = [&answers](FakeConnection& connection, const nvme::tcp::CommonHeader& header,
                               std::span<const std::byte> pdu) {
        const auto cid = asks_for_namespace(connection, header, pdu);
        if (!cid) {
            return false;
        }
        answers.spawn(
            [](FakeConnection* to, std::uint16_t about) -> Task<> {
                co_await reactor::sleep_for(milliseconds(10));
                to->respond(about, nvme::spec::status_field(
                                       nvme::spec::StatusCode::InvalidNamespace, true));
            },
            &connection, *cid);
        return true;
    };
    run([&, this]() -> Task<> {
        ControllerOptions with = options();
        with.timing.scan_timeout = milliseconds(100);
        make(with);
        co_await until([this] { return !controller->status().last_error.empty(); });
        EXPECT_NE(controller->status().last_error.find("in time"), std::string::npos)
            << controller->status().last_error;
        EXPECT_NE(controller->status().state, PathState::Live);
        co_await end();
        co_await answers.close();
    });
}

TEST_F(HostScanTest, Controller_showsOthersAllTheTime_noMoreDevicesThanTheLimitAreMade) {
    constexpr std::uint32_t kMost = 4096;
    ControllerOptions with = options();
    for (std::uint32_t nsid = 2; nsid < kMost + 2; ++nsid) {
        core::Uuid uuid;
        uuid.bytes.fill(static_cast<unsigned char>(nsid));
        with.known.push_back({nsid, uuid, 512, 8192});
    }
    target.add_namespace(2);
    run([&, this]() -> Task<> {
        make(with);
        const auto ready = co_await controller->wait_ready(seconds(5));
        EXPECT_TRUE(ready);
        EXPECT_EQ(controller->device(1), nullptr);
        EXPECT_EQ(controller->status().namespaces.size(), kMost);
        EXPECT_TRUE(controller->status().namespaces[0].present) << "one that is known is taken";
        const auto forgotten = co_await controller->forget(3);
        EXPECT_TRUE(forgotten);
        const auto scanned = co_await controller->rescan();
        EXPECT_TRUE(scanned);
        EXPECT_NE(controller->device(1), nullptr) << "there is room now";
        co_await end();
    });
}

}  // namespace
}  // namespace remora::test
