// SPDX-License-Identifier: Apache-2.0
// SimHostTest: the simulated host against real controllers over RAM volumes and the real platform,
// all on one real reactor.
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <sys/eventfd.h>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "backends/ram/ram_device.h"
#include "frontends/vhost_user_blk/controller.h"
#include "platform/qemu_platform.h"
#include "reactor/call.h"
#include "tests/sim/host/sim_qemu.h"
#include "tests/sim/host/simple_oracle.h"
#include "tests/support/reactor_fixture.h"

namespace remora::sim {

using frontends::vhost_user_blk::Controller;
using frontends::vhost_user_blk::ControllerSpec;
using reactor::Nanos;
using reactor::Task;

/// A volume, its controller and what its guest does.
struct TestDisk {
    std::string path;
    std::unique_ptr<backends::ram::RamDevice> volume;
    std::unique_ptr<Controller> controller;
    SimpleOracle oracle;
    WorkloadOptions workload;
};

class TestWorld final : public HostWorld {
  public:
    reactor::Handle create_event() override { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }
    VolumeOracle* oracle_for(const std::string& path) override { return &disks.at(path).oracle; }
    WorkloadOptions workload_for(const std::string& path) override {
        return disks.at(path).workload;
    }
    void violation(std::string what) override { ADD_FAILURE() << what; }
    bool errors_allowed(reactor::Nanos /*age*/) override { return false; }
    void trace(std::string_view what, std::uint64_t a, std::uint64_t b) override {
        if (std::getenv("SIM_TRACE") != nullptr) {
            std::printf("%.*s %lu %lu\n", static_cast<int>(what.size()), what.data(), a, b);
        }
    }

    std::map<std::string, TestDisk> disks;
};

class SimHostTest : public test::ReactorFixture {
  public:
    static constexpr std::uint64_t kBlocks = 2048;

    SimHostTest() {
        std::string pattern = testing::TempDir() + "remora-sim-host-XXXXXX";
        folder_ = ::mkdtemp(pattern.data());
        buffers_ = std::move(*memory::BufferPool::create(std::size_t{1} << 20U));
        context_.emplace(block::ReactorContext{reactor(), *buffers_});
    }
    ~SimHostTest() override { std::filesystem::remove_all(folder_); }

    TestDisk& make_disk(const std::string& name) {
        const std::string path = folder_ + "/" + name + ".sock";
        TestDisk& disk = world.disks[path];
        disk.path = path;
        disk.workload.queues = 2;
        disk.workload.memory_regions = 2;
        disk.volume = std::move(*backends::ram::RamDevice::create(
            name, core::Uuid(), SimpleOracle::kBlockSize, kBlocks));
        return disk;
    }
    Task<> start(TestDisk& disk) {
        auto made = co_await Controller::create(
            ControllerSpec{.name = disk.volume->name(), .socket_path = disk.path, .queues = 2},
            *disk.volume, {*context_});
        CHECK(made.has_value());
        disk.controller = std::move(*made);
    }
    Task<> stop(TestDisk& disk) {
        EXPECT_TRUE((co_await disk.controller->stop(std::chrono::seconds(5))).has_value());
        disk.controller.reset();
    }

    void start_qemu(SimQemuOptions options = {}, platform::QemuLimits limits = {}) {
        options.monitor_path = folder_ + "/qmp";
        options.master.reconnect = std::chrono::milliseconds(50);
        qemu = std::make_unique<SimQemu>(reactor(), world, core::Prng(7), options);
        EXPECT_TRUE(qemu->start().has_value());
        platform = std::make_unique<platform::QemuPlatform>(
            reactor::Endpoint::unix_path(options.monitor_path),
            platform::FunctionPlaces{{0, {"bus1", 3}}, {1, {"bus1", 4}}}, limits);
    }
    Task<> plug(std::uint32_t function, TestDisk& disk) {
        const auto plugged = co_await platform->plug({function, disk.path, 2});
        EXPECT_TRUE(plugged.has_value()) << plugged.error().message;
    }
    Task<> unplug(std::uint32_t function) {
        const auto unplugged = co_await platform->unplug(function);
        EXPECT_TRUE(unplugged.has_value()) << unplugged.error().message;
    }
    GuestDisk& guest_of(const TestDisk& disk) { return *qemu->disk_behind(disk.path); }
    /// Everything ends in good order.
    Task<> end() {
        co_await platform->stop();
        co_await qemu->stop();
        for (auto& [path, disk] : world.disks) {
            EXPECT_TRUE(disk.oracle.at_rest());
            if (disk.controller != nullptr) {
                co_await stop(disk);
            }
        }
        qemu.reset();
    }

    /// Waits until `condition()`; fails after `limit`.
    template <typename C>
    Task<> until(C condition, Nanos limit = std::chrono::seconds(15)) {
        const Nanos deadline = reactor().now() + limit;
        while (!condition() && reactor().now() < deadline) {
            co_await reactor::sleep_for(std::chrono::milliseconds(1));
        }
        EXPECT_TRUE(condition());
    }
    /// So many more requests have come back.
    Task<> more_io(TestDisk& disk, std::uint64_t count) {
        GuestDisk& guest = guest_of(disk);
        const std::uint64_t goal = guest.counts().completed + count;
        co_await until([&guest, goal] { return guest.counts().completed >= goal; });
    }
    Task<> drain_and_verify(TestDisk& disk, std::uint64_t failed = 0) {
        GuestDisk& guest = guest_of(disk);
        guest.quiesce();
        co_await until([&guest] { return guest.drained(); });
        EXPECT_EQ(guest.oldest_request(reactor().now()), Nanos{0});
        EXPECT_EQ(guest.counts().issued, guest.counts().completed);
        EXPECT_TRUE(disk.oracle.at_rest());
        guest.verify_all();
        co_await until([&guest] { return guest.verified(); });
        EXPECT_EQ(disk.oracle.wrong, 0U);
        EXPECT_LE(disk.oracle.failed, failed);
    }

    TestWorld world;
    std::unique_ptr<SimQemu> qemu;
    std::unique_ptr<platform::QemuPlatform> platform;

  private:
    std::string folder_;
    std::unique_ptr<memory::BufferPool> buffers_;
    std::optional<block::ReactorContext> context_;
};

}  // namespace remora::sim
