// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/host/host_fixture.h"

namespace remora::sim {

namespace {

TEST_F(SimHostTest, Plug_guestDoesIo_readsWhatItWrote) {
    run([this]() -> Task<> {
        TestDisk& disk = make_disk("disk");
        co_await start(disk);
        start_qemu();
        const auto plugged = co_await platform->plug({0, disk.path, 2});
        EXPECT_TRUE(plugged.has_value()) << plugged.error().message;
        EXPECT_EQ(*plugged, "0000:01:03.0");
        co_await more_io(disk, 5000);
        EXPECT_EQ(guest_of(disk).block_count(), kBlocks);
        co_await drain_and_verify(disk);
        co_await unplug(0);
        EXPECT_EQ(qemu->disk_behind(disk.path), nullptr);
        EXPECT_FALSE(disk.controller->status().connected);
        co_await end();
    });
}

// Every way a driver may set its rings up.
TEST_F(SimHostTest, Plug_otherLayouts_readsWhatItWrote) {
    run([this]() -> Task<> {
        TestDisk& disk = make_disk("disk");
        co_await start(disk);
        SimQemuOptions options;
        options.guest_most = options.chardev_most = std::chrono::milliseconds(2);
        start_qemu(options);
        for (unsigned bits = 0; bits < 64; bits += 5) {
            disk.workload.event_index = (bits & 1U) != 0;
            disk.workload.indirect = (bits & 2U) != 0;
            disk.workload.acknowledge_all = (bits & 4U) != 0;
            disk.workload.memory_regions = (bits & 8U) != 0 ? 2 : 1;
            disk.workload.memory_gap = (bits & 16U) != 0;
            disk.workload.odd_layouts = (bits & 32U) != 0;
            disk.workload.packed = bits % 2 != (bits / 10) % 2;
            disk.workload.queue_size = bits % 3 == 0 ? 32 : 128;
            co_await plug(0, disk);
            co_await more_io(disk, 100);
            co_await drain_and_verify(disk);
            co_await unplug(0);
        }
        co_await end();
    });
}

TEST_F(SimHostTest, BackEnd_stopsAndStartsUnderIo_ioGoesOn) {
    run([this]() -> Task<> {
        TestDisk& disk = make_disk("disk");
        disk.workload.depth = 64;
        co_await start(disk);
        start_qemu();
        co_await plug(0, disk);
        for (int round = 1; round <= 3; ++round) {
            co_await more_io(disk, 2000);
            co_await stop(disk);
            co_await reactor::sleep_for(std::chrono::milliseconds(20));
            EXPECT_FALSE(guest_of(disk).drained());
            co_await start(disk);
        }
        co_await more_io(disk, 2000);
        co_await drain_and_verify(disk);
        co_await unplug(0);
        co_await end();
    });
}

TEST_F(SimHostTest, Connection_dropsUnderIo_nothingIsLost) {
    run([this]() -> Task<> {
        TestDisk& disk = make_disk("disk");
        disk.workload.depth = 32;
        co_await start(disk);
        start_qemu();
        co_await plug(0, disk);
        VhostMaster& master = *qemu->master_behind(disk.path);
        for (int round = 1; round <= 10; ++round) {
            co_await more_io(disk, 200);
            const std::uint64_t before = master.connections();
            master.drop_connection();
            co_await until([&master, before] { return master.connections() > before; });
            co_await more_io(disk, 200);
            master.share_memory_again();
        }
        co_await drain_and_verify(disk);
        co_await unplug(0);
        co_await end();
    });
}

TEST_F(SimHostTest, Guest_reboots_startsAnew) {
    run([this]() -> Task<> {
        TestDisk& disk = make_disk("disk");
        co_await start(disk);
        start_qemu();
        co_await plug(0, disk);
        for (int round = 1; round <= 3; ++round) {
            co_await more_io(disk, 300);
            qemu->master_behind(disk.path)->share_memory_again();
            qemu->reboot_guest();
            co_await until([this, &disk] { return !guest_of(disk).started(); });
        }
        co_await more_io(disk, 300);
        co_await drain_and_verify(disk, guest_of(disk).counts().failed);
        co_await unplug(0);
        co_await end();
    });
}

TEST_F(SimHostTest, Plug_withoutBackEnd_failsAndLeavesNothing) {
    run([this]() -> Task<> {
        TestDisk& disk = make_disk("disk");
        SimQemuOptions options;
        options.realize_limit = std::chrono::milliseconds(200);
        start_qemu(options);
        EXPECT_FALSE((co_await platform->plug({0, disk.path, 2})).has_value());
        const auto list = co_await platform->list();
        EXPECT_TRUE(list.has_value() && list->empty());
        co_await start(disk);
        co_await plug(0, disk);
        co_await more_io(disk, 100);
        co_await end();
    });
}

TEST_F(SimHostTest, Unplug_whileBackEndIsAway_waitsForTheGuest) {
    run([this]() -> Task<> {
        TestDisk& disk = make_disk("disk");
        co_await start(disk);
        platform::QemuLimits limits;
        limits.unplug_total = std::chrono::milliseconds(300);
        limits.unplug_try = std::chrono::milliseconds(100);
        start_qemu({}, limits);
        co_await plug(0, disk);
        co_await more_io(disk, 100);
        co_await stop(disk);
        EXPECT_FALSE((co_await platform->unplug(0)).has_value());
        co_await start(disk);
        co_await until([this, &disk] { return qemu->disk_behind(disk.path) == nullptr; });
        co_await unplug(0);
        co_await end();
    });
}

// A monitor that does its worst: what was asked for comes about once it is calm again.
TEST_F(SimHostTest, Monitor_misbehaves_platformComesThrough) {
    SimQemuOptions options;
    options.guest_most = std::chrono::milliseconds(10);
    options.faults = {.refuse = 100,
                      .late = 100,
                      .late_most = std::chrono::milliseconds(100),
                      .mute = 100,
                      .drop = 700,
                      .unplug_refused = 500,
                      .unplug_refusals = 2,
                      .ejected = 300,
                      .ejected_within = std::chrono::milliseconds(20)};
    platform::QemuLimits limits;
    limits.connect = limits.command = std::chrono::milliseconds(60);
    limits.unplug_try = std::chrono::milliseconds(40);
    limits.unplug_total = std::chrono::milliseconds(200);
    run(
        [&]() -> Task<> {
            TestDisk& disk = make_disk("disk");
            co_await start(disk);
            start_qemu(options, limits);
            for (int round = 0; round < 15; ++round) {
                (void)co_await platform->plug({0, disk.path, 2});
                (void)co_await platform->list();
                (void)co_await platform->unplug(0);
            }
            qemu->set_faults({});
            for (int round = 0; round < 40; ++round) {
                if (co_await platform->unplug(0)) {
                    break;
                }
                co_await reactor::sleep_for(std::chrono::milliseconds(200));
            }
            EXPECT_EQ(qemu->disk_behind(disk.path), nullptr);
            co_await plug(0, disk);
            co_await more_io(disk, 100);
            co_await drain_and_verify(disk);
            co_await end();
        },
        std::chrono::seconds(60));
}

}  // namespace

}  // namespace remora::sim
