// SPDX-License-Identifier: Apache-2.0
// The parts of the world that stand alone: event queue, clocks, faults, disk.
#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/sim/world/disk.h"
#include "tests/sim/world/event_queue.h"
#include "tests/sim/world/faults.h"
#include "tests/sim/world/machine.h"

namespace remora::sim {
namespace {

constexpr core::Nanos kNoTime{0};

using namespace std::chrono_literals;

TEST(EventQueue, RunOne_equalTimes_runInTheOrderTheyWereMade) {
    EventQueue queue;
    const Nanos start = queue.now();
    std::string ran;
    for (char name = 'a'; name <= 'h'; ++name) {
        queue.at(start + 5us, [&ran, name] { ran += name; });
    }
    queue.at(start + 1us, [&] { queue.after(4us, [&ran] { ran += 'i'; }); });
    queue.at(start + 4us, [&ran] { ran += '0'; });

    while (!queue.empty()) {
        queue.run_one();
    }

    EXPECT_EQ(ran, "0abcdefghi");
    EXPECT_EQ(queue.now(), start + 5us);
    EXPECT_EQ(queue.ran(), 11U);
}

TEST(EventQueue, At_thePast_runsNow) {
    EventQueue queue;
    const Nanos start = queue.now();
    queue.at(start - 500ms, [] {});
    EXPECT_EQ(queue.next(), start);
    queue.run_one();
    EXPECT_EQ(queue.now(), start) << "time never goes back";
}

TEST(MachineClock, Rate_fasterOrSlower_isNeverWokenTooEarly) {
    for (const std::int64_t permille : {-50, -1, 0, 1, 50}) {
        Nanos world{1s};
        MachineClock clock(world);
        clock.set_rate(permille);
        const Nanos began = clock.now();
        world += 1000s;
        EXPECT_EQ(clock.now() - began, 1000s + permille * 1s);
        for (std::int64_t i = 0; i < 1000; ++i) {
            const Nanos local = clock.now() + Nanos{i * 7'777'777};
            const Nanos at = clock.world_at(local);
            EXPECT_GE(clock.local(at), local);
            EXPECT_LT(clock.local(at), local + 10us);
        }
    }
}

TEST(MachineClock, Leap_goesForwardAndDeadlinesComeSooner) {
    const Nanos world{10s};
    MachineClock clock(world);
    const Nanos deadline = clock.now() + 100s;
    clock.leap(60s);
    EXPECT_EQ(clock.now(), 70s);
    EXPECT_LT(clock.world_at(deadline), world + 40s + 10us);
    EXPECT_GE(clock.local(clock.world_at(deadline)), deadline);
    EXPECT_EQ(clock.world_at(core::kNever), core::kNever);
}

/// Every kind on.
Faults all_on(std::uint64_t seed) {
    Faults faults{core::Prng(seed), kNoTime};
    for (std::size_t i = 0; i < kFaultCount; ++i) {
        faults.enable(static_cast<Fault>(i));
    }
    return faults;
}

TEST(Faults, Disable_oneKind_neverStrikesAndLeavesTheOthers) {
    for (std::size_t off = 0; off < kFaultCount; ++off) {
        Faults faults = all_on(9);
        Faults without = all_on(9);
        without.disable(static_cast<Fault>(off));
        for (int round = 0; round < 100; ++round) {
            for (std::size_t i = 0; i < kFaultCount; ++i) {
                const auto fault = static_cast<Fault>(i);
                const bool strikes = faults.strikes(fault, 3);
                EXPECT_EQ(without.strikes(fault, 3), strikes && i != off);
                if (i != off) {
                    EXPECT_EQ(without.pick(fault, 1000), faults.pick(fault, 1000));
                }
            }
        }
        EXPECT_GT(faults.struck(static_cast<Fault>(off)), 0U);
        EXPECT_EQ(without.struck(static_cast<Fault>(off)), 0U);
    }
}

TEST(Faults, Stop_nothingStrikesAnyMore) {
    Faults faults = all_on(10);
    faults.stop();
    for (int round = 0; round < 100; ++round) {
        EXPECT_FALSE(faults.strikes(Fault::Delay, 1));
    }
    EXPECT_TRUE(faults.stopped());
    EXPECT_TRUE(faults.drawn(Fault::Delay));
}

TEST(Faults, Draw_manySeeds_someAreCalmAndNoneHasAlwaysTheSame) {
    std::set<std::string> drawn;
    int calm = 0;
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        const Faults faults{core::Prng(seed), kNoTime};
        std::string kinds;
        for (std::size_t i = 0; i < kFaultCount; ++i) {
            kinds += faults.drawn(static_cast<Fault>(i)) ? '1' : '0';
        }
        calm += kinds.find('1') == std::string::npos ? 1 : 0;
        drawn.insert(kinds);
    }
    EXPECT_GT(calm, 5);
    EXPECT_GT(drawn.size(), 100U);
}

TEST(Faults, Name_ofEachKind_readsBack) {
    for (std::size_t i = 0; i < kFaultCount; ++i) {
        const auto fault = static_cast<Fault>(i);
        EXPECT_FALSE(to_string(fault).empty());
        EXPECT_EQ(parse_fault(to_string(fault)), fault);
    }
    EXPECT_FALSE(parse_fault("no-such-fault"));
    EXPECT_FALSE(parse_fault(""));
}

std::vector<std::byte> filled(std::size_t size, unsigned value) {
    return std::vector<std::byte>(size, static_cast<std::byte>(value));
}

/// Of each atom, the one value its bytes have; -1 where they are mixed.
std::vector<int> atoms_of(const Disk::File& file, std::size_t atom) {
    std::vector<int> values;
    for (std::size_t at = 0; at + atom <= file.seen.size(); at += atom) {
        const auto run = std::span(file.seen).subspan(at, atom);
        const bool same = std::ranges::all_of(run, [&](std::byte b) { return b == run[0]; });
        values.push_back(same ? std::to_integer<int>(run[0]) : -1);
    }
    return values;
}

TEST(Disk, PowerLoss_flushedData_isKept) {
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        Disk disk;
        core::Prng prng(seed);
        const auto file = disk.open("/f", true);
        Disk::truncate(*file, 8192);
        Disk::write(*file, 0, filled(4096, 1));
        Disk::write(*file, 2048, filled(2048, 2));
        Disk::flush(*file);

        disk.power_loss(prng);

        ASSERT_TRUE(disk.exists("/f"));
        EXPECT_EQ(atoms_of(*file, 2048), (std::vector<int>{1, 2, 0, 0}));
    }
}

TEST(Disk, PowerLoss_unflushedWrites_areKeptByWholeSectorsOrNot) {
    std::set<int> second_sector;
    bool torn = false;
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        Disk disk;
        core::Prng prng(seed);
        const auto file = disk.open("/f", true);
        Disk::truncate(*file, 4096);
        Disk::write(*file, 0, filled(2048, 1));
        Disk::write(*file, 512, filled(2048, 2));
        EXPECT_EQ(std::to_integer<int>(file->seen[512]), 2) << "reads see the newest";

        disk.power_loss(prng);

        const std::vector<int> sectors = atoms_of(*file, Disk::kSector);
        EXPECT_TRUE(std::ranges::find(sectors, -1) == sectors.end()) << seed;
        EXPECT_TRUE(sectors[0] == 0 || sectors[0] == 1);
        EXPECT_TRUE(sectors[4] == 0 || sectors[4] == 2);
        EXPECT_EQ(sectors[5], 0) << "never written";
        second_sector.insert(sectors[1]);
        torn |= sectors[2] != sectors[3];
    }
    EXPECT_EQ(second_sector, (std::set<int>{0, 1, 2}));
    EXPECT_TRUE(torn) << "a write is kept in part now and then";
}

TEST(Disk, PowerLoss_largerAtoms_areNeverMixed) {
    constexpr std::size_t kAtom = 4096;
    for (std::uint64_t seed = 0; seed < 100; ++seed) {
        Disk disk;
        core::Prng prng(seed);
        disk.set_atom("/f", kAtom);
        const auto file = disk.open("/f", true);
        Disk::truncate(*file, 4 * kAtom);
        Disk::write(*file, 0, filled(4 * kAtom, 1));
        Disk::write(*file, kAtom, filled(2 * kAtom, 2));

        disk.power_loss(prng);

        const std::vector<int> atoms = atoms_of(*file, kAtom);
        EXPECT_TRUE(std::ranges::find(atoms, -1) == atoms.end()) << seed;
    }
}

TEST(Disk, PowerLoss_newFileNeverFlushed_mayBeGone) {
    std::set<bool> there;
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
        Disk disk;
        core::Prng prng(seed);
        Disk::write(*disk.open("/f", true), 0, filled(512, 1));
        disk.power_loss(prng);
        there.insert(disk.exists("/f"));
    }
    EXPECT_EQ(there.size(), 2U);
}

}  // namespace
}  // namespace remora::sim
