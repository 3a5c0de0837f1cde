// SPDX-License-Identifier: Apache-2.0
// The commands a Linux host sends from connect to disconnect, in its order: nvme-tcp of Linux 6.12.
#include "tests/unit/nvme_tcp_target/admin_fixture.h"

namespace remora::test {
namespace {

class TargetLinux : public TargetAdmin {
  public:
    /// nvme_tcp_configure_admin_queue: connect, CAP, CC.EN, CSTS.RDY, VS.
    Task<std::unique_ptr<RawHost>> configure_admin_queue() {
        auto admin = co_await RawHost::open(endpoint_);
        const bool greeted = co_await admin->handshake();
        EXPECT_TRUE(greeted);
        EXPECT_EQ(admin->ic_resp.cpda, 0);
        EXPECT_EQ(admin->ic_resp.maxh2cdata, 262144U);
        ConnectOptions options;
        options.keep_alive_ms = 5000;
        const Outcome connected = co_await admin->connect(options);
        EXPECT_EQ(connected.status, 0);
        EXPECT_NE(admin->cntlid, 0);
        const std::uint64_t cap = co_await admin->property_get(spec::kPropertyCap, true);
        EXPECT_EQ(cap & spec::cap::kMqesMask, 1023U);
        EXPECT_NE(cap & spec::cap::kContiguousQueues, 0U);
        EXPECT_NE(cap & spec::cap::kNvmCommandSet, 0U);
        const bool ready = co_await admin->enable();
        EXPECT_TRUE(ready);
        const std::uint64_t version = co_await admin->property_get(spec::kPropertyVs);
        EXPECT_EQ(version, spec::kVersion14);
        co_return admin;
    }

    /// nvme_init_ctrl_finish: what the host refuses a controller for.
    static Task<> init_controller(RawHost& admin) {
        const Outcome identified = co_await admin.identify(0x01);
        const auto controller = as<spec::IdentifyController>(identified.data);
        EXPECT_EQ(controller.cntlid, admin.cntlid);
        EXPECT_EQ(controller.kas, 1);
        EXPECT_EQ(controller.cntrltype, spec::kControllerTypeIo);
        EXPECT_EQ(controller.icdoff, 0);
        EXPECT_EQ(controller.ioccsz, (64U + 16384U) / 16);
        EXPECT_EQ(controller.sgls & 3U, 1U);
        EXPECT_EQ(controller.mdts, 6);
        EXPECT_EQ(spec::field_text(controller.subnqn), kSubsystem);
        EXPECT_EQ(spec::field_text(controller.mn), "Remora");
        const Outcome limits = co_await admin.identify(0x06);
        EXPECT_EQ(limits.status, 0);
        const Outcome effects = co_await admin.log_page(LogPage::CommandEffects, 0, 4096);
        EXPECT_NE(as<spec::CommandEffectsLog>(effects.data).io[1] & spec::kEffectSupported, 0U);
        const Outcome smart = co_await admin.log_page(LogPage::Smart, 0, 512);
        EXPECT_EQ(as<spec::SmartLog>(smart.data).available_spare, 100);
    }

    /// nvme_start_ctrl and nvme_scan_work: events, then what namespaces there are.
    Task<> scan(RawHost& admin) {
        const Outcome events = co_await admin.set_feature(0x0b, spec::kEventNamespaceAttribute);
        EXPECT_EQ(events.status, 0);
        post_event_request(admin, 0x7000);
        const Outcome keep_alive = co_await admin.perform(make_command(0x18, 0, 0, false));
        EXPECT_EQ(keep_alive.status, 0);
        const Outcome active = co_await admin.identify(0x02);
        EXPECT_EQ(as<core::le32>(active.data), 1U);
        const Outcome ids = co_await admin.identify(0x03, 1);
        EXPECT_EQ(ids.data[0], std::byte{spec::kNidUuid});
        EXPECT_EQ(std::memcmp(ids.data.data() + 4, device_.uuid().bytes.data(), 16), 0);
        const Outcome ns = co_await admin.identify(0x00, 1);
        const auto identify = as<spec::IdentifyNamespace>(ns.data);
        EXPECT_EQ(identify.nsze, 8192U);
        EXPECT_EQ(identify.lbaf[0].lba_shift, 9);
    }

    static Task<> shut_down(RawHost& admin) {
        const Outcome shutdown = co_await admin.property_set(
            spec::kPropertyCc,
            spec::cc::kNvmEntrySizes | spec::cc::kEnable | spec::cc::kShutdownNormal);
        EXPECT_EQ(shutdown.status, 0);
        std::uint64_t csts = 0;
        while ((csts & spec::csts::kShutdownMask) != spec::csts::kShutdownDone) {
            csts = co_await admin.property_get(spec::kPropertyCsts);
        }
    }
};

TEST_F(TargetLinux, ConnectSequence_works) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await configure_admin_queue();
        co_await init_controller(*admin);
        const Outcome queues = co_await admin->set_feature(0x07, spec::number_of_queues(2, 2));
        EXPECT_GE(queues.completion.dw0 & 0xffffU, 1U);
        ConnectOptions options;
        options.sqsize = 127;
        auto io1 = co_await io_queue(admin->cntlid, 1, 0, options);
        auto io2 = co_await io_queue(admin->cntlid, 2, 0, options);
        co_await scan(*admin);
        const Outcome read = co_await io2->perform(make_rw(IoOpcode::Read, 0, 8));
        EXPECT_EQ(read.status, 0);
        // nvme_tcp_teardown: I/O queues close, then shutdown on the admin queue.
        io1.reset();
        io2.reset();
        co_await shut_down(*admin);
        co_await stop();
    });
}

}  // namespace
}  // namespace remora::test
