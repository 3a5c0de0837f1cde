// SPDX-License-Identifier: Apache-2.0
// Connect, its refusals, who may connect where, and discovery.
#include "tests/unit/nvme_tcp_target/admin_fixture.h"

namespace remora::test {
namespace {

TEST_F(TargetAdmin, Connect_wrongParameters_areNamed) {
    run([&]() -> Task<> {
        co_await start();
        const auto expect = [&](ConnectOptions options, StatusCode code,
                                std::uint32_t dw0) -> Task<> {
            const Outcome outcome = co_await try_connect(options);
            EXPECT_EQ(static_cast<int>(outcome.code()), static_cast<int>(code));
            EXPECT_EQ(outcome.completion.dw0, dw0);
            EXPECT_NE(outcome.status & spec::kDoNotRetry, 0);
        };
        constexpr std::uint32_t kInData = 1U << 16U;
        ConnectOptions options;
        options.subnqn = "nqn.2026-01.test:other";
        co_await expect(options, StatusCode::ConnectInvalidParameters, kInData | 256U);
        options.subnqn = "";
        co_await expect(options, StatusCode::ConnectInvalidParameters, kInData | 256U);
        options.subnqn = std::string(256, 'n');  // does not end inside the field
        co_await expect(options, StatusCode::ConnectInvalidParameters, kInData | 256U);
        options = {};
        options.hostnqn = "";
        co_await expect(options, StatusCode::ConnectInvalidParameters, kInData | 512U);
        options = {};
        options.cntlid = 5;
        co_await expect(options, StatusCode::ConnectInvalidParameters, kInData | 16U);
        options = {};
        options.sqsize = 0;
        co_await expect(options, StatusCode::ConnectInvalidParameters, 44);
        options.sqsize = 1024;
        co_await expect(options, StatusCode::ConnectInvalidParameters, 44);
        options = {};
        options.record_format = 1;
        co_await expect(options, StatusCode::ConnectIncompatibleFormat, 0);
        co_await stop();
    });
}

TEST_F(TargetAdmin, ConnectIo_wrongAssociation_isRefused) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        const auto expect = [&](ConnectOptions options, StatusCode code, std::uint32_t dw0,
                                bool final = true) -> Task<> {
            const Outcome outcome = co_await try_connect(options);
            EXPECT_EQ(static_cast<int>(outcome.code()), static_cast<int>(code));
            EXPECT_EQ(outcome.completion.dw0, dw0);
            EXPECT_EQ((outcome.status & spec::kDoNotRetry) != 0, final);
        };
        constexpr std::uint32_t kInData = 1U << 16U;
        ConnectOptions good;
        good.qid = 1;
        good.cntlid = admin->cntlid;
        ConnectOptions options = good;
        options.cntlid = static_cast<std::uint16_t>(admin->cntlid + 1);
        co_await expect(options, StatusCode::ConnectInvalidParameters, kInData | 16U, false);
        options.cntlid = 0xffff;
        co_await expect(options, StatusCode::ConnectInvalidParameters, kInData | 16U, false);
        options.cntlid = 0;
        co_await expect(options, StatusCode::ConnectInvalidParameters, kInData | 16U, false);
        options = good;
        options.hostnqn = "nqn.2026-01.test:thief";
        co_await expect(options, StatusCode::ConnectInvalidParameters, kInData | 512U);
        options = good;
        options.host_id = 9;
        co_await expect(options, StatusCode::ConnectInvalidParameters, kInData | 0U);
        options = good;
        options.qid = 65;
        co_await expect(options, StatusCode::ConnectInvalidParameters, 42);
        auto io = co_await io_queue(admin->cntlid, 1);
        co_await expect(good, StatusCode::CommandSequenceError, 0, false);  // the queue exists

        // Once the queue is gone its id is free again.
        io.reset();
        StatusCode code = StatusCode::CommandSequenceError;
        while (code == StatusCode::CommandSequenceError) {
            const Outcome again = co_await try_connect(good);
            code = again.code();
        }
        EXPECT_EQ(code, StatusCode::Success);
        co_await stop();
    });
}

TEST_F(TargetAdmin, Connect_noControllerLeft_isBusyForNow) {
    run([&]() -> Task<> {
        limits_.controllers = 1;
        co_await start();
        auto first = co_await admin_queue();
        const Outcome second = co_await try_connect({});
        EXPECT_EQ(second.status, spec::status_field(StatusCode::ConnectControllerBusy));
        first.reset();
        Outcome later = second;
        while (later.code() == StatusCode::ConnectControllerBusy) {
            later = co_await try_connect({});
        }
        EXPECT_EQ(later.status, 0);
        co_await stop();
    });
}

TEST_F(TargetAdmin, ConnectIo_beforeEnable_isRefused) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await RawHost::open(endpoint_);
        const bool greeted = co_await admin->handshake();
        EXPECT_TRUE(greeted);
        const Outcome connected = co_await admin->connect({});
        EXPECT_EQ(connected.status, 0);
        ConnectOptions options;
        options.qid = 1;
        options.cntlid = admin->cntlid;
        const Outcome io = co_await try_connect(options);
        EXPECT_EQ(io.code(), StatusCode::CommandSequenceError);
        const Outcome early = co_await admin->identify(0x01);
        EXPECT_EQ(early.code(), StatusCode::CommandSequenceError);
        co_await stop();
    });
}

TEST_F(TargetAdmin, AllowList_otherHostIsRefusedAndSeesNothing) {
    run([&]() -> Task<> {
        co_await start();
        SubsystemOptions options;
        options.nqn = "nqn.2026-01.test:private";
        options.allowed_hosts = {kHost};
        const auto made = co_await target_->create_subsystem(options);
        EXPECT_TRUE(made.has_value());
        const auto shared = co_await target_->add_listener(options.nqn, endpoint_);
        EXPECT_TRUE(shared.has_value());

        ConnectOptions connect;
        connect.subnqn = options.nqn;
        const Outcome good = co_await try_connect(connect);
        EXPECT_EQ(good.status, 0);
        connect.hostnqn = "nqn.2026-01.test:stranger";
        const Outcome bad = co_await try_connect(connect);
        EXPECT_EQ(bad.code(), StatusCode::ConnectInvalidHost);

        connect.subnqn = std::string(spec::kDiscoveryNqn);
        auto stranger = co_await admin_queue(connect);
        const Outcome one = co_await stranger->log_page(LogPage::Discovery, 0, 1024);
        EXPECT_EQ(as<spec::DiscoveryLogHeader>(one.data).record_count, 2U);
        connect.hostnqn = kHost;
        auto friendly = co_await admin_queue(connect);
        const Outcome two = co_await friendly->log_page(LogPage::Discovery, 0, 1024);
        EXPECT_EQ(as<spec::DiscoveryLogHeader>(two.data).record_count, 3U);
        co_await stop();
    });
}

TEST_F(TargetAdmin, Discovery_logInParts_namesSubsystemAndEndpoint) {
    run([&]() -> Task<> {
        co_await start();
        ConnectOptions connect;
        connect.subnqn = std::string(spec::kDiscoveryNqn);
        auto host = co_await admin_queue(connect);
        const Outcome identified = co_await host->identify(0x01);
        const auto controller = as<spec::IdentifyController>(identified.data);
        EXPECT_EQ(controller.cntrltype, spec::kControllerTypeDiscovery);
        EXPECT_EQ(spec::field_text(controller.subnqn), spec::kDiscoveryNqn);

        std::vector<std::byte> log;
        for (std::uint32_t at = 0; at < 3072; at += 256) {
            const Outcome part = co_await host->log_page(LogPage::Discovery, at, 256);
            EXPECT_EQ(part.status, 0);
            log.insert(log.end(), part.data.begin(), part.data.end());
        }
        const auto header = as<spec::DiscoveryLogHeader>(log);
        EXPECT_EQ(header.record_count, 2U);
        EXPECT_EQ(header.record_format, 0);
        log.erase(log.begin(), log.begin() + 1024);
        const auto self = as<spec::DiscoveryLogEntry>(log);
        EXPECT_EQ(self.subtype, spec::kSubtypeCurrentDiscovery);
        EXPECT_EQ(self.entry_flags, 3U);
        EXPECT_EQ(spec::field_text(self.subnqn), spec::kDiscoveryNqn);
        EXPECT_EQ(spec::field_text(self.service_id), std::to_string(endpoint_.port));
        log.erase(log.begin(), log.begin() + 1024);
        const auto entry = as<spec::DiscoveryLogEntry>(log);
        EXPECT_EQ(entry.transport, spec::kTransportTcp);
        EXPECT_EQ(entry.address_family, spec::kAddressIpv4);
        EXPECT_EQ(entry.subtype, spec::kSubtypeNvm);
        EXPECT_EQ(spec::field_text(entry.subnqn), kSubsystem);
        EXPECT_EQ(spec::field_text(entry.address), "127.0.0.1");
        EXPECT_EQ(spec::field_text(entry.service_id), std::to_string(endpoint_.port));

        const Outcome past = co_await host->log_page(LogPage::Discovery, 4096, 256);
        EXPECT_EQ(past.code(), StatusCode::InvalidField);
        const Outcome other = co_await host->log_page(LogPage::Smart, 0, 512);
        EXPECT_EQ(other.code(), StatusCode::InvalidLogPage);
        connect.qid = 1;
        connect.cntlid = host->cntlid;
        const Outcome io = co_await try_connect(connect);
        EXPECT_EQ(io.code(), StatusCode::ConnectInvalidQueueType);
        co_await stop();
    });
}

TEST_F(TargetAdmin, Discovery_uniqueName_connectsAndIsTold) {
    run([&]() -> Task<> {
        discovery_nqn_ = "nqn.2026-01.test:discovery";
        co_await start();
        ConnectOptions connect;
        connect.subnqn = discovery_nqn_;
        auto host = co_await admin_queue(connect);
        const Outcome identified = co_await host->identify(0x01);
        const auto controller = as<spec::IdentifyController>(identified.data);
        EXPECT_EQ(controller.cntrltype, spec::kControllerTypeDiscovery);
        EXPECT_EQ(spec::field_text(controller.subnqn), discovery_nqn_);
        Outcome log = co_await host->log_page(LogPage::Discovery, 1024, 1024);
        EXPECT_EQ(spec::field_text(as<spec::DiscoveryLogEntry>(log.data).subnqn), discovery_nqn_);
        co_await stop();
    });
}

TEST_F(TargetAdmin, Discovery_referrals_areToldUntilTheyAreOthers) {
    run([&]() -> Task<> {
        co_await start();
        ConnectOptions connect;
        connect.subnqn = std::string(spec::kDiscoveryNqn);
        auto host = co_await admin_queue(connect);
        const std::vector<Referral> referrals{{reactor::Endpoint::tcp("192.0.2.7", 8009)},
                                              {reactor::Endpoint::tcp("2001:db8::7", 8010)}};
        const auto set = co_await target_->set_referrals(referrals);
        EXPECT_TRUE(set.has_value());
        Outcome log = co_await host->log_page(LogPage::Discovery, 0, 5120);
        EXPECT_EQ(as<spec::DiscoveryLogHeader>(log.data).record_count, 4U);
        log.data.erase(log.data.begin(), log.data.begin() + 2048);
        const auto first = as<spec::DiscoveryLogEntry>(log.data);
        EXPECT_EQ(first.subtype, spec::kSubtypeDiscovery);
        EXPECT_EQ(spec::field_text(first.subnqn), spec::kDiscoveryNqn);
        EXPECT_EQ(spec::field_text(first.address), "192.0.2.7");
        EXPECT_EQ(spec::field_text(first.service_id), "8009");
        log.data.erase(log.data.begin(), log.data.begin() + 1024);
        EXPECT_EQ(as<spec::DiscoveryLogEntry>(log.data).address_family, spec::kAddressIpv6);
        const auto cleared = co_await target_->set_referrals({});
        EXPECT_TRUE(cleared.has_value());
        const Outcome less = co_await host->log_page(LogPage::Discovery, 0, 1024);
        EXPECT_EQ(as<spec::DiscoveryLogHeader>(less.data).record_count, 2U);
        const auto refused =
            co_await target_->set_referrals(std::vector<Referral>(17, referrals[0]));
        EXPECT_FALSE(refused.has_value());
        co_await stop();
    });
}

TEST_F(TargetAdmin, Discovery_change_isTold) {
    run([&]() -> Task<> {
        co_await start();
        ConnectOptions connect;
        connect.subnqn = std::string(spec::kDiscoveryNqn);
        auto host = co_await admin_queue(connect);
        const Outcome events = co_await host->set_feature(0x0b, spec::kEventDiscoveryLog);
        EXPECT_EQ(events.status, 0);
        post_event_request(*host, 0x7001);
        SubsystemOptions options;
        options.nqn = "nqn.2026-01.test:late";
        const auto made = co_await target_->create_subsystem(options);
        EXPECT_TRUE(made.has_value());
        const auto at = co_await target_->add_listener(options.nqn, endpoint_);
        EXPECT_TRUE(at.has_value());
        const Outcome event = co_await host->finish(0x7001);
        EXPECT_EQ(event.completion.dw0, spec::kNoticeDiscovery);
        const Outcome log = co_await host->log_page(LogPage::Discovery, 0, 1024);
        EXPECT_EQ(as<spec::DiscoveryLogHeader>(log.data).record_count, 3U);
        co_await stop();
    });
}

TEST_F(TargetAdmin, Listeners_severalOfBothFamilies_leadToTheSameNamespaces) {
    const auto probe = reactor::Endpoint::tcp("::1", 0);
    run([&]() -> Task<> {
        co_await start();
        const auto six = co_await target_->add_listener(kSubsystem, probe);
        if (!six) {
            ADD_FAILURE() << "no IPv6 loopback here: " << six.error().message;
            co_await stop();
            co_return;
        }
        const auto four =
            co_await target_->add_listener(kSubsystem, reactor::Endpoint::tcp("127.0.0.1", 0));
        EXPECT_TRUE(four.has_value());
        const auto data = pattern(512, 9);
        std::uint64_t lba = 0;
        for (const reactor::Endpoint& at : {endpoint_, *six, *four}) {
            endpoint_ = at;
            auto admin = co_await admin_queue();
            auto io = co_await io_queue(admin->cntlid, 1);
            const Outcome written =
                co_await io->perform(make_rw(IoOpcode::Write, lba, 1, true), data);
            EXPECT_EQ(written.status, 0);
            const Outcome read = co_await io->perform(make_rw(IoOpcode::Read, 0, 1));
            EXPECT_EQ(read.data, data) << "what came by the first is there for all";
            ++lba;
        }
        ConnectOptions connect;
        connect.subnqn = std::string(spec::kDiscoveryNqn);
        auto host = co_await admin_queue(connect);
        Outcome log = co_await host->log_page(LogPage::Discovery, 0, 7168);
        EXPECT_EQ(as<spec::DiscoveryLogHeader>(log.data).record_count, 6U);
        int ipv6 = 0;
        for (int record = 0; record < 6; ++record) {
            log.data.erase(log.data.begin(), log.data.begin() + 1024);
            const auto entry = as<spec::DiscoveryLogEntry>(log.data);
            if (entry.address_family == spec::kAddressIpv6) {
                ++ipv6;
                EXPECT_EQ(spec::field_text(entry.address), "::1");
                EXPECT_EQ(spec::field_text(entry.service_id), std::to_string(six->port));
            }
        }
        EXPECT_EQ(ipv6, 2);  // the subsystem and the discovery subsystem
        co_await stop();
    });
}

TEST_F(TargetAdmin, Subsystem_notOnThisListener_isRefusedForNow) {
    run([&]() -> Task<> {
        co_await start();
        SubsystemOptions options;
        options.nqn = "nqn.2026-01.test:elsewhere";
        const auto made = co_await target_->create_subsystem(options);
        EXPECT_TRUE(made.has_value());
        const auto other =
            co_await target_->add_listener(options.nqn, reactor::Endpoint::tcp("127.0.0.1", 0));
        EXPECT_TRUE(other.has_value());
        ConnectOptions connect;
        connect.subnqn = options.nqn;
        const Outcome wrong_door = co_await try_connect(connect);
        EXPECT_EQ(wrong_door.status, spec::status_field(StatusCode::ConnectInvalidParameters));
        EXPECT_EQ(wrong_door.completion.dw0, (1U << 16U) | 256U);
        const auto shared = co_await target_->add_listener(options.nqn, endpoint_);
        EXPECT_TRUE(shared.has_value());
        const Outcome again = co_await try_connect(connect);
        EXPECT_EQ(again.status, 0);
        const auto removed = co_await target_->remove_listener(options.nqn, *other);
        EXPECT_TRUE(removed.has_value());
        const auto gone = co_await target_->remove_listener(options.nqn, *other);
        EXPECT_EQ(gone.error().kind, core::ErrorKind::NotFound);
        co_await stop();
    });
}

}  // namespace
}  // namespace remora::test
