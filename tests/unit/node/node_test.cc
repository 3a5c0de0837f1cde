// SPDX-License-Identifier: Apache-2.0
// LocalNode on real threads: one is the storage target, the other its host.
#include <filesystem>
#include <stdlib.h>
#include <string>
#include <thread>

#include "reactor/call.h"
#include "reactor/gate.h"
#include "tests/unit/node/node_fixture.h"

namespace remora::node {
namespace {

TEST_F(LocalNodeTest, Remote_connected_showsVolumesThatDoIo) {
    serve(8);
    connect();
    host_.run([&]() -> Task<> {
        const auto info = host_.node().find_volume("remoten1");
        EXPECT_TRUE(info);
        EXPECT_EQ(info->geometry.size_bytes(), 8 * core::kMiB);
        BenchmarkSpec load;
        load.volume = "remoten1";
        load.pattern = BenchmarkSpec::Pattern::ReadWrite;
        load.milliseconds = 1000;
        const auto result = co_await host_.node().run_benchmark(load);
        EXPECT_TRUE(result);
        EXPECT_GT(result->operations, 0U);
        EXPECT_EQ(result->errors, 0U);
        const auto stats = co_await host_.node().volume_stats("remoten1");
        EXPECT_TRUE(stats);
        EXPECT_EQ(stats->read.ops + stats->write.ops, result->operations);
    });
    target_.run([&]() -> Task<> {
        const auto deleted = co_await target_.node().delete_volume("first");
        EXPECT_EQ(deleted.error().kind, ErrorKind::FailedPrecondition);
        EXPECT_NE(deleted.error().message.find(kNqn), std::string::npos);
    });
}

TEST_F(LocalNodeTest, Volume_thatGrows_isLargerForItsRemoteHostAtOnce) {
    serve(8);
    connect();
    target_.run([&]() -> Task<> {
        const auto smaller = co_await target_.node().grow_volume("first", 2048);
        EXPECT_EQ(smaller.error().kind, ErrorKind::FailedPrecondition);
        const auto grown = co_await target_.node().grow_volume("first", 24 * 2048);
        EXPECT_TRUE(grown);
        EXPECT_EQ(grown->geometry.size_bytes(), 24 * core::kMiB);
        const auto missing = co_await target_.node().grow_volume("other", 2048);
        EXPECT_EQ(missing.error().kind, ErrorKind::NotFound);
    });
    host_.run([&]() -> Task<> {
        const core::Nanos deadline = reactor::Reactor::current().now() + 10s;
        std::uint64_t size = 0;
        while (size != 24 * core::kMiB && reactor::Reactor::current().now() < deadline) {
            size = host_.node().find_volume("remoten1")->geometry.size_bytes();
            co_await reactor::sleep_for(5ms);
        }
        EXPECT_EQ(size, 24 * core::kMiB);
        BenchmarkSpec load;
        load.volume = "remoten1";
        load.pattern = BenchmarkSpec::Pattern::ReadWrite;
        load.milliseconds = 1000;
        const auto result = co_await host_.node().run_benchmark(load);
        EXPECT_TRUE(result);
        EXPECT_EQ(result->errors, 0U);
        const auto remote = co_await host_.node().grow_volume("remoten1", 48 * 2048);
        EXPECT_EQ(remote.error().kind, ErrorKind::FailedPrecondition);
    });
}

FaultSettings five_errors() {
    FaultSettings settings;
    settings.errors.push_back({.on = kReadsAndWrites, .count = 5});
    return settings;
}

Task<BenchmarkResult> load_for_a_second(LocalNode& node) {
    BenchmarkSpec load;
    load.volume = "first";
    load.pattern = BenchmarkSpec::Pattern::ReadWrite;
    load.queue_depth = 4;
    load.milliseconds = 1000;
    const auto result = co_await node.run_benchmark(load);
    EXPECT_TRUE(result);
    co_return *result;
}

TEST_F(LocalNodeTest, Faults_holdForTheVolumeOfTheName_comeAndGo) {
    target_.run([&]() -> Task<> {
        LocalNode& node = target_.node();
        auto done = co_await node.set_volume_faults("first", five_errors());  // before it is there
        EXPECT_TRUE(done);
        auto counts = co_await node.volume_fault_counts("first");
        EXPECT_EQ(counts.error().kind, ErrorKind::NotFound);
        co_await add_volume("first", 8);
        BenchmarkResult load = co_await load_for_a_second(node);
        EXPECT_EQ(load.errors, 5U);
        const auto stats = co_await node.volume_stats("first");
        EXPECT_EQ(stats->read.errors + stats->write.errors, 5U);
        counts = co_await node.volume_fault_counts("first");
        EXPECT_EQ(counts->errors, 5U);

        done = co_await node.set_volume_faults("first", delays_of(20ms));
        EXPECT_TRUE(done);
        const auto deleted = co_await node.delete_volume("first");
        EXPECT_TRUE(deleted);
        co_await add_volume("first", 8);  // another of its name
        load = co_await load_for_a_second(node);
        EXPECT_LE(load.operations, 4 * 51U);
        counts = co_await node.volume_fault_counts("first");
        EXPECT_EQ(counts->errors, 0U);
        EXPECT_GE(counts->delayed, load.operations);

        done = co_await node.set_volume_faults("first", {});
        EXPECT_TRUE(done);
        load = co_await load_for_a_second(node);
        EXPECT_GT(load.operations, 4 * 51U);
        counts = co_await node.volume_fault_counts("first");
        EXPECT_EQ(*counts, FaultCounts{});
    });
}

TEST_F(LocalNodeTest, Faults_thatCannotBeObeyed_changeNothing) {
    target_.run([&]() -> Task<> {
        LocalNode& node = target_.node();
        co_await add_volume("first", 8);
        const auto refused = co_await node.set_volume_faults("first", delays_of(0ms));
        EXPECT_EQ(refused.error().kind, ErrorKind::InvalidArgument);
        EXPECT_TRUE(refused.error().message.contains("delays[0].mean"));
        const auto counts = co_await node.volume_fault_counts("first");
        EXPECT_EQ(*counts, FaultCounts{});
    });
}

TEST_F(LocalNodeTest, Faults_changedUnderLoad_failNothing) {
    target_.run([&]() -> Task<> {
        LocalNode& node = target_.node();
        co_await add_volume("first", 8);
        BenchmarkResult load;
        reactor::Gate gate;
        gate.spawn(
            [](LocalNode* loaded, BenchmarkResult* result) -> Task<> {
                *result = co_await load_for_a_second(*loaded);
            },
            &node, &load);
        int rounds = 0;
        for (; gate.inside() > 0; ++rounds) {
            auto done = co_await node.set_volume_faults("first", delays_of(1ms));
            EXPECT_TRUE(done);
            done = co_await node.set_volume_faults("first", delays_of(60s));
            EXPECT_TRUE(done);
            const auto counts = co_await node.volume_fault_counts("first");
            EXPECT_TRUE(counts);
            done = co_await node.set_volume_faults("first", {});
            EXPECT_TRUE(done);
        }
        co_await gate.close();
        EXPECT_GT(rounds, 1);
        EXPECT_GT(load.operations, 0U);
        EXPECT_EQ(load.errors, 0U);
    });
}

TEST_F(LocalNodeTest, Faults_thatHoldIoUp_areNoneForAStop) {
    serve(8);
    connect();
    reactor::Gate gate;
    target_.run([&]() -> Task<> {
        const auto done = co_await target_.node().set_volume_faults("first", delays_of(60s));
        EXPECT_TRUE(done);
    });
    host_.run([&]() -> Task<> {
        gate.spawn(
            [](LocalNode* node) -> Task<> {
                const auto result =
                    co_await node->run_benchmark({.volume = "remoten1", .milliseconds = 1000});
                EXPECT_TRUE(result);
            },
            &host_.node());
        co_return;
    });
    target_.run([&]() -> Task<> {
        std::uint64_t held = 0;
        while (held == 0) {
            const auto counts = co_await target_.node().volume_fault_counts("first");
            held = counts->delayed;
        }
    });
    const auto begin = std::chrono::steady_clock::now();
    target_.stop();
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 30s) << "not until the minute is over";
    host_.run([&]() -> Task<> { co_await gate.close(); });
}

TEST_F(LocalNodeTest, Faults_changedByTwo_oneIsAborted) {
    target_.run([&]() -> Task<> {
        LocalNode& node = target_.node();
        co_await add_volume("first", 8);
        Result<void> first;
        reactor::Gate gate;
        gate.spawn(
            [](LocalNode* changed, Result<void>* result) -> Task<> {
                *result = co_await changed->set_volume_faults("first", delays_of(1ms));
            },
            &node, &first);
        auto second = co_await node.set_volume_faults("first", {});
        EXPECT_EQ(second.error().kind, ErrorKind::Aborted);
        const auto deleted = co_await node.delete_volume("first");
        EXPECT_EQ(deleted.error().kind, ErrorKind::FailedPrecondition) << "it stays meanwhile";
        co_await gate.close();
        EXPECT_TRUE(first);
        second = co_await node.set_volume_faults("first", {});
        EXPECT_TRUE(second);
    });
}

TEST_F(LocalNodeTest, Remote_namespaceNumberReused_showsTheNewVolume) {
    serve(8);
    connect();
    target_.run([&]() -> Task<> {
        const auto removed = co_await target_.node().remove_namespace(kNqn, 1);
        EXPECT_TRUE(removed);
        co_await add_volume("second", 16);
        const auto nsid = co_await target_.node().add_namespace(space_on("second"));
        EXPECT_EQ(nsid.value_or(0), 1U);
    });
    host_.run([&]() -> Task<> {
        // The host hears of it by an event; until then it may still show the old one.
        const core::Nanos deadline = reactor::Reactor::current().now() + 10s;
        std::uint64_t size = 0;
        while (size != 16 * core::kMiB && reactor::Reactor::current().now() < deadline) {
            const auto live = co_await host_.node().wait_remote("remote", 10s);
            EXPECT_TRUE(live);
            const auto info = host_.node().find_volume("remoten1");
            size = info ? info->geometry.size_bytes() : 0;
            co_await reactor::sleep_for(5ms);
        }
        EXPECT_EQ(size, 16 * core::kMiB);
    });
}

TEST_F(LocalNodeTest, VhostBlk_onVolume_pinsItUntilRemoved) {
    std::string pattern = (std::filesystem::temp_directory_path() / "remora-XXXXXX").string();
    const std::string directory = mkdtemp(pattern.data());
    serve(8);
    connect();
    host_.run([&]() -> Task<> {
        Node& node = host_.node();
        auto made =
            co_await node.create_vhost_blk(disk_on("remoten1", "disk", directory + "/disk"));
        EXPECT_TRUE(made);
        made = co_await node.create_vhost_blk(disk_on("nothing", "other", directory + "/other"));
        EXPECT_EQ(made.error().kind, ErrorKind::NotFound);
        auto deleted = co_await node.delete_remote("remote");
        EXPECT_EQ(deleted.error().kind, ErrorKind::FailedPrecondition);
        EXPECT_NE(deleted.error().message.find("'disk'"), std::string::npos);
        const auto status = co_await node.vhost_blk_status("disk");
        EXPECT_TRUE(status);
        EXPECT_FALSE(status->connected);
        deleted = co_await node.delete_vhost_blk("disk");
        EXPECT_TRUE(deleted);
        EXPECT_FALSE(std::filesystem::exists(directory + "/disk"));
        deleted = co_await node.delete_remote("remote");
        EXPECT_TRUE(deleted);
        EXPECT_FALSE(node.find_volume("remoten1"));
    });
    std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace remora::node
