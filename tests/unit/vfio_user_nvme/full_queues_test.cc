// SPDX-License-Identifier: Apache-2.0
// As many queues as a function has, each as long as it may be, and rings filled to the last entry.
#include <array>
#include <cstring>
#include <tuple>

#include "tests/unit/vfio_user_nvme/nvme_fixture.h"

namespace remora::test {
namespace {

class VfioNvmeFullTest : public VfioNvmeTest {
  public:
    static constexpr std::uint16_t kPairs = 64;
    static constexpr std::uint32_t kEntries = 1024;
    /// What a ring of so many entries holds.
    static constexpr std::uint32_t kDepth = kEntries - 1;
    static constexpr std::uint32_t kBlock = 512;

    /// With a block of the volume, and one of the guest's memory, for every command that `pairs`
    /// hold.
    void start(std::uint16_t pairs, bool map_doorbells = true, bool shadow = false) {
        blocks = std::size_t{pairs} * kDepth;
        ControllerSpec with = controller_spec();
        with.io_queues = kPairs;
        with.map_doorbells = map_doorbells;
        make_controller(with);
        block::Geometry volume = geometry(kBlock);
        volume.block_count = blocks;
        add_namespace(1, volume);
        NvmeGuestOptions options = guest_options();
        options.memory_bytes = std::size_t{64} << 20U;
        options.admin_entries = 128;
        guest = std::make_unique<NvmeGuest>(options);
        ASSERT_TRUE(guest->connect() && guest->enable()) << guest->error();
        if (shadow) {
            ASSERT_TRUE(guest->use_shadow_doorbells()) << guest->error();
        }
        for (std::uint16_t qid = 1; qid <= pairs; ++qid) {
            ASSERT_TRUE(guest->create_queue(qid, kEntries)) << guest->error() << qid;
        }
        data = guest->allocate(blocks * kBlock);
    }
    [[nodiscard]] std::uint32_t active_queues() {
        return on_reactor([this] { return controller->status().active_queues; });
    }
    std::uint16_t admin_status(const Command& command) {
        return guest->status_of(guest->queue(0), command);
    }
    /// As many as there can be.
    static Command ask_for_queues() {
        Command command{};
        command.opcode = static_cast<std::uint8_t>(AdminOpcode::SetFeatures);
        command.cdw10 = static_cast<std::uint32_t>(spec::Feature::NumberOfQueues);
        command.cdw11 = 0xfffe'fffeU;
        return command;
    }
    void hold(bool on) {
        on_reactor([&] { devices[0]->hold(on); });
    }
    bool held_become(std::size_t count) {
        return eventually([&] { return devices[0]->held() == count; });
    }

    /// No block of the guest's data is like another one, or as it was with another seed.
    void fill(std::uint64_t seed) {
        for (std::uint64_t block = 0; block < blocks; ++block) {
            std::array<std::uint64_t, kBlock / sizeof(std::uint64_t)> words{};
            words.fill((seed << 32U) | block);
            std::memcpy(guest->at(data + block * kBlock), words.data(), kBlock);
        }
    }
    void forget() { std::memset(guest->at(data), 0, blocks * kBlock); }
    bool volume_has_it() {
        return on_reactor([this] {
            return std::memcmp(devices[0]->bytes().data(), guest->at(data), blocks * kBlock) == 0;
        });
    }

    Command block_io(IoOpcode opcode, std::uint64_t block) {
        Command command = NvmeGuest::io(opcode, block, 1);
        guest->point(command, data + block * kBlock, kBlock);
        return command;
    }
    /// As many commands as the ring holds, for the queue's own blocks.
    void offer(std::uint16_t qid, IoOpcode opcode) {
        for (std::uint64_t i = 0; i < kDepth; ++i) {
            guest->push(guest->queue(qid),
                        block_io(opcode, (qid - 1U) * std::uint64_t{kDepth} + i));
        }
        guest->ring(guest->queue(qid));
    }
    /// Those are answered, each once, and nothing else is. The controller is not told.
    void take(std::uint16_t qid) {
        HostQueue& queue = guest->queue(qid);
        const auto first = static_cast<std::uint16_t>(queue.next_cid - kDepth);
        std::vector<bool> seen(kDepth);
        for (std::uint32_t i = 0; i < kDepth; ++i) {
            const auto entry = guest->pop_within(queue);
            ASSERT_TRUE(entry.has_value()) << i << " of queue " << qid;
            ASSERT_EQ(entry->status(), 0);
            ASSERT_EQ(entry->sqid, qid);
            const auto number = static_cast<std::uint16_t>(entry->cid - first);
            ASSERT_LT(number, kDepth);
            ASSERT_FALSE(seen[number]) << number << " again";
            seen[number] = true;
        }
        EXPECT_FALSE(guest->pop(queue).has_value());
    }
    void take_and_tell(std::uint16_t qid) {
        take(qid);
        guest->ring_taken(guest->queue(qid));
    }

    /// What commands so far have told comes behind their entries.
    void forget_interrupts() {
        for (std::uint16_t vector = 0; vector <= kPairs; ++vector) {
            while (wait_eventfd(guest->interrupt(vector), vector == 0 ? 20 : 0)) {
            }
        }
    }
    /// It came, and no other.
    void expect_interrupt(std::uint16_t vector) {
        EXPECT_TRUE(wait_eventfd(guest->interrupt(vector), 5000)) << vector;
        for (std::uint16_t other = 0; other <= kPairs; ++other) {
            EXPECT_FALSE(wait_eventfd(guest->interrupt(other), 0)) << other << " of " << vector;
        }
    }
    /// A write and a read of it, with an interrupt each.
    void expect_works(std::uint16_t qid) {
        const std::uint64_t block = (qid - 1U) * std::uint64_t{kDepth};
        std::byte* at = guest->at(data + block * kBlock);
        std::memset(at, qid, kBlock);
        EXPECT_EQ(guest->status_of(guest->queue(qid), block_io(IoOpcode::Write, block)), 0);
        expect_interrupt(qid);
        std::memset(at, 0, kBlock);
        EXPECT_EQ(guest->status_of(guest->queue(qid), block_io(IoOpcode::Read, block)), 0);
        expect_interrupt(qid);
        const std::vector<std::byte> expected(kBlock, static_cast<std::byte>(qid));
        EXPECT_EQ(std::memcmp(at, expected.data(), kBlock), 0) << qid;
        EXPECT_EQ(stored(*devices[0], block * kBlock, kBlock), expected) << qid;
    }

    std::unique_ptr<NvmeGuest> guest;
    std::uint64_t data = 0;
    std::size_t blocks = 0;
};

TEST_F(VfioNvmeFullTest, AllPairs_ofFullSize_workWithAVectorEach) {
    start(kPairs);
    const auto vectors = guest->client().irq_info(vfio_user::kIrqMsix);
    ASSERT_TRUE(vectors.has_value());
    EXPECT_EQ(vectors->count, kPairs + 1U);
    EXPECT_EQ(active_queues(), kPairs);
    forget_interrupts();
    EXPECT_TRUE(guest->identify(1).has_value());
    expect_interrupt(0);
    for (std::uint16_t qid = 1; qid <= kPairs; ++qid) {
        expect_works(qid);
    }
}

TEST_F(VfioNvmeFullTest, AllPairs_filledAtOnce_completeEachCommandOnce) {
    start(kPairs);
    fill(1);
    forget_interrupts();
    hold(true);
    for (std::uint16_t qid = 1; qid <= kPairs; ++qid) {
        offer(qid, IoOpcode::Write);
    }
    ASSERT_TRUE(held_become(blocks));
    hold(false);
    for (std::uint16_t qid = 1; qid <= kPairs; ++qid) {
        take_and_tell(qid);
        EXPECT_TRUE(wait_eventfd(guest->interrupt(qid), 5000)) << qid;
    }
    EXPECT_FALSE(wait_eventfd(guest->interrupt(0), 0));
    EXPECT_TRUE(volume_has_it());
    forget();
    for (std::uint16_t qid = 1; qid <= kPairs; ++qid) {
        offer(qid, IoOpcode::Read);
    }
    for (std::uint16_t qid = 1; qid <= kPairs; ++qid) {
        take_and_tell(qid);
    }
    EXPECT_TRUE(volume_has_it());
}

TEST_F(VfioNvmeFullTest, PairsAndVectors_beyondTheLast_areRefused) {
    start(kPairs);
    ASSERT_TRUE(guest->delete_queue(kPairs)) << guest->error();
    const std::uint64_t memory = NvmeGuest::guest(guest->allocate(kEntries * sizeof(Command)));
    const auto make = [&](PcieAdminOpcode opcode, std::uint32_t qid, std::uint32_t cdw11) {
        return admin_status(make_queue(opcode, static_cast<std::uint16_t>(qid), kEntries,
                                       spec::kQueueContiguous | cdw11, memory));
    };
    const auto vector = [](std::uint32_t number) { return spec::kQueueInterrupts | number << 16U; };
    using enum PcieAdminOpcode;
    EXPECT_EQ(make(CreateIoCq, kPairs, vector(kPairs + 1U)),
              refused(PcieStatus::InvalidInterruptVector));
    ASSERT_TRUE(guest->create_queue(kPairs, kEntries)) << guest->error();
    for (const std::uint32_t qid : {kPairs + 1U, 0x7fffU, 0xffffU}) {
        EXPECT_EQ(make(CreateIoCq, qid, vector(1)), refused(PcieStatus::InvalidQueueIdentifier));
        EXPECT_EQ(make(CreateIoSq, qid, std::uint32_t{kPairs} << 16U),
                  refused(PcieStatus::InvalidQueueIdentifier));
        EXPECT_EQ(admin_status(make_queue(DeleteIoSq, static_cast<std::uint16_t>(qid), 1, 0, 0)),
                  refused(PcieStatus::InvalidQueueIdentifier));
    }
    EXPECT_EQ(active_queues(), kPairs);
    forget_interrupts();
    for (const std::uint16_t qid : {std::uint16_t{1}, kPairs}) {
        expect_works(qid);
    }
}

TEST_F(VfioNvmeFullTest, AllPairs_deleted_canBeMadeAgain) {
    start(kPairs);
    for (std::uint16_t qid = 1; qid <= kPairs; ++qid) {
        ASSERT_TRUE(guest->delete_queue(qid)) << guest->error() << qid;
    }
    EXPECT_EQ(active_queues(), 0U);
    const auto counted = guest->admin(ask_for_queues());
    ASSERT_TRUE(counted.has_value());
    EXPECT_EQ(counted->status(), 0);
    EXPECT_EQ(counted->dw0, (kPairs - 1U) | ((kPairs - 1U) << 16U));
    for (std::uint16_t qid = kPairs; qid > 0; --qid) {
        ASSERT_TRUE(guest->create_queue(qid, kEntries)) << guest->error() << qid;
    }
    EXPECT_EQ(active_queues(), kPairs);
    forget_interrupts();
    for (std::uint16_t qid = 1; qid <= kPairs; ++qid) {
        expect_works(qid);
    }
}

TEST_F(VfioNvmeFullTest, AllPairs_deletedWithCommandsUnderWay_answerThemFirst) {
    start(kPairs);
    hold(true);
    for (std::uint16_t qid = 1; qid <= kPairs; ++qid) {
        guest->push(guest->queue(qid), NvmeGuest::io(IoOpcode::Flush, 0, 1));
        guest->ring(guest->queue(qid));
    }
    ASSERT_TRUE(held_become(kPairs));
    for (std::uint16_t qid = 1; qid <= kPairs; ++qid) {
        guest->push(guest->queue(0), make_queue(PcieAdminOpcode::DeleteIoSq, qid, 1, 0, 0));
    }
    guest->ring(guest->queue(0));
    EXPECT_FALSE(guest->wait(guest->queue(0), 50).has_value());
    hold(false);
    for (std::uint16_t qid = 1; qid <= kPairs; ++qid) {
        const auto deleted = guest->wait(guest->queue(0));
        ASSERT_TRUE(deleted.has_value()) << qid;
        EXPECT_EQ(deleted->status(), 0);
    }
    EXPECT_EQ(active_queues(), 0U);
    for (std::uint16_t qid = 1; qid <= kPairs; ++qid) {
        const auto answered = guest->pop(guest->queue(qid));
        ASSERT_TRUE(answered.has_value()) << qid;
        EXPECT_EQ(answered->status(), 0);
    }
}

/// Doorbells mapped or by messages, with shadow doorbells or without.
class VfioNvmeFullRingTest : public VfioNvmeFullTest,
                             public testing::WithParamInterface<std::tuple<bool, bool>> {
  public:
    void start() { VfioNvmeFullTest::start(1, std::get<0>(GetParam()), std::get<1>(GetParam())); }
    /// Fills the ring, and lets go when all of it is under way.
    void go_round(IoOpcode opcode) {
        hold(true);
        offer(1, opcode);
        ASSERT_TRUE(held_become(kDepth));
        EXPECT_FALSE(guest->pop(guest->queue(1)).has_value());
        hold(false);
        take_and_tell(1);
    }
    std::uint64_t writes() {
        return on_reactor([this] { return controller->counters().io.write.ops; });
    }
};

TEST_P(VfioNvmeFullRingTest, Ring_filledRoundAfterRound_completesEachCommandOnce) {
    start();
    for (std::uint64_t round = 1; round <= 4; ++round) {
        SCOPED_TRACE(round);
        fill(round);
        go_round(IoOpcode::Write);
        EXPECT_TRUE(volume_has_it());
        forget();
        go_round(IoOpcode::Read);
        EXPECT_TRUE(volume_has_it());
    }
}

// The host reads entries but does not say so. A second ring of commands is carried out meanwhile,
// and its entries wait.
TEST_P(VfioNvmeFullRingTest, CompletionQueueFull_thatTheHostDoesNotEmpty_losesNothing) {
    start();
    HostQueue& queue = guest->queue(1);
    for (std::uint64_t round = 1; round <= 3; ++round) {
        SCOPED_TRACE(round);
        const std::uint64_t before = writes();
        fill(round);
        offer(1, IoOpcode::Write);
        take(1);
        const std::uint32_t untold = (queue.head + kEntries - kDepth) % kEntries;
        offer(1, IoOpcode::Write);
        EXPECT_TRUE(eventually([&] {
            return controller->counters().io.write.ops == before + 2 * std::uint64_t{kDepth};
        }));
        EXPECT_FALSE(guest->pop_within(queue, 20).has_value());
        forget_interrupts();
        // Room for one is one entry.
        guest->write_doorbell(spec::cq_doorbell(1), (untold + 1) % kEntries);
        HostQueue look = queue;
        EXPECT_TRUE(guest->pop_within(look).has_value());
        EXPECT_FALSE(guest->pop_within(look, 5).has_value());
        expect_interrupt(1);
        guest->ring_taken(queue);
        take_and_tell(1);
        EXPECT_TRUE(volume_has_it());
    }
}

INSTANTIATE_TEST_SUITE_P(All,
                         VfioNvmeFullRingTest,
                         testing::Combine(testing::Bool(), testing::Bool()));

}  // namespace
}  // namespace remora::test
