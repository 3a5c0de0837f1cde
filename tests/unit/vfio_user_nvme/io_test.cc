// SPDX-License-Identifier: Apache-2.0
// I/O commands with PRPs and SGLs, interrupts and doorbells of every kind.
#include <algorithm>
#include <cstring>

#include "tests/unit/vfio_user_nvme/nvme_fixture.h"

namespace remora::test {
namespace {

class VfioNvmeIoTest : public VfioNvmeTest {
  public:
    void start(std::uint16_t queues = 1, std::uint32_t entries = 64) {
        make_controller();
        guest = std::make_unique<NvmeGuest>(guest_options());
        ASSERT_TRUE(guest->start(queues, entries)) << guest->error();
    }
    void fill(std::uint64_t offset, std::size_t bytes, unsigned seed) {
        for (std::size_t i = 0; i < bytes; ++i) {
            *guest->at(offset + i) = static_cast<std::byte>((i * 7 + seed) & 0xffU);
        }
    }
    std::uint16_t transfer(IoOpcode opcode,
                           std::uint64_t lba,
                           std::uint64_t offset,
                           std::uint32_t bytes) {
        Command command = NvmeGuest::io(opcode, lba, bytes / 512);
        guest->point(command, offset, bytes, list_page());
        return guest->status_of(guest->queue(1), command);
    }
    std::uint64_t list_page() {
        if (list_ == 0) {
            list_ = guest->allocate(4096);
        }
        return list_;
    }
    /// From LBA 0 on, of so many pieces that lie twice their bytes apart; their SGL is at `list`.
    Command scattered_write(std::uint64_t list,
                            std::uint64_t data,
                            std::uint32_t pieces,
                            std::uint32_t bytes) {
        std::vector<spec::SglDescriptor> all(pieces);
        for (std::uint32_t i = 0; i < pieces; ++i) {
            all[i].address = NvmeGuest::guest(data + std::uint64_t{i} * 2 * bytes);
            all[i].length = bytes;
            all[i].identifier = spec::kSglDataBlock;
        }
        std::memcpy(guest->at(list), all.data(), all.size() * sizeof(all[0]));
        Command command = NvmeGuest::io(IoOpcode::Write, 0, pieces * bytes / 512);
        command.flags = spec::kFlagsSgl;
        command.sgl.address = NvmeGuest::guest(list);
        command.sgl.length = pieces * 16;
        command.sgl.identifier = spec::kSglLastSegment;
        return command;
    }
    /// Writes, reads back elsewhere, compares.
    void round_trip(std::uint64_t lba, std::uint64_t from, std::uint64_t to, std::uint32_t bytes) {
        SCOPED_TRACE(bytes);
        fill(from, bytes, bytes);
        ASSERT_EQ(transfer(IoOpcode::Write, lba, from, bytes), 0);
        EXPECT_EQ(std::memcmp(stored(*devices[0], lba * 512, bytes).data(), guest->at(from), bytes),
                  0);
        ASSERT_EQ(transfer(IoOpcode::Read, lba, to, bytes), 0);
        EXPECT_EQ(std::memcmp(guest->at(from), guest->at(to), bytes), 0);
    }

    std::unique_ptr<NvmeGuest> guest;

  private:
    std::uint64_t list_ = 0;
};

TEST_F(VfioNvmeIoTest, WriteAndRead_ofAllLengths_moveTheBytes) {
    start();
    const std::uint64_t from = guest->allocate(0x50000);
    const std::uint64_t to = guest->allocate(0x50000);
    for (const std::uint32_t bytes : {512U, 4096U, 8192U, 12288U, 0x10000U, 0x40000U}) {
        round_trip(8, from, to, bytes);
        round_trip(9, from + 512, to + 4, bytes);  // begins inside a page
    }
}

TEST_F(VfioNvmeIoTest, Read_ofMoreThanMdts_isRefused) {
    start();
    EXPECT_EQ(transfer(IoOpcode::Read, 0, guest->allocate(0x50000), 0x40000 + 512),
              refused(StatusCode::InvalidField));
}

TEST_F(VfioNvmeIoTest, Sgl_ofPiecesInSegments_movesTheBytes) {
    start();
    const std::uint64_t data = guest->allocate(0x4000);
    const std::uint64_t segments = guest->allocate(4096);
    fill(data, 0x4000, 3);
    // 512 bytes here, 1024 there, 512 behind: a segment of two, whose second leads to the last.
    const auto descriptor = [&](std::uint64_t offset, std::uint32_t length, std::uint8_t kind) {
        spec::SglDescriptor out;
        out.address = NvmeGuest::guest(offset);
        out.length = length;
        out.identifier = kind;
        return out;
    };
    const std::array<spec::SglDescriptor, 2> first{
        descriptor(data + 0x1003, 512, spec::kSglDataBlock),
        descriptor(segments + 64, 32, spec::kSglLastSegment)};
    const std::array<spec::SglDescriptor, 2> last{
        descriptor(data + 0x20, 1024, spec::kSglDataBlock),
        descriptor(data + 0x3000, 512, spec::kSglDataBlock)};
    std::memcpy(guest->at(segments), first.data(), sizeof(first));
    std::memcpy(guest->at(segments + 64), last.data(), sizeof(last));
    Command command = NvmeGuest::io(IoOpcode::Write, 0, 4);
    command.flags = spec::kFlagsSgl;
    command.sgl = descriptor(segments, 32, spec::kSglSegment);
    EXPECT_EQ(guest->status_of(guest->queue(1), command), 0);
    const auto there = stored(*devices[0], 0, 2048);
    EXPECT_EQ(std::memcmp(there.data(), guest->at(data + 0x1003), 512), 0);
    EXPECT_EQ(std::memcmp(there.data() + 512, guest->at(data + 0x20), 1024), 0);
    EXPECT_EQ(std::memcmp(there.data() + 1536, guest->at(data + 0x3000), 512), 0);
    // One data block is enough for most.
    command = NvmeGuest::io(IoOpcode::Read, 1, 2);
    command.flags = spec::kFlagsSgl;
    command.sgl = descriptor(data, 1024, spec::kSglDataBlock);
    EXPECT_EQ(guest->status_of(guest->queue(1), command), 0);
    EXPECT_EQ(std::memcmp(there.data() + 512, guest->at(data), 1024), 0);
}

// Far more pieces than pages: Linux asks for that where a program's buffers are small.
TEST_F(VfioNvmeIoTest, Sgl_ofVeryManyPieces_movesTheBytes) {
    start();
    constexpr std::uint32_t kPieces = 1024;
    constexpr std::uint32_t kBytes = 256;
    const std::uint64_t data = guest->allocate(std::size_t{kPieces + 8} * 2 * kBytes);
    const std::uint64_t back = guest->allocate(std::size_t{kPieces} * kBytes);
    const std::uint64_t list = guest->allocate(std::size_t{kPieces + 8} * 16);
    fill(data, std::size_t{kPieces} * 2 * kBytes, 5);
    const auto write = [&](std::uint32_t pieces, std::uint32_t bytes) {
        return guest->status_of(guest->queue(1), scattered_write(list, data, pieces, bytes));
    };
    EXPECT_EQ(write(kPieces, kBytes), 0);
    ASSERT_EQ(transfer(IoOpcode::Read, 0, back, kPieces * kBytes), 0);
    for (std::size_t i = 0; i < kPieces; ++i) {
        ASSERT_EQ(
            std::memcmp(guest->at(back + i * kBytes), guest->at(data + i * 2 * kBytes), kBytes), 0)
            << i;
    }
    EXPECT_EQ(write(1028, 128), refused(PcieStatus::InvalidSglDescriptorCount));
}

// The lists of such commands are in the reactor's pool, which is everybody's: a function has a
// quarter of it, and is told to try again.
TEST_F(VfioNvmeIoTest, SglsOfVeryManyPieces_takeAQuarterOfThePool) {
    start();
    constexpr std::uint32_t kPieces = 1024;
    const std::size_t most = kPoolBytes / 4 / (kPieces * sizeof(core::Segment));
    const std::uint64_t data = guest->allocate(std::size_t{kPieces} * 512);
    const std::uint64_t list = guest->allocate(std::size_t{kPieces} * 16);
    const Command command = scattered_write(list, data, kPieces, 256);
    on_reactor([this] { devices[0]->hold(true); });
    for (std::size_t i = 0; i < most; ++i) {
        guest->push(guest->queue(1), command);
    }
    guest->ring(guest->queue(1));
    ASSERT_TRUE(eventually([&] { return devices[0]->held() == most; }));
    EXPECT_EQ(guest->status_of(guest->queue(1), command),
              spec::status_field(StatusCode::CommandInterrupted));
    on_reactor([this] { devices[0]->hold(false); });
    for (std::size_t i = 0; i < most; ++i) {
        const auto entry = guest->wait(guest->queue(1));
        ASSERT_TRUE(entry.has_value());
        EXPECT_EQ(entry->status(), 0);
    }
    EXPECT_EQ(guest->status_of(guest->queue(1), command), 0);
}

TEST_F(VfioNvmeIoTest, Sgl_thatDoesNotFit_isRefused) {
    start();
    const std::uint64_t data = guest->allocate(0x2000);
    Command command = NvmeGuest::io(IoOpcode::Read, 0, 2);
    command.flags = spec::kFlagsSgl;
    command.sgl.address = NvmeGuest::guest(data);
    command.sgl.length = 512U;
    const auto status = [&] { return guest->status_of(guest->queue(1), command); };
    EXPECT_EQ(status(), refused(StatusCode::DataSglLengthInvalid));
    command.sgl.length = 2048U;
    EXPECT_EQ(status(), refused(StatusCode::DataSglLengthInvalid));
    command.sgl.identifier = 0x40;
    EXPECT_EQ(status(), refused(StatusCode::SglTypeInvalid));
    command.sgl.identifier = spec::kSglSegment;
    command.sgl.length = 24U;
    EXPECT_EQ(status(), refused(StatusCode::InvalidSglSegment));
    // A segment that leads to itself has an end all the same.
    command.sgl.length = 16U;
    std::memcpy(guest->at(data), &command.sgl, sizeof(command.sgl));
    EXPECT_EQ(status(), refused(PcieStatus::InvalidSglDescriptorCount));
}

TEST_F(VfioNvmeIoTest, OtherCommands_doWhatTheySay) {
    start();
    const std::uint64_t data = guest->allocate(0x4000);
    HostQueue& queue = guest->queue(1);
    fill(data, 0x1000, 1);
    ASSERT_EQ(transfer(IoOpcode::Write, 0, data, 4096), 0);
    EXPECT_EQ(guest->status_of(queue, NvmeGuest::io(IoOpcode::Flush, 0, 1)), 0);
    EXPECT_EQ(guest->status_of(queue, NvmeGuest::io(IoOpcode::Verify, 0, 4096)), 0);
    EXPECT_EQ(transfer(IoOpcode::Compare, 0, data, 4096), 0);
    *guest->at(data + 4000) ^= std::byte{1};
    EXPECT_EQ(transfer(IoOpcode::Compare, 0, data, 4096), refused(StatusCode::CompareFailure));
    EXPECT_EQ(guest->status_of(queue, NvmeGuest::io(IoOpcode::WriteZeroes, 1, 2)), 0);
    EXPECT_EQ(stored(*devices[0], 512, 1024), std::vector<std::byte>(1024));

    spec::DsmRange range;
    range.lba = std::uint64_t{4};
    range.block_count = 2U;
    std::memcpy(guest->at(data), &range, sizeof(range));
    Command discard = NvmeGuest::io(IoOpcode::DatasetManagement, 0, 1);
    discard.cdw10 = 0U;
    discard.cdw11 = spec::kDsmDeallocate;
    discard.cdw12 = 0U;
    guest->point(discard, data, 4096);
    EXPECT_EQ(guest->status_of(queue, discard), 0);
    EXPECT_EQ(stored(*devices[0], 2048, 1024), std::vector<std::byte>(1024));

    spec::CopyRange source;
    source.lba = std::uint64_t{3};
    source.block_count = std::uint16_t{0};
    std::memcpy(guest->at(data), &source, sizeof(source));
    Command copy = NvmeGuest::io(IoOpcode::Copy, 100, 1);
    copy.cdw12 = 0U;
    guest->point(copy, data, sizeof(source));
    EXPECT_EQ(guest->status_of(queue, copy), 0);
    EXPECT_EQ(stored(*devices[0], 51200, 512), stored(*devices[0], 1536, 512));
}

TEST_F(VfioNvmeIoTest, CommandsNotOffered_areRefused) {
    start();
    HostQueue& queue = guest->queue(1);
    const std::uint64_t data = guest->allocate(0x1000);
    EXPECT_EQ(guest->status_of(queue, NvmeGuest::io(IoOpcode::WriteUncorrectable, 0, 1)),
              refused(StatusCode::InvalidOpcode));
    Command report = NvmeGuest::io(IoOpcode::ReservationReport, 15, 1);
    guest->point(report, data, 64);
    EXPECT_EQ(guest->status_of(queue, report), refused(StatusCode::InvalidOpcode));
    Command fused = NvmeGuest::io(IoOpcode::Compare, 0, 1);
    fused.flags = spec::kFuseFirst;
    guest->point(fused, data, 512);
    EXPECT_EQ(guest->status_of(queue, fused), refused(StatusCode::InvalidField));
    EXPECT_EQ(guest->status_of(queue, NvmeGuest::io(IoOpcode::Read, kBlocks, 1)),
              refused(StatusCode::LbaOutOfRange));
    EXPECT_EQ(guest->status_of(queue, NvmeGuest::io(IoOpcode::Read, 0, 1, 2)),
              refused(StatusCode::InvalidNamespace));
    EXPECT_EQ(guest->status_of(queue, NvmeGuest::io(static_cast<IoOpcode>(0x7f), 0, 1)),
              refused(StatusCode::InvalidOpcode));
}

TEST_F(VfioNvmeIoTest, FailureOfTheVolume_reachesTheHost) {
    start();
    on_reactor([this] { devices[0]->fail_next(block::Status::IoError); });
    EXPECT_NE(transfer(IoOpcode::Read, 0, guest->allocate(4096), 512), 0);
    EXPECT_EQ(transfer(IoOpcode::Read, 0, guest->allocate(4096), 512), 0);
}

TEST_F(VfioNvmeIoTest, ManyCommands_onManyQueues_allComeBackOnce) {
    start(kQueues, 64);
    const std::uint64_t data = guest->allocate(4096 * 64);
    for (int round = 0; round < 20; ++round) {
        for (std::uint16_t qid = 1; qid <= kQueues; ++qid) {
            HostQueue& queue = guest->queue(qid);
            for (unsigned i = 0; i < 63; ++i) {
                Command command = NvmeGuest::io(IoOpcode::Read, i, 1);
                guest->point(command, data + 4096U * i, 512);
                guest->push(queue, command);
            }
            guest->ring(queue);
        }
        for (std::uint16_t qid = 1; qid <= kQueues; ++qid) {
            std::vector<bool> seen(0x10000);
            for (unsigned i = 0; i < 63; ++i) {
                const auto entry = guest->wait(guest->queue(qid));
                ASSERT_TRUE(entry.has_value());
                EXPECT_EQ(entry->status(), 0);
                EXPECT_EQ(entry->sqid, qid);
                EXPECT_FALSE(seen[entry->cid]);
                seen[entry->cid] = true;
            }
            EXPECT_FALSE(guest->pop(guest->queue(qid)).has_value());
        }
    }
}

TEST_F(VfioNvmeIoTest, TwoSubmissionQueues_mayShareACompletionQueue) {
    start(1);
    ASSERT_TRUE(guest->create_queue(2, 16, 1));
    const std::uint64_t data = guest->allocate(4096);
    Command command = NvmeGuest::io(IoOpcode::Read, 0, 1);
    guest->point(command, data, 512);
    guest->push(guest->queue(2), command);
    guest->ring(guest->queue(2));
    const auto entry = guest->wait(guest->queue(1));
    ASSERT_TRUE(entry.has_value());
    EXPECT_EQ(entry->sqid, 2);
}

TEST_F(VfioNvmeIoTest, FullCompletionQueue_waitsForTheHost) {
    make_controller();
    guest = std::make_unique<NvmeGuest>(guest_options());
    ASSERT_TRUE(guest->start(1, 4));
    // Three of four entries can be there; the commands come in two goes.
    ASSERT_TRUE(guest->create_queue(2, 16, 1));
    HostQueue& completions = guest->queue(1);
    HostQueue& submissions = guest->queue(2);
    for (int i = 0; i < 9; ++i) {
        guest->push(submissions, NvmeGuest::io(IoOpcode::Flush, 0, 1));
    }
    guest->ring(submissions);
    int taken = 0;
    for (; taken < 9; ++taken) {
        const auto entry = guest->wait(completions);
        ASSERT_TRUE(entry.has_value()) << taken;
        EXPECT_EQ(entry->status(), 0);
    }
}

TEST_F(VfioNvmeIoTest, Msix_signalsTheQueuesVector) {
    start(2);
    wait_eventfd(guest->interrupt(2), 0);
    EXPECT_EQ(guest->status_of(guest->queue(2), NvmeGuest::io(IoOpcode::Flush, 0, 1)), 0);
    EXPECT_TRUE(wait_eventfd(guest->interrupt(2), 5000));
    EXPECT_FALSE(wait_eventfd(guest->interrupt(1), 0));
}

TEST_F(VfioNvmeIoTest, Msix_ofOneBatch_isOneInterrupt) {
    start(1);
    on_reactor([this] { devices[0]->hold(true); });
    const std::uint64_t data = guest->allocate(4096);
    for (int i = 0; i < 20; ++i) {
        Command command = NvmeGuest::io(IoOpcode::Read, 0, 1);
        guest->point(command, data, 512);
        guest->push(guest->queue(1), command);
    }
    guest->ring(guest->queue(1));
    EXPECT_TRUE(eventually([this] { return devices[0]->held() == 20; }));
    const auto before = on_reactor([this] { return controller->counters().interrupts; });
    on_reactor([this] { devices[0]->hold(false); });
    for (int i = 0; i < 20; ++i) {
        ASSERT_TRUE(guest->wait(guest->queue(1)).has_value());
    }
    EXPECT_EQ(on_reactor([this] { return controller->counters().interrupts; }), before + 1);
}

TEST_F(VfioNvmeIoTest, Intx_isHighUntilTheHostHasTakenAll) {
    ControllerSpec with = controller_spec();
    with.msix = false;
    make_controller(with);
    add_namespace(1);
    NvmeGuestOptions options = guest_options();
    options.msix = false;
    guest = std::make_unique<NvmeGuest>(options);
    ASSERT_TRUE(guest->start(1)) << guest->error();
    namespace vu = vfio_user;
    const auto unmask = [&] {
        return guest->client().set_irqs(vu::kIrqIntx, vu::kIrqDataNone | vu::kIrqActionUnmask, 0,
                                        1);
    };
    EXPECT_EQ(unmask(), 0);
    wait_eventfd(guest->interrupt(0), 0);
    HostQueue& queue = guest->queue(1);
    guest->push(queue, NvmeGuest::io(IoOpcode::Flush, 0, 1));
    guest->ring(queue);
    EXPECT_TRUE(wait_eventfd(guest->interrupt(0), 5000));
    // Not taken: told again when unmasked.
    EXPECT_EQ(unmask(), 0);
    EXPECT_TRUE(wait_eventfd(guest->interrupt(0), 5000));
    ASSERT_TRUE(guest->wait(queue).has_value());
    EXPECT_EQ(unmask(), 0);
    EXPECT_FALSE(wait_eventfd(guest->interrupt(0), 20));
    // Masked by INTMS: nothing until INTMC.
    ASSERT_TRUE(guest->write32(spec::kRegisterIntms, 1));
    guest->push(queue, NvmeGuest::io(IoOpcode::Flush, 0, 1));
    guest->ring(queue);
    EXPECT_FALSE(wait_eventfd(guest->interrupt(0), 20));
    ASSERT_TRUE(guest->write32(spec::kRegisterIntmc, 1));
    EXPECT_TRUE(wait_eventfd(guest->interrupt(0), 5000));
}

// One message for all queues, an edge: nothing is told again.
TEST_F(VfioNvmeIoTest, Msi_isSentOnceATurn) {
    ControllerSpec with = controller_spec();
    with.msix = false;
    make_controller(with);
    add_namespace(1);
    NvmeGuestOptions options = guest_options();
    options.msix = false;
    options.msi = true;
    guest = std::make_unique<NvmeGuest>(options);
    ASSERT_TRUE(guest->start(2)) << guest->error();
    for (std::uint16_t qid = 1; qid <= 2; ++qid) {
        HostQueue& queue = guest->queue(qid);
        while (wait_eventfd(guest->interrupt(0), 20)) {
            // What the commands before have told comes behind their entries.
        }
        guest->push(queue, NvmeGuest::io(IoOpcode::Flush, 0, 1));
        guest->ring(queue);
        EXPECT_TRUE(wait_eventfd(guest->interrupt(0), 5000));
        EXPECT_FALSE(wait_eventfd(guest->interrupt(0), 20)) << "again, though nothing came";
        ASSERT_TRUE(guest->wait(queue).has_value());
    }
}

/// Mapped or by messages, with shadow doorbells or without.
class VfioNvmeDoorbellTest : public VfioNvmeIoTest,
                             public testing::WithParamInterface<std::tuple<bool, bool>> {};

TEST_P(VfioNvmeDoorbellTest, Commands_afterPauses_areSeen) {
    const auto [mapped, shadow] = GetParam();
    ControllerSpec with = controller_spec();
    with.map_doorbells = mapped;
    make_controller(with);
    add_namespace(1);
    guest = std::make_unique<NvmeGuest>(guest_options());
    ASSERT_TRUE(guest->connect() && guest->enable()) << guest->error();
    EXPECT_EQ(guest->doorbells_mapped(), mapped);
    if (shadow) {
        ASSERT_TRUE(guest->use_shadow_doorbells()) << guest->error();
    }
    ASSERT_TRUE(guest->create_queue(1, 8));
    for (int i = 0; i < 40; ++i) {
        // The reactor goes to sleep in between.
        EXPECT_FALSE(wait_readable(guest->client().fd(), i % 4));
        ASSERT_EQ(guest->status_of(guest->queue(1), NvmeGuest::io(IoOpcode::Flush, 0, 1)), 0) << i;
    }
    const auto doorbells = on_reactor([this] { return controller->counters().doorbells; });
    if (mapped) {
        EXPECT_EQ(doorbells, 0U);
    } else {
        EXPECT_GT(doorbells, 0U);
    }
}

INSTANTIATE_TEST_SUITE_P(All,
                         VfioNvmeDoorbellTest,
                         testing::Combine(testing::Bool(), testing::Bool()));

}  // namespace
}  // namespace remora::test
