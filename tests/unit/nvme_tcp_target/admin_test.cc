// SPDX-License-Identifier: Apache-2.0
// Admin queues: life cycle, events, keep alive, features, configuration.
#include "tests/unit/nvme_tcp_target/admin_fixture.h"

namespace remora::test {
namespace {

TEST_F(TargetAdmin, NamespaceAddedAndRemoved_hostIsToldOnceUntilItReads) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        post_event_request(*admin, 0x7000);
        post_event_request(*admin, 0x7001);
        MemoryDevice second("second", 100, 4096);
        NamespaceOptions options;
        options.device = &second;
        const auto added = co_await target_->add_namespace(kSubsystem, options);
        EXPECT_EQ(*added, 2U);
        const Outcome event = co_await admin->finish(0x7000);
        EXPECT_EQ(event.completion.dw0, spec::kNoticeNamespaces);
        const auto removed = co_await target_->remove_namespace(kSubsystem, 1);
        EXPECT_TRUE(removed.has_value());
        const Outcome active = co_await admin->identify(0x02);
        EXPECT_EQ(as<core::le32>(active.data), 2U);
        const Outcome allocated = co_await admin->identify(0x10);
        EXPECT_EQ(allocated.data, active.data);
        const Outcome of_allocated = co_await admin->identify(0x11, 2);
        EXPECT_EQ(as<spec::IdentifyNamespace>(of_allocated.data).nsze, 100U);
        EXPECT_TRUE(admin->others.empty());  // masked until the log is read
        const Outcome log = co_await admin->log_page(LogPage::ChangedNamespaces, 0, 4096);
        const auto changed = as<spec::ChangedNamespacesLog>(log.data);
        EXPECT_EQ(changed.nsid[0], 1U);
        EXPECT_EQ(changed.nsid[1], 2U);
        EXPECT_TRUE(admin->others.empty());
        const auto second_gone = co_await target_->remove_namespace(kSubsystem, 2);
        EXPECT_TRUE(second_gone.has_value());
        const Outcome next = co_await admin->finish(0x7001);
        EXPECT_EQ(next.completion.dw0, spec::kNoticeNamespaces);
        const Outcome gone = co_await admin->identify(0x03, 1);
        EXPECT_EQ(gone.code(), StatusCode::InvalidNamespace);
        const Outcome inactive = co_await admin->identify(0x00, 1);
        EXPECT_EQ(inactive.status, 0);
        EXPECT_EQ(as<spec::IdentifyNamespace>(inactive.data).nsze, 0U);
        co_await stop();
        EXPECT_EQ(second.open_channels, 0);
    });
}

TEST_F(TargetAdmin, NamespaceGrew_isToldAndUsable) {
    run([&]() -> Task<> {
        block::Geometry small = device_.geometry();
        const block::Geometry large = small;
        small.block_count = 100;
        device_.set_geometry(small);
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid);
        const Outcome outside = co_await io->perform(make_rw(IoOpcode::Read, 100, 1));
        EXPECT_EQ(outside.code(), StatusCode::LbaOutOfRange);
        post_event_request(*admin, 0x7000);
        device_.set_geometry(large);
        const auto refreshed = co_await target_->refresh_namespace(kSubsystem, 1);
        EXPECT_TRUE(refreshed.has_value());
        const Outcome event = co_await admin->finish(0x7000);
        EXPECT_EQ(event.completion.dw0, spec::kNoticeNamespaces);
        const Outcome inside = co_await io->perform(make_rw(IoOpcode::Read, 100, 1));
        EXPECT_EQ(inside.status, 0);
        co_await stop();
    });
}

TEST_F(TargetAdmin, KeepAlive_missing_endsAssociationAndItsQueues) {
    run([&]() -> Task<> {
        co_await start();
        ConnectOptions options;
        options.keep_alive_ms = 500;
        auto admin = co_await admin_queue(options);
        auto io = co_await io_queue(admin->cntlid);
        const bool ended = co_await admin->wait_end();
        EXPECT_TRUE(ended);
        const bool io_ended = co_await io->wait_end();
        EXPECT_TRUE(io_ended);
        const TargetStats stats = co_await target_->stats();
        EXPECT_EQ(stats.keep_alive_timeouts, 1U);
        co_await stop();
    });
}

TEST_F(TargetAdmin, Reset_closesIoQueues_thenTheControllerEnablesAgain) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid);
        const Outcome reset = co_await admin->property_set(spec::kPropertyCc, 0);
        EXPECT_EQ(reset.status, 0);
        const bool closed = co_await io->wait_end();
        EXPECT_TRUE(closed);
        std::uint64_t csts = spec::csts::kReady;
        while (csts != 0) {
            csts = co_await admin->property_get(spec::kPropertyCsts);
        }
        const bool ready = co_await admin->enable();
        EXPECT_TRUE(ready);
        auto again = co_await io_queue(admin->cntlid);
        const Outcome read = co_await again->perform(make_rw(IoOpcode::Read, 0, 1));
        EXPECT_EQ(read.status, 0);
        co_await stop();
    });
}

TEST_F(TargetAdmin, Enable_unsupportedPageSize_isFatalStatus) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await RawHost::open(endpoint_);
        const bool greeted = co_await admin->handshake();
        EXPECT_TRUE(greeted);
        const Outcome connected = co_await admin->connect({});
        EXPECT_EQ(connected.status, 0);
        const Outcome set = co_await admin->property_set(
            spec::kPropertyCc,
            spec::cc::kNvmEntrySizes | spec::cc::kEnable | (1U << spec::cc::kMpsShift));
        EXPECT_EQ(set.status, 0);
        const std::uint64_t csts = co_await admin->property_get(spec::kPropertyCsts);
        EXPECT_EQ(csts, spec::csts::kFatal);
        co_await stop();
    });
}

TEST_F(TargetAdmin, AdminClosed_takesItsIoQueuesAlongAndHarmsNoOther) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid);
        auto other = co_await admin_queue();
        auto other_io = co_await io_queue(other->cntlid);
        EXPECT_NE(admin->cntlid, other->cntlid);
        admin.reset();
        const bool closed = co_await io->wait_end();
        EXPECT_TRUE(closed);
        const Outcome read = co_await other_io->perform(make_rw(IoOpcode::Read, 0, 1));
        EXPECT_EQ(read.status, 0);
        co_await stop();
    });
}

TEST_F(TargetAdmin, DeleteSubsystem_disconnectsItsHosts) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid);
        const auto deleted = co_await target_->delete_subsystem(kSubsystem);
        EXPECT_TRUE(deleted.has_value());
        EXPECT_EQ(device_.open_channels, 0);
        const bool closed = co_await io->wait_end();
        EXPECT_TRUE(closed);
        const auto again = co_await target_->delete_subsystem(kSubsystem);
        EXPECT_EQ(again.error().kind, core::ErrorKind::NotFound);
        co_await stop();
    });
}

TEST_F(TargetAdmin, Features_eventLimitAbortAndUnknownOnes) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        for (std::uint16_t i = 0; i < 4; ++i) {
            post_event_request(*admin, static_cast<std::uint16_t>(0x7000 + i));
        }
        const Outcome fifth = co_await admin->perform(make_command(0x0c, 0, 0, false));
        EXPECT_EQ(fifth.code(), StatusCode::AsyncEventLimitExceeded);

        spec::Command abort = make_command(0x08, 0, 0, false);
        abort.cdw10 = 0x70020000U;
        const Outcome aborted = co_await admin->perform(abort);
        EXPECT_EQ(aborted.completion.dw0 & 1U, 0U);
        EXPECT_EQ(admin->others.size(), 1U);
        EXPECT_EQ(admin->others[0].cid, 0x7002);
        abort.cdw10 = 0x12340001U;
        const Outcome nothing = co_await admin->perform(abort);
        EXPECT_EQ(nothing.completion.dw0 & 1U, 1U);

        const Outcome unknown = co_await admin->set_feature(0xc0, 0);
        EXPECT_EQ(unknown.code(), StatusCode::InvalidField);
        const Outcome cache_off = co_await admin->set_feature(0x06, 0);
        EXPECT_EQ(cache_off.code(), StatusCode::FeatureNotChangeable);
        const Outcome timer = co_await admin->set_feature(0x0f, 1234);
        EXPECT_EQ(timer.status, 0);
        spec::Command get = make_command(0x0a, 0, 0, false);
        get.cdw10 = 0x0fU;
        const Outcome got = co_await admin->perform(get);
        EXPECT_EQ(got.completion.dw0, 1300U);  // counted in 100 ms
        const Outcome opcode = co_await admin->perform(make_command(0x7e, 0, 0, false));
        EXPECT_EQ(opcode.code(), StatusCode::InvalidOpcode);
        const Outcome cns = co_await admin->identify(0x55);
        EXPECT_EQ(cns.code(), StatusCode::InvalidField);
        co_await stop();
    });
}

TEST_F(TargetAdmin, ControllerLists_haveWhatLives_andRefuseOtherNamespaces) {
    run([&]() -> Task<> {
        co_await start();
        auto first = co_await admin_queue();
        auto second = co_await admin_queue();
        ConnectOptions discovery;
        discovery.subnqn = std::string(spec::kDiscoveryNqn);
        auto elsewhere = co_await admin_queue(discovery);
        const Outcome both = co_await first->identify(0x13);
        EXPECT_EQ(both.status, 0);
        auto list = as<spec::ControllerList>(both.data);
        EXPECT_EQ(list.count, 2U);
        EXPECT_EQ(list.cntlid[0], first->cntlid);
        EXPECT_EQ(list.cntlid[1], second->cntlid);
        spec::Command command = make_command(0x06, 1, spec::kIdentifyBytes, false);
        command.cdw10 = 0x12U | (std::uint32_t{second->cntlid} << 16U);
        const Outcome attached = co_await first->perform(command);
        list = as<spec::ControllerList>(attached.data);
        EXPECT_EQ(list.count, 1U);
        EXPECT_EQ(list.cntlid[0], second->cntlid);
        second.reset();
        do {
            const Outcome left = co_await first->identify(0x12, 1);
            list = as<spec::ControllerList>(left.data);
        } while (list.count != 1U);
        EXPECT_EQ(list.cntlid[0], first->cntlid);

        const Outcome none = co_await first->identify(0x12, 0);
        EXPECT_EQ(none.code(), StatusCode::InvalidNamespace);
        const Outcome outside = co_await first->identify(0x12, 1025);
        EXPECT_EQ(outside.code(), StatusCode::InvalidNamespace);
        const Outcome inactive = co_await first->identify(0x12, 2);
        EXPECT_EQ(inactive.code(), StatusCode::InvalidField);
        const Outcome all = co_await first->identify(0x12, spec::kBroadcastNsid);
        EXPECT_EQ(all.code(), StatusCode::InvalidField);
        const Outcome discovered = co_await elsewhere->identify(0x13);
        EXPECT_EQ(discovered.code(), StatusCode::InvalidField);
        co_await stop();
    });
}

TEST_F(TargetAdmin, Configuration_badCallsAreRefusedWithASentence) {
    run([&]() -> Task<> {
        co_await start();
        SubsystemOptions options;
        options.nqn = kSubsystem;
        const auto twice = co_await target_->create_subsystem(options);
        EXPECT_EQ(twice.error().kind, core::ErrorKind::AlreadyExists);
        options.nqn = "no nqn";
        const auto bad = co_await target_->create_subsystem(options);
        EXPECT_EQ(bad.error().kind, core::ErrorKind::InvalidArgument);
        options.nqn = std::string(spec::kDiscoveryNqn);
        const auto well_known = co_await target_->create_subsystem(options);
        EXPECT_EQ(well_known.error().kind, core::ErrorKind::InvalidArgument);
        options.nqn = "nqn.2026-01.test:x";
        options.serial = std::string(21, '1');
        const auto serial = co_await target_->create_subsystem(options);
        EXPECT_EQ(serial.error().kind, core::ErrorKind::InvalidArgument);
        const auto wildcard =
            co_await target_->add_listener(kSubsystem, reactor::Endpoint::tcp("0.0.0.0", 4420));
        EXPECT_EQ(wildcard.error().kind, core::ErrorKind::InvalidArgument);
        const auto again = co_await target_->add_listener(kSubsystem, endpoint_);
        EXPECT_EQ(*again, endpoint_);

        NamespaceOptions ns;
        ns.device = &device_;
        ns.nsid = 1;
        const auto taken = co_await target_->add_namespace(kSubsystem, ns);
        EXPECT_EQ(taken.error().kind, core::ErrorKind::AlreadyExists);
        ns.nsid = 5000;
        const auto large = co_await target_->add_namespace(kSubsystem, ns);
        EXPECT_EQ(large.error().kind, core::ErrorKind::InvalidArgument);
        ns.nsid = 0;
        device_.refuse_channels = true;
        const auto refused = co_await target_->add_namespace(kSubsystem, ns);
        EXPECT_EQ(refused.error().kind, core::ErrorKind::ResourceExhausted);
        device_.refuse_channels = false;
        const auto missing = co_await target_->remove_namespace(kSubsystem, 7);
        EXPECT_EQ(missing.error().kind, core::ErrorKind::NotFound);
        co_await stop();
    });
}

}  // namespace
}  // namespace remora::test
