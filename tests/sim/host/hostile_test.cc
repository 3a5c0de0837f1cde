// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/host/host_fixture.h"

namespace remora::sim {

namespace {

/// One way to lie each, then all at once, beside a good guest.
class HostileHostTest : public SimHostTest, public testing::WithParamInterface<std::uint32_t> {};

TEST_P(HostileHostTest, Guest_lies_itsNeighbourIsNotHurt) {
    run([this]() -> Task<> {
        TestDisk& good = make_disk("good");
        TestDisk& bad = make_disk("bad");
        good.workload.think_time = std::chrono::milliseconds(1);
        bad.workload.hostile = GetParam();
        co_await start(good);
        co_await start(bad);
        start_qemu();
        co_await plug(0, good);
        co_await plug(1, bad);
        HostileGuest* guest = qemu->hostile_guests().front();
        core::Prng prng(GetParam());
        // On a slow machine a guest whose messages lie, too, has hardly a session in its two
        // seconds.
        const Nanos began = reactor().now();
        const auto enough = [&] { return guest->connections() >= 3 && guest->acts() >= 100; };
        const auto least = [&] { return guest->acts() >= 5 && guest->sessions() >= 1; };
        while (!enough() && reactor().now() < began + std::chrono::seconds(least() ? 2 : 20)) {
            guest->mutate(prng);
            co_await reactor::sleep_for(std::chrono::microseconds(200));
        }
        EXPECT_GE(guest->acts(), 5U);
        EXPECT_GE(guest->sessions(), 1U);
        co_await more_io(good, 100);
        co_await drain_and_verify(good);
        co_await unplug(1);
        // The disk itself takes a guest that is in order again.
        bad.workload.hostile = 0;
        bad.workload.reads = 0;  // nobody knows what is on it
        bad.workload.max_operations = 200;
        co_await plug(1, bad);
        co_await more_io(bad, 200);
        co_await end();
    });
}

std::vector<std::uint32_t> hostile_modes() {
    std::vector<std::uint32_t> modes;
    for (std::uint32_t i = 0; i < kHostileModes; ++i) {
        modes.push_back(1U << i);
    }
    modes.push_back((1U << kHostileModes) - 1);
    return modes;
}

INSTANTIATE_TEST_SUITE_P(Modes, HostileHostTest, testing::ValuesIn(hostile_modes()));

}  // namespace

}  // namespace remora::sim
