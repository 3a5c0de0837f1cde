// SPDX-License-Identifier: Apache-2.0
// The target over two reactors with threads of their own.
#include "reactor/call.h"
#include "tests/unit/nvme_tcp_target/threads_fixture.h"

namespace remora::test {
namespace {

TEST_F(TargetThreads, QueuesOfOneController_liveOnBothReactors) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await queue(0, spec::kDynamicController);
        std::vector<std::unique_ptr<RawHost>> ios;
        for (std::uint16_t qid = 1; qid <= 4; ++qid) {
            ios.push_back(co_await queue(qid, admin->cntlid));
        }
        const TargetStats stats = co_await target_->stats();
        EXPECT_EQ(stats.controllers, 1U);
        EXPECT_EQ(stats.connections.size(), 5U);
        std::set<std::uint32_t> reactors;
        for (const auto& connection : stats.connections) {
            reactors.insert(connection.reactor);
        }
        EXPECT_EQ(reactors.size(), 2U);
        for (std::uint32_t round = 0; round < 20; ++round) {
            for (std::uint32_t i = 0; i < 4; ++i) {
                const std::uint64_t lba = i * 1000 + round * 16;
                const auto data = pattern(8192, lba);
                const bool in_capsule = round % 2 == 0;
                const Outcome written =
                    co_await ios[i]->perform(make_rw(IoOpcode::Write, lba, 16, in_capsule), data);
                EXPECT_EQ(written.status, 0);
                const Outcome read = co_await ios[i]->perform(make_rw(IoOpcode::Read, lba, 16));
                EXPECT_EQ(read.data, data);
            }
        }
        // The admin queue goes: all others follow, on both reactors.
        admin.reset();
        for (auto& io : ios) {
            const bool ended = co_await io->wait_end();
            EXPECT_TRUE(ended);
        }
        co_await target_->stop();
        target_.reset();
        EXPECT_EQ(device_.open_channels, 0);
    });
}

TEST_F(TargetThreads, ControllerList_hasThoseOfAllReactors) {
    run([&]() -> Task<> {
        co_await start();
        std::vector<std::unique_ptr<RawHost>> admins;
        std::set<std::uint16_t> ids;
        for (int i = 0; i < 5; ++i) {
            admins.push_back(co_await queue(0, spec::kDynamicController));
            ids.insert(admins.back()->cntlid);
        }
        for (const auto& admin : admins) {
            const Outcome outcome = co_await admin->identify(0x13);
            EXPECT_EQ(outcome.status, 0);
            spec::ControllerList list;
            std::memcpy(&list, outcome.data.data(), sizeof(list));
            EXPECT_EQ(list.count, 5U);
            std::size_t at = 0;
            for (const std::uint16_t id : ids) {
                EXPECT_EQ(list.cntlid[at++], id);
            }
        }
        // One asks and leaves: its question ends without it.
        spec::Command command = make_command(0x06, 0, spec::kIdentifyBytes, false);
        command.cdw10 = 0x13U;
        command.cid = 77;
        admins[0]->send(admins[0]->capsule(command));
        admins[0].reset();
        co_await stop();
    });
}

TEST_F(TargetThreads, ConfigurationChanges_whileHostsComeAndGo) {
    run([&]() -> Task<> {
        co_await start();
        MemoryDevice second("second", 1000, 4096);
        for (int round = 0; round < 15; ++round) {
            auto admin = co_await queue(0, spec::kDynamicController);
            auto one = co_await queue(1, admin->cntlid);
            auto two = co_await queue(2, admin->cntlid);
            NamespaceOptions options;
            options.device = &second;
            const auto added = co_await target_->add_namespace(kSubsystem, options);
            EXPECT_EQ(*added, 2U);
            const auto data = pattern(4096, 7);
            spec::Command write = make_rw(IoOpcode::Write, 1, 1, true, 2);
            write.sgl.length = 4096U;
            const Outcome written = co_await one->perform(write, data);
            EXPECT_EQ(written.status, 0);
            // Reads are on their way while the namespace goes.
            for (std::uint16_t i = 0; i < 20; ++i) {
                spec::Command read = make_rw(IoOpcode::Read, i, 1, false, 2);
                read.sgl.length = 4096U;
                read.cid = static_cast<std::uint16_t>(500 + i);
                two->send(two->capsule(read));
            }
            const auto removed = co_await target_->remove_namespace(kSubsystem, 2);
            EXPECT_TRUE(removed.has_value());
            EXPECT_EQ(second.open_channels, 0);
            if (round % 3 == 0) {
                one.reset();  // the queue goes before its controller
            }
        }
        const auto deleted = co_await target_->delete_subsystem(kSubsystem);
        EXPECT_TRUE(deleted.has_value());
        EXPECT_EQ(device_.open_channels, 0);
        co_await target_->stop();
        target_.reset();
    });
}

TEST_F(TargetThreads, Connect_afterTheHostWasKilled_waitsForIoOnAnyReactor) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await queue(0, spec::kDynamicController);  // on the first reactor
        auto io = co_await queue(1, admin->cntlid);                // on the second
        reactor::Reactor& there = threads_[1]->reactor();
        co_await reactor::call_on(there, [&] { device_.hold = true; });
        const auto data = pattern(4096, 1);
        spec::Command write = make_rw(IoOpcode::Write, 0, 8, true);
        write.cid = 500;
        io->send(io->capsule(write, data));
        std::size_t held = 0;
        while (held == 0) {
            held = co_await reactor::call_on(there, [&] { return device_.held_count(); });
        }
        admin.reset();
        io.reset();
        std::vector<std::unique_ptr<RawHost>> next;  // one on each reactor
        for (int i = 0; i < 2; ++i) {
            next.push_back(co_await RawHost::open(endpoint_));
            const bool greeted = co_await next.back()->handshake();
            EXPECT_TRUE(greeted);
            const auto connect = RawHost::connect_data({});
            next.back()->send(
                next.back()->capsule(RawHost::connect_command({}), core::as_bytes_of(connect)));
        }
        for (auto& host : next) {
            const auto early = co_await host->next(std::chrono::milliseconds(50));
            EXPECT_FALSE(early.has_value());
        }
        co_await reactor::call_on(there, [&] { device_.release(); });
        for (auto& host : next) {
            const Outcome connected = co_await host->finish(0);
            EXPECT_EQ(connected.status, 0);
        }
        EXPECT_EQ(std::memcmp(device_.memory().data(), data.data(), data.size()), 0);
        co_await target_->stop();
        target_.reset();
    });
}

TEST_F(TargetThreads, Stop_withHostsConnectingAndWorking_endsCleanly) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await queue(0, spec::kDynamicController);
        std::vector<std::unique_ptr<RawHost>> ios;
        for (std::uint16_t qid = 1; qid <= 3; ++qid) {
            ios.push_back(co_await queue(qid, admin->cntlid));
            for (std::uint16_t i = 0; i < 20; ++i) {
                spec::Command read = make_rw(IoOpcode::Read, i * 8U, 8);
                read.cid = i;
                ios.back()->send(ios.back()->capsule(read));
            }
        }
        std::vector<std::unique_ptr<RawHost>> half;
        for (std::uint16_t qid = 4; qid <= 9; ++qid) {
            auto host = co_await RawHost::open(endpoint_);
            tcp::IcReq request{};
            request.header = {0, 0, 128, 0, 128U};
            host->send_struct(request);
            ConnectOptions options;
            options.qid = qid;
            options.cntlid = admin->cntlid;
            const auto data = RawHost::connect_data(options);
            host->send(host->capsule(RawHost::connect_command(options), core::as_bytes_of(data)));
            half.push_back(std::move(host));
        }
        co_await target_->stop();
        target_.reset();
        EXPECT_EQ(device_.open_channels, 0);
        for (auto& host : half) {
            const bool ended = co_await host->wait_end();
            EXPECT_TRUE(ended);
        }
    });
}

}  // namespace
}  // namespace remora::test
