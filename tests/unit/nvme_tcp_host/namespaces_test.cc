// SPDX-License-Identifier: Apache-2.0
// Namespaces as devices: names, identity, what was known before, changes, and discovery.
#include <gtest/gtest.h>

#include "backends/nvme_tcp/discovery.h"
#include "tests/unit/nvme_tcp_host/host_fixture.h"

namespace remora::test {
namespace {

using core::ErrorKind;
using std::chrono::milliseconds;
using std::chrono::seconds;

class HostNamespacesTest : public HostFixture {
  public:
    [[nodiscard]] bool live() const { return controller->status().state == PathState::Live; }
};

class CountingListener final : public block::DeviceListener {
  public:
    void on_geometry_changed() override { ++count; }
    int count = 0;
};

TEST_F(HostNamespacesTest, Devices_haveNameUuidAndGeometryOfTheirNamespace) {
    target.add_namespace(7, 1000, 12);
    FakeNamespace& without_uuid = target.add_namespace(9);
    without_uuid.uuid = {};
    without_uuid.nguid.fill(0x5a);
    target.add_namespace(11).uuid = {};
    with_volume(options(), [this](BlockClient&) -> Task<> {
        block::Device* seven = controller->device(7);
        EXPECT_EQ(seven->name(), "rn7");
        EXPECT_EQ(seven->uuid(), target.namespaces[7].uuid);
        EXPECT_EQ(seven->geometry().block_size, 4096U);
        EXPECT_EQ(seven->geometry().block_count, 1000U);
        EXPECT_TRUE(seven->geometry().can_discard);
        EXPECT_EQ(controller->device(9)->uuid().bytes, target.namespaces[9].nguid);
        EXPECT_FALSE(controller->device(11)->uuid().is_nil());
        EXPECT_EQ(controller->device(2), nullptr);
        EXPECT_EQ(controller->status().namespaces.size(), 4U);
        co_return;
    });
}

TEST_F(HostNamespacesTest, Known_existsBeforeThePathAndItsIoWaits) {
    run([this]() -> Task<> {
        target.die();
        ControllerOptions with = options();
        with.known.push_back({1, target.namespaces[1].uuid, 512, 8192});
        make(with);
        auto body = [this](BlockClient& client) -> Task<> {
            EXPECT_EQ(controller->device(1)->geometry().block_count, 8192U);
            OwnedRequest write(Opcode::Write, 4, 1, pattern(512, 1));
            client.start(write.request);
            co_await reactor::sleep_for(milliseconds(20));
            EXPECT_FALSE(write.request.finished);
            target.revive();
            const Status status = co_await BlockClient::finish(write.request);
            EXPECT_EQ(status, Status::Ok);
            EXPECT_TRUE(present(1));
        };
        co_await with_client(controller->device(1), body);
        co_await end();
    });
}

TEST_F(HostNamespacesTest, Known_isAnotherVolumeNow_ioFailsAndTheReasonIsTold) {
    run([this]() -> Task<> {
        ControllerOptions with = options();
        core::Uuid other;
        other.bytes.fill(0xee);
        with.known.push_back({1, other, 512, 8192});
        make(with);
        const auto ready = co_await controller->wait_ready(seconds(5));
        EXPECT_TRUE(ready);
        auto body = [this](BlockClient& client) -> Task<> {
            std::vector<std::byte> data(512);
            const Segment one = segment_of(data);
            const Status status = co_await client.perform(Opcode::Write, 0, 1, std::span(&one, 1));
            EXPECT_EQ(status, Status::IoError);
            EXPECT_NE(controller->status().last_error.find("it was eeee"), std::string::npos)
                << controller->status().last_error;
            EXPECT_TRUE(target.io_log.empty());
        };
        co_await with_client(controller->device(1), body);
        co_await end();
    });
}

TEST_F(HostNamespacesTest, Known_hasAnotherBlockSizeNow_ioFails) {
    run([this]() -> Task<> {
        ControllerOptions with = options();
        with.known.push_back({1, target.namespaces[1].uuid, 4096, 1024});
        make(with);
        const auto ready = co_await controller->wait_ready(seconds(5));
        EXPECT_TRUE(ready);
        auto body = [](BlockClient& client) -> Task<> {
            std::vector<std::byte> data(4096);
            const Segment one = segment_of(data);
            const Status status = co_await client.perform(Opcode::Read, 0, 1, std::span(&one, 1));
            EXPECT_EQ(status, Status::IoError);
        };
        co_await with_client(controller->device(1), body);
        co_await end();
    });
}

TEST_F(HostNamespacesTest, Event_namespaceAppears_becomesADeviceAndIsTold) {
    class Listener final : public backends::nvme_tcp::NamespaceListener {
      public:
        void on_namespaces_changed() override { ++count; }
        int count = 0;
    } listener;
    with_volume(options(), [&, this](BlockClient&) -> Task<> {
        controller->set_listener(&listener);
        target.add_namespace(2, 100);
        target.tell_namespaces_changed();
        co_await until([&] { return listener.count == 1; });
        EXPECT_EQ(controller->device(2)->geometry().block_count, 100U);
        target.add_namespace(3, 100);
        co_await until([this] { return target.connections()[0]->event_waits(); });
        target.tell_namespaces_changed();  // armed again
        co_await until([&] { return listener.count == 2; });
        EXPECT_TRUE(present(3));
        controller->set_listener(nullptr);
    });
}

TEST_F(HostNamespacesTest, Size_changes_listenersAreToldAndTheNewRangeWorks) {
    with_volume(options(), [this](BlockClient& client) -> Task<> {
        CountingListener listener;
        controller->device(1)->add_listener(listener);
        target.namespaces[1].block_count = 9000;
        target.namespaces[1].data.resize(9000 * 512);
        const auto scanned = co_await controller->rescan();
        EXPECT_TRUE(scanned);
        EXPECT_EQ(listener.count, 1);
        EXPECT_EQ(controller->device(1)->geometry().block_count, 9000U);
        co_await expect_round_trip(client, 8999, 1, 1);
        controller->device(1)->remove_listener(listener);
    });
}

TEST_F(HostNamespacesTest, Namespace_goesAndComesBack_itsIoWaits) {
    with_volume(options(), [this](BlockClient& client) -> Task<> {
        const FakeNamespace kept = target.namespaces[1];
        target.namespaces.clear();
        auto scanned = co_await controller->rescan();
        EXPECT_TRUE(scanned);
        EXPECT_FALSE(present(1));
        OwnedRequest write(Opcode::Write, 4, 1, pattern(512, 1));
        client.start(write.request);
        co_await reactor::sleep_for(milliseconds(30));
        EXPECT_FALSE(write.request.finished);
        target.namespaces[1] = kept;
        target.tell_namespaces_changed();
        const Status status = co_await BlockClient::finish(write.request);
        EXPECT_EQ(status, Status::Ok);
    });
}

TEST_F(HostNamespacesTest, Namespace_staysAway_itsIoFailsWithPathError) {
    ControllerOptions with = options();
    with.timing.path_timeout = milliseconds(60);
    with_volume(with, [this](BlockClient& client) -> Task<> {
        target.namespaces.clear();
        std::vector<std::byte> data(512);
        const Segment one = segment_of(data);
        // Known to be there until the target says otherwise, then away.
        Status status = co_await client.perform(Opcode::Read, 0, 1, std::span(&one, 1));
        EXPECT_NE(status, Status::Ok);
        const auto scanned = co_await controller->rescan();
        EXPECT_TRUE(scanned);
        status = co_await client.perform(Opcode::Read, 0, 1, std::span(&one, 1));
        EXPECT_EQ(status, Status::PathError);
        target.add_namespace(1);
    });
}

TEST_F(HostNamespacesTest, Forget_usedOrNot_refusesOrMakesRoomForAnother) {
    target.add_namespace(2);
    with_volume(options(), [this](BlockClient&) -> Task<> {
        auto used = co_await controller->forget(1);
        EXPECT_FALSE(used);
        EXPECT_EQ(used.error().kind, ErrorKind::FailedPrecondition);
        const auto none = co_await controller->forget(5);
        EXPECT_EQ(none.error().kind, ErrorKind::NotFound);
        target.namespaces[2].uuid.bytes.fill(0x77);
        const auto forgotten = co_await controller->forget(2);
        EXPECT_TRUE(forgotten);
        EXPECT_EQ(controller->device(2), nullptr);
        const auto scanned = co_await controller->rescan();
        EXPECT_TRUE(scanned);
        EXPECT_EQ(controller->device(2)->uuid(), target.namespaces[2].uuid);
    });
}

TEST_F(HostNamespacesTest, Create_wrongOptions_areRefusedWithTheReason) {
    run([this]() -> Task<> {
        auto pool = memory::BufferPool::create(1 << 20);
        const block::ReactorContext context{reactor(), **pool};
        const auto refused = [&](ControllerOptions with) {
            const auto made = RemoteController::create(with, std::span(&context, 1), reactor());
            return !made && made.error().kind == ErrorKind::InvalidArgument;
        };
        ControllerOptions with = options();
        with.subnqn = "";
        EXPECT_TRUE(refused(with));
        with = options();
        with.queue_size = 1;
        EXPECT_TRUE(refused(with));
        with = options();
        with.endpoint.port = 0;
        EXPECT_TRUE(refused(with));
        with = options();
        with.known.push_back({1, {}, 513, 10});
        EXPECT_TRUE(refused(with));
        co_return;
    });
}

class DiscoveryTest : public HostFixture {
  public:
    void add_record(const std::string& nqn, std::uint8_t subtype, const std::string& port) {
        target.log.push_back(record(nqn, subtype, "192.0.2.7", port));
    }
    static nvme::spec::DiscoveryLogEntry record(const std::string& nqn,
                                                std::uint8_t subtype,
                                                const std::string& address,
                                                const std::string& port) {
        nvme::spec::DiscoveryLogEntry entry;
        entry.transport = nvme::spec::kTransportTcp;
        entry.address_family = nvme::spec::kAddressIpv4;
        entry.subtype = subtype;
        nvme::spec::set_field_text(entry.service_id, port, ' ');
        nvme::spec::set_field_text(entry.subnqn, nqn, '\0');
        nvme::spec::set_field_text(entry.address, address, ' ');
        return entry;
    }
    static nvme::spec::DiscoveryLogEntry referral(const reactor::Endpoint& to) {
        return record(std::string(nvme::spec::kDiscoveryNqn), nvme::spec::kSubtypeDiscovery,
                      to.address, std::to_string(to.port));
    }
    Task<core::Result<std::vector<backends::nvme_tcp::DiscoveryEntry>>> ask(
        core::Nanos limit = seconds(5)) {
        auto found = co_await backends::nvme_tcp::discover(
            target.endpoint(), "nqn.2024-01.org.example:host", {}, reactor().now() + limit);
        target.break_connections();
        co_await reactor::sleep_for(milliseconds(1));
        co_return found;
    }
};

TEST_F(DiscoveryTest, Log_ofManyRecords_isReadInParts) {
    for (int i = 0; i < 50; ++i) {
        add_record("nqn.x:" + std::to_string(i), nvme::spec::kSubtypeNvm, "4420");
    }
    add_record("nqn.itself", nvme::spec::kSubtypeCurrentDiscovery, "4420");
    add_record("nqn.badport", nvme::spec::kSubtypeNvm, "44x");
    run([this]() -> Task<> {
        const auto found = co_await ask();
        EXPECT_TRUE(found);
        EXPECT_EQ(found->size(), 50U);
        EXPECT_EQ(found->at(49).subnqn, "nqn.x:49");
        EXPECT_EQ(found->at(0).endpoint.text(), "192.0.2.7:4420");
    });
}

TEST_F(DiscoveryTest, Referrals_areFollowedOnceEachAndInACircle) {
    FakeTarget other(reactor());
    add_record("nqn.x:0", nvme::spec::kSubtypeNvm, "4420");
    target.log.push_back(referral(other.endpoint()));
    target.log.push_back(referral(other.endpoint()));
    other.log.push_back(record("nqn.x:1", nvme::spec::kSubtypeNvm, "0.0.0.0", "4421"));
    other.log.push_back(referral(target.endpoint()));
    other.log.push_back(referral(other.endpoint()));
    run([&]() -> Task<> {
        const auto found = co_await ask();
        EXPECT_TRUE(found);
        EXPECT_EQ(found->size(), 2U);
        EXPECT_EQ(found->at(0).subnqn, "nqn.x:0");
        EXPECT_EQ(found->at(1).subnqn, "nqn.x:1");
        EXPECT_EQ(found->at(1).endpoint.text(), other.endpoint().address + ":4421");
        EXPECT_EQ(target.connects, 1);
        EXPECT_EQ(other.connects, 1);
    });
}

TEST_F(DiscoveryTest, Referrals_deadOrTooMany_doNotHoldUpTheRest) {
    std::vector<std::unique_ptr<FakeTarget>> others;
    for (int i = 0; i < 12; ++i) {
        others.push_back(std::make_unique<FakeTarget>(reactor()));
        target.log.push_back(referral(others.back()->endpoint()));
    }
    others[0]->die();
    others[1]->on_pdu = [](FakeConnection&, const nvme::tcp::CommonHeader&,
                           std::span<const std::byte>) { return true; };  // never answers
    others[2]->log.push_back(record("nqn.x:2", nvme::spec::kSubtypeNvm, "192.0.2.7", "4420"));
    run([&]() -> Task<> {
        const auto found = co_await ask(std::chrono::milliseconds(700));
        EXPECT_TRUE(found);
        EXPECT_EQ(found->size(), 1U);
        const auto asked = std::ranges::count_if(
            others, [](const auto& one) { return one->connections_made > 0; });
        EXPECT_EQ(asked, 6);  // eight in all, with the first and the dead one
    });
}

TEST_F(DiscoveryTest, Log_changesWhileRead_isReadAgain) {
    add_record("nqn.x:0", nvme::spec::kSubtypeNvm, "4420");
    int changes = 2;
    target.on_pdu = [&](FakeConnection&, const nvme::tcp::CommonHeader&,
                        std::span<const std::byte>) {
        if (target.log_reads % 3 == 2 && changes > 0) {
            --changes;
            ++target.log_generation;
        }
        return false;
    };
    run([this]() -> Task<> {
        const auto found = co_await ask();
        EXPECT_TRUE(found);
        EXPECT_EQ(found->size(), 1U);
        EXPECT_GE(target.log_reads, 6);
    });
}

TEST_F(DiscoveryTest, Log_neverRests_isUnavailable) {
    add_record("nqn.x:0", nvme::spec::kSubtypeNvm, "4420");
    target.on_pdu = [&](FakeConnection&, const nvme::tcp::CommonHeader&,
                        std::span<const std::byte>) {
        ++target.log_generation;
        return false;
    };
    run([this]() -> Task<> {
        const auto found = co_await ask();
        EXPECT_FALSE(found);
        EXPECT_EQ(found.error().kind, ErrorKind::Unavailable);
    });
}

TEST_F(DiscoveryTest, Silence_endsAtTheDeadline) {
    target.on_pdu = [&](FakeConnection&, const nvme::tcp::CommonHeader&,
                        std::span<const std::byte>) { return true; };
    run([this]() -> Task<> {
        const core::Nanos started = reactor().now();
        const auto found = co_await ask(milliseconds(100));
        EXPECT_FALSE(found);
        EXPECT_EQ(found.error().kind, ErrorKind::DeadlineExceeded);
        EXPECT_LT(reactor().now() - started, seconds(2));
    });
}

TEST_F(DiscoveryTest, NobodyListens_isUnavailable) {
    target.die();
    run([this]() -> Task<> {
        const auto found = co_await ask();
        EXPECT_FALSE(found);
        EXPECT_EQ(found.error().kind, ErrorKind::Unavailable);
    });
}

}  // namespace
}  // namespace remora::test
