// SPDX-License-Identifier: Apache-2.0
// Guests and clients that lie: their own queue or session suffers, nobody else.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "nvme/spec/log_page.h"
#include "tests/unit/vfio_user_nvme/nvme_fixture.h"

namespace remora::test {
namespace {

class VfioNvmeHostileTest : public VfioNvmeTest {
  public:
    void start(std::uint16_t queues = 2) {
        make_controller();
        guest = std::make_unique<NvmeGuest>(guest_options());
        ASSERT_TRUE(guest->start(queues)) << guest->error();
    }
    std::uint16_t read_with(std::uint64_t first, std::uint64_t second, std::uint32_t bytes) {
        Command command = NvmeGuest::io(IoOpcode::Read, 0, bytes / 512);
        spec::PrpPair prps;
        prps.first = first;
        prps.second = second;
        std::memcpy(&command.sgl, &prps, sizeof(prps));
        return guest->status_of(guest->queue(1), command);
    }
    void put_entry(std::uint64_t at, std::uint64_t value) {
        const core::le64 entry(value);
        std::memcpy(guest->at(at), &entry, sizeof(entry));
    }
    std::unique_ptr<NvmeGuest> guest;
};

TEST_F(VfioNvmeHostileTest, Prps_thatLeadNowhere_areRefused) {
    start();
    const std::uint64_t page = NvmeGuest::guest(guest->allocate(0x4000));
    EXPECT_EQ(read_with(0, 0, 512), refused(StatusCode::DataTransferError));
    EXPECT_EQ(read_with(~std::uint64_t{0} - 3, 0, 512), refused(StatusCode::DataTransferError));
    EXPECT_EQ(read_with(page + 2, 0, 512), refused(PcieStatus::PrpOffsetInvalid));
    EXPECT_EQ(read_with(page, page + 512, 8192), refused(PcieStatus::PrpOffsetInvalid));
    EXPECT_EQ(read_with(page, 0, 8192), refused(StatusCode::DataTransferError));
    EXPECT_EQ(read_with(page, page + 4, 0x4000), refused(PcieStatus::PrpOffsetInvalid));
    EXPECT_EQ(read_with(page, 0x8000, 0x4000), refused(StatusCode::DataTransferError));
    EXPECT_EQ(read_with(page, page, 4096), 0);
}

TEST_F(VfioNvmeHostileTest, PrpList_thatChainsToItself_ends) {
    start();
    const std::uint64_t list = guest->allocate(4096);
    const std::uint64_t page = NvmeGuest::guest(guest->allocate(4096));
    for (std::uint64_t i = 0; i < 511; ++i) {
        put_entry(list + 8 * i, page);
    }
    // The list begins with its last entry, so it leads on at once.
    put_entry(list + 4088, NvmeGuest::guest(list));
    EXPECT_EQ(read_with(page, NvmeGuest::guest(list + 4088), 0x40000), 0);
    put_entry(list + 4088, NvmeGuest::guest(list + 4088));
    EXPECT_EQ(read_with(page, NvmeGuest::guest(list + 4088), 0x40000),
              refused(PcieStatus::PrpOffsetInvalid));
    put_entry(list + 8, page + 1);
    EXPECT_EQ(read_with(page, NvmeGuest::guest(list), 0x10000),
              refused(PcieStatus::PrpOffsetInvalid));
}

TEST_F(VfioNvmeHostileTest, TailOutOfRange_breaksThatQueueAlone) {
    start();
    guest->write_doorbell(spec::sq_doorbell(1), 64);
    EXPECT_EQ(guest->status_of(guest->queue(2), NvmeGuest::io(IoOpcode::Flush, 0, 1)), 0);
    guest->push(guest->queue(1), NvmeGuest::io(IoOpcode::Flush, 0, 1));
    guest->ring(guest->queue(1));
    EXPECT_FALSE(guest->wait(guest->queue(1), 20).has_value());
    Command remove{};
    remove.opcode = static_cast<std::uint8_t>(spec::PcieAdminOpcode::DeleteIoSq);
    remove.cdw10 = 1U;
    EXPECT_EQ(guest->status_of(guest->queue(0), remove), 0);
}

// NVM Express Base 2.0, Asynchronous Event Information - Error.
TEST_F(VfioNvmeHostileTest, DoorbellsThatCannotBe_areToldAsErrorEvents) {
    start();
    HostQueue& admin = guest->queue(0);
    const std::uint64_t page = guest->allocate(4096);
    const auto send = [&](nvme::spec::AdminOpcode opcode, std::uint32_t cdw10) {
        Command command{};
        command.opcode = static_cast<std::uint8_t>(opcode);
        command.nsid = 0xffff'ffff;
        command.cdw10 = cdw10;
        guest->point(command, page, 64);
        guest->push(admin, command);
        guest->ring(admin);
    };
    constexpr std::uint32_t kErrorLog =
        static_cast<std::uint32_t>(nvme::spec::LogPage::Error) | (15U << 16U);
    const auto next_event = [&]() -> std::uint32_t {
        const auto told = guest->wait(admin, 1000);
        return told ? std::uint32_t{told->dw0} : 0xffff'ffffU;
    };
    send(nvme::spec::AdminOpcode::AsyncEventRequest, 0);
    guest->write_doorbell(spec::sq_doorbell(1), 64);
    EXPECT_EQ(next_event(), nvme::spec::kErrorDoorbellValue);

    // No more of them until the host has read the log, whose own answer comes with it.
    send(nvme::spec::AdminOpcode::AsyncEventRequest, 0);
    ASSERT_TRUE(guest->write32(spec::kDoorbells + 4 * spec::sq_doorbell(40), 1));
    EXPECT_FALSE(guest->wait(admin, 20).has_value());
    send(nvme::spec::AdminOpcode::GetLogPage, kErrorLog);
    const std::uint32_t first = next_event();
    const std::uint32_t second = next_event();
    EXPECT_EQ(std::max(first, second), nvme::spec::kErrorDoorbellRegister);
    EXPECT_EQ(std::min(first, second), 0U);

    // A wrong tail of the admin queue ends it until the controller is reset.
    send(nvme::spec::AdminOpcode::GetLogPage, kErrorLog);
    EXPECT_EQ(next_event(), 0U);
    send(nvme::spec::AdminOpcode::AsyncEventRequest, 0);
    EXPECT_TRUE(guest->identify(1).has_value());  // by now the request is taken
    guest->write_doorbell(spec::sq_doorbell(0), 0x10000);
    EXPECT_EQ(next_event(), nvme::spec::kErrorDoorbellValue);
    ASSERT_TRUE(guest->write32(spec::kPropertyCc, 0));
    EXPECT_TRUE(guest->wait_status(spec::csts::kReady, 0));
    EXPECT_TRUE(guest->enable()) << guest->error();
    EXPECT_TRUE(guest->identify(1).has_value());
}

TEST_F(VfioNvmeHostileTest, HeadOutOfRange_breaksThatQueueAlone) {
    make_controller();
    guest = std::make_unique<NvmeGuest>(guest_options());
    ASSERT_TRUE(guest->start(1, 4));
    ASSERT_TRUE(guest->create_queue(2, 16));
    ASSERT_TRUE(guest->create_queue(3, 16, 1));
    guest->write_doorbell(spec::cq_doorbell(1), 0xffff'ffff);
    for (int i = 0; i < 8; ++i) {
        guest->push(guest->queue(3), NvmeGuest::io(IoOpcode::Flush, 0, 1));
    }
    guest->ring(guest->queue(3));
    EXPECT_EQ(guest->status_of(guest->queue(2), NvmeGuest::io(IoOpcode::Flush, 0, 1)), 0);
    ASSERT_TRUE(guest->write32(spec::kPropertyCc, 0));
    EXPECT_TRUE(guest->wait_status(spec::csts::kReady, 0));
}

TEST_F(VfioNvmeHostileTest, TailThatNeverStops_keepsNobodyFromTheReactor) {
    start();
    for (std::uint32_t i = 0; i < 2000; ++i) {
        guest->write_doorbell(spec::sq_doorbell(1), (i * 13) % 64);
        guest->write_doorbell(spec::cq_doorbell(1), (i * 7) % 64);
    }
    EXPECT_EQ(guest->status_of(guest->queue(2), NvmeGuest::io(IoOpcode::Flush, 0, 1)), 0);
    ASSERT_TRUE(guest->write32(spec::kPropertyCc, 0));
    EXPECT_TRUE(guest->wait_status(spec::csts::kReady, 0));
}

TEST_F(VfioNvmeHostileTest, MemoryTruncated_endsThatSession) {
    start();
    ASSERT_EQ(ftruncate(guest->ram().fd(), 0), 0);
    guest->write_doorbell(spec::sq_doorbell(1), 1);
    EXPECT_TRUE(guest->client().closed_by_peer());
    NvmeGuest next(guest_options());
    EXPECT_TRUE(next.start(1)) << next.error();
}

TEST_F(VfioNvmeHostileTest, Doorbells_cannotBeTruncated) {
    start();
    auto reply = guest->client().region_info(0, vfio_user::kMaxRegionInfoBytes);
    ASSERT_EQ(reply->fds.size(), 1U);
    EXPECT_EQ(ftruncate(reply->fds[0].get(), 0), -1);
    EXPECT_EQ(errno, EPERM);
    EXPECT_EQ(guest->status_of(guest->queue(1), NvmeGuest::io(IoOpcode::Flush, 0, 1)), 0);
}

TEST_F(VfioNvmeHostileTest, ShadowDoorbells_outsideMemory_areRefused) {
    start(0);
    Command command{};
    command.opcode = static_cast<std::uint8_t>(spec::PcieAdminOpcode::DoorbellBufferConfig);
    spec::PrpPair prps;
    prps.first = std::uint64_t{0x1000};
    prps.second = NvmeGuest::guest(guest->allocate(4096));
    std::memcpy(&command.sgl, &prps, sizeof(prps));
    EXPECT_EQ(guest->status_of(guest->queue(0), command), refused(StatusCode::InvalidField));
    prps.first = prps.second + 4;
    std::memcpy(&command.sgl, &prps, sizeof(prps));
    EXPECT_EQ(guest->status_of(guest->queue(0), command), refused(StatusCode::InvalidField));
}

TEST_F(VfioNvmeHostileTest, RegisterWrites_ofOddSizesAndPlaces_doNothing) {
    start(1);
    VfioClient& client = guest->client();
    EXPECT_EQ(client.write_as<std::uint8_t>(0, spec::kPropertyCc, 0), 0);
    EXPECT_EQ(client.write_as<std::uint16_t>(0, spec::kPropertyCc, 0), 0);
    EXPECT_EQ(client.write_as<std::uint32_t>(0, spec::kPropertyCc + 2, 0), 0);
    EXPECT_EQ(client.write_as<std::uint64_t>(0, spec::kPropertyCsts, 0), 0);
    EXPECT_EQ(client.write_as<std::uint64_t>(0, spec::kRegisterAsq, 0), 0);  // enabled: kept
    std::array<std::byte, 4096> all{};
    EXPECT_EQ(client.write(0, 0, all), 0);
    EXPECT_EQ(client.write(0, 0x1000, all), 0);
    EXPECT_EQ(client.read(0, 0x2ff8, all), 0);
    EXPECT_EQ(guest->status_of(guest->queue(1), NvmeGuest::io(IoOpcode::Flush, 0, 1)), 0);
}

}  // namespace
}  // namespace remora::test
