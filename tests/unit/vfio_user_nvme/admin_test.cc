// SPDX-License-Identifier: Apache-2.0
// Identify, features, queues made and deleted.
#include <cstring>

#include "tests/unit/vfio_user_nvme/nvme_fixture.h"

namespace remora::test {
namespace {

class VfioNvmeAdminTest : public VfioNvmeTest {
  public:
    void start(std::uint16_t queues = 0) {
        make_controller();
        guest = std::make_unique<NvmeGuest>(guest_options());
        ASSERT_TRUE(guest->start(queues)) << guest->error();
    }
    static Command make(AdminOpcode opcode, std::uint32_t cdw10 = 0, std::uint32_t cdw11 = 0) {
        Command command{};
        command.opcode = static_cast<std::uint8_t>(opcode);
        command.cdw10 = cdw10;
        command.cdw11 = cdw11;
        return command;
    }
    std::uint16_t status(const Command& command) {
        return guest->status_of(guest->queue(0), command);
    }
    std::unique_ptr<NvmeGuest> guest;
};

TEST_F(VfioNvmeAdminTest, Registers_tellOfTheController) {
    start();
    const auto cap = guest->client().read_as<std::uint64_t>(0, 0);
    ASSERT_TRUE(cap.has_value());
    EXPECT_EQ(*cap & 0xffffU, 1023U);     // MQES
    EXPECT_NE(*cap & (1U << 16U), 0U);    // CQR
    EXPECT_EQ((*cap >> 32U) & 0xfU, 0U);  // DSTRD
    EXPECT_NE(*cap & spec::cap::kNvmCommandSet, 0U);
    EXPECT_EQ(guest->read32(spec::kPropertyVs), spec::kVersion14);
    EXPECT_EQ(guest->read32(spec::kPropertyCsts), spec::csts::kReady);
    EXPECT_EQ(guest->read32(spec::kRegisterAqa), 31U | (31U << 16U));
    EXPECT_EQ(guest->read32(0x900), 0U);
    EXPECT_EQ(guest->client().read_as<std::uint8_t>(0, spec::kPropertyCc + 2), 0x46);
}

TEST_F(VfioNvmeAdminTest, Identify_isThatOfAPcieController) {
    start();
    const auto bytes = guest->identify(0x01);
    ASSERT_TRUE(bytes.has_value());
    spec::IdentifyController controller_page;
    std::memcpy(&controller_page, bytes->data(), sizeof(controller_page));
    EXPECT_EQ(controller_page.sgls, spec::kSglsPcie);
    EXPECT_EQ(controller_page.ioccsz, 0U);
    EXPECT_EQ(controller_page.cmic, 2);  // of several controllers, without ANA
    EXPECT_EQ(controller_page.anacap, 0);
    EXPECT_EQ(controller_page.fuses, 0);
    EXPECT_NE(controller_page.oacs & spec::kOacsDoorbellBuffers, 0);
    EXPECT_EQ(controller_page.oncs & (spec::kOncsReservations | spec::kOncsWriteUncorrectable), 0);
    EXPECT_EQ(controller_page.vid, guest->client().read_as<std::uint16_t>(7, 0));
    EXPECT_EQ(controller_page.mdts, 6);
    EXPECT_EQ(std::string(controller_page.sn, 6), "SERIAL");
    const auto namespace_bytes = guest->identify(0x00, 1);
    ASSERT_TRUE(namespace_bytes.has_value());
    spec::IdentifyNamespace page;
    std::memcpy(&page, namespace_bytes->data(), sizeof(page));
    EXPECT_EQ(page.nsze, kBlocks);
    EXPECT_EQ(page.nmic, spec::kNmicShared);
    EXPECT_EQ(page.anagrpid, 0U);
    EXPECT_EQ(page.rescap, 0);
    EXPECT_TRUE(guest->identify(0x13).has_value());  // controller list: the census
}

// What will never have another controller does not make hosts look for other paths to it.
TEST_F(VfioNvmeAdminTest, Identify_ofTheOnlyController_saysSo) {
    ControllerSpec only = controller_spec();
    only.identity.one_controller = true;
    make_controller(only);
    add_namespace(1);
    guest = std::make_unique<NvmeGuest>(guest_options());
    ASSERT_TRUE(guest->start()) << guest->error();
    const auto bytes = guest->identify(0x01);
    const auto namespace_bytes = guest->identify(0x00, 1);
    ASSERT_TRUE(bytes.has_value() && namespace_bytes.has_value());
    spec::IdentifyController controller_page;
    std::memcpy(&controller_page, bytes->data(), sizeof(controller_page));
    EXPECT_EQ(controller_page.cmic, 0);
    spec::IdentifyNamespace page;
    std::memcpy(&page, namespace_bytes->data(), sizeof(page));
    EXPECT_EQ(page.nmic, 0);
}

TEST_F(VfioNvmeAdminTest, Features_ofInterruptsAndQueues) {
    start();
    const auto queues = guest->admin(make(AdminOpcode::SetFeatures, 0x07, 0x003f003f));
    ASSERT_TRUE(queues.has_value());
    EXPECT_EQ(queues->status(), 0);
    EXPECT_EQ(queues->dw0, (kQueues - 1U) | ((kQueues - 1U) << 16U));
    EXPECT_EQ(status(make(AdminOpcode::SetFeatures, 0x08, 0x0105)), 0);
    EXPECT_EQ(guest->admin(make(AdminOpcode::GetFeatures, 0x08))->dw0, 0x0105U);
    EXPECT_EQ(status(make(AdminOpcode::SetFeatures, 0x09, 0x10002)), 0);
    EXPECT_EQ(guest->admin(make(AdminOpcode::GetFeatures, 0x09, 2))->dw0, 0x10002U);
    EXPECT_EQ(guest->admin(make(AdminOpcode::GetFeatures, 0x09, 1))->dw0, 1U);
    EXPECT_EQ(status(make(AdminOpcode::SetFeatures, 0x09, kQueues + 1)),
              refused(StatusCode::InvalidField));
    EXPECT_EQ(status(make(AdminOpcode::GetFeatures, 0x81)), refused(StatusCode::InvalidField));
    EXPECT_EQ(status(make(AdminOpcode::GetFeatures, 0x83)), refused(StatusCode::InvalidField));
}

TEST_F(VfioNvmeAdminTest, LogPages_areThoseOfPcie) {
    start();
    const std::uint64_t data = guest->allocate(4096);
    const auto log = [&](spec::LogPage page, std::uint32_t bytes) {
        Command command{};
        command.opcode = static_cast<std::uint8_t>(AdminOpcode::GetLogPage);
        command.nsid = spec::kBroadcastNsid;
        spec::set_log_page_range(command, page, 0, bytes);
        guest->point(command, data, bytes);
        return status(command);
    };
    EXPECT_EQ(log(spec::LogPage::Smart, 512), 0);
    EXPECT_EQ(std::to_integer<int>(*guest->at(data + 3)), 100);  // available spare
    EXPECT_EQ(log(spec::LogPage::Error, 64), 0);
    EXPECT_EQ(log(spec::LogPage::FirmwareSlot, 512), 0);
    EXPECT_EQ(log(spec::LogPage::CommandEffects, 4096), 0);
    EXPECT_NE(*guest->at(data + 4), std::byte{0});  // Create I/O Submission Queue... is 01h
    EXPECT_EQ(log(spec::LogPage::Ana, 16), refused(StatusCode::InvalidLogPage));
}

TEST_F(VfioNvmeAdminTest, ErrorLog_tellsOfRefusedCommands) {
    start(1);
    EXPECT_NE(guest->status_of(guest->queue(1), NvmeGuest::io(IoOpcode::Read, kBlocks, 1)), 0);
    const std::uint64_t data = guest->allocate(4096);
    Command command{};
    command.opcode = static_cast<std::uint8_t>(AdminOpcode::GetLogPage);
    spec::set_log_page_range(command, spec::LogPage::Error, 0, 64);
    guest->point(command, data, 64);
    ASSERT_EQ(status(command), 0);
    spec::ErrorLogEntry entry;
    std::memcpy(&entry, guest->at(data), sizeof(entry));
    EXPECT_EQ(entry.error_count, 1U);
    EXPECT_EQ(entry.sqid, 1);
    EXPECT_EQ(entry.lba, kBlocks);
}

TEST_F(VfioNvmeAdminTest, CreateQueues_withWrongFields_areRefused) {
    start();
    const std::uint64_t page = NvmeGuest::guest(guest->allocate(0x10000));
    using enum PcieAdminOpcode;
    EXPECT_EQ(status(make_queue(CreateIoCq, 0, 16, 1, page)),
              refused(PcieStatus::InvalidQueueIdentifier));
    EXPECT_EQ(status(make_queue(CreateIoCq, kQueues + 1, 16, 1, page)),
              refused(PcieStatus::InvalidQueueIdentifier));
    EXPECT_EQ(status(make_queue(CreateIoCq, 1, 1, 1, page)), refused(PcieStatus::InvalidQueueSize));
    EXPECT_EQ(status(make_queue(CreateIoCq, 1, 1025, 1, page)),
              refused(PcieStatus::InvalidQueueSize));
    EXPECT_EQ(status(make_queue(CreateIoCq, 1, 16, 0, page)), refused(StatusCode::InvalidField));
    EXPECT_EQ(status(make_queue(CreateIoCq, 1, 16, 1, page + 8)),
              refused(PcieStatus::PrpOffsetInvalid));
    EXPECT_EQ(status(make_queue(CreateIoCq, 1, 16, 1, 0x1000)),
              refused(StatusCode::DataTransferError));
    EXPECT_EQ(status(make_queue(CreateIoCq, 1, 16, 3 | ((kQueues + 1U) << 16U), page)),
              refused(PcieStatus::InvalidInterruptVector));
    EXPECT_EQ(status(make_queue(CreateIoSq, 1, 16, 1 | (1U << 16U), page)),
              refused(PcieStatus::CompletionQueueInvalid));
    EXPECT_EQ(status(make_queue(CreateIoCq, 1, 1024, 3 | (1U << 16U), page)), 0);
    EXPECT_EQ(status(make_queue(CreateIoCq, 1, 1024, 3 | (1U << 16U), page)),
              refused(PcieStatus::InvalidQueueIdentifier));
}

TEST_F(VfioNvmeAdminTest, DeleteQueues_inTheRightOrder) {
    start(1);
    const auto remove = [&](PcieAdminOpcode opcode) {
        return status(make_queue(opcode, 1, 1, 0, 0));
    };
    EXPECT_EQ(remove(PcieAdminOpcode::DeleteIoCq), refused(PcieStatus::InvalidQueueDeletion));
    EXPECT_EQ(remove(PcieAdminOpcode::DeleteIoSq), 0);
    EXPECT_EQ(remove(PcieAdminOpcode::DeleteIoSq), refused(PcieStatus::InvalidQueueIdentifier));
    EXPECT_EQ(remove(PcieAdminOpcode::DeleteIoCq), 0);
    EXPECT_EQ(remove(PcieAdminOpcode::DeleteIoCq), refused(PcieStatus::InvalidQueueIdentifier));
    ASSERT_TRUE(guest->create_queue(1, 32)) << guest->error();
    EXPECT_EQ(guest->status_of(guest->queue(1), NvmeGuest::io(IoOpcode::Flush, 0, 1)), 0);
}

TEST_F(VfioNvmeAdminTest, DeleteQueue_withCommandsUnderWay_answersThemFirst) {
    start(1);
    on_reactor([this] { devices[0]->hold(true); });
    guest->push(guest->queue(1), NvmeGuest::io(IoOpcode::Flush, 0, 1));
    guest->ring(guest->queue(1));
    ASSERT_TRUE(eventually([this] { return devices[0]->held() == 1; }));
    guest->push(guest->queue(0), make_queue(PcieAdminOpcode::DeleteIoSq, 1, 1, 0, 0));
    guest->ring(guest->queue(0));
    EXPECT_FALSE(guest->wait(guest->queue(0), 50).has_value());
    on_reactor([this] { devices[0]->hold(false); });
    EXPECT_EQ(guest->wait(guest->queue(1))->status(), 0);
    EXPECT_EQ(guest->wait(guest->queue(0))->status(), 0);
}

TEST_F(VfioNvmeAdminTest, AdminCommands_ofOtherTransports_areRefused) {
    start();
    Command command{};
    command.opcode = spec::kFabricsOpcode;
    EXPECT_EQ(status(command), refused(StatusCode::InvalidOpcode));
    command = make(AdminOpcode::Identify, 1);
    command.flags = spec::kFlagsSgl;
    EXPECT_EQ(status(command), refused(StatusCode::InvalidField));
    command = make(AdminOpcode::Identify, 1);  // PRP 0: no memory there
    EXPECT_EQ(status(command), refused(StatusCode::DataTransferError));
}

TEST_F(VfioNvmeAdminTest, EventRequests_areHeldLimitedAndAborted) {
    start();
    HostQueue& admin = guest->queue(0);
    const std::uint16_t first = guest->push(admin, make(AdminOpcode::AsyncEventRequest));
    for (int i = 0; i < 4; ++i) {
        guest->push(admin, make(AdminOpcode::AsyncEventRequest));
    }
    guest->ring(admin);
    EXPECT_EQ(guest->wait(admin)->status(), refused(StatusCode::AsyncEventLimitExceeded));
    EXPECT_FALSE(guest->wait(admin, 20).has_value());
    guest->push(admin, make(AdminOpcode::Abort, std::uint32_t{first} << 16U));
    guest->ring(admin);
    const auto aborted = guest->wait(admin);
    EXPECT_EQ(aborted->cid, first);
    EXPECT_EQ(spec::status_code(aborted->status()), StatusCode::AbortRequested);
    EXPECT_EQ(guest->wait(admin)->dw0, 0U);
}

// The ring is full and the host silent until the reactor sleeps: what waits comes once there is
// room.
TEST_F(VfioNvmeAdminTest, Completions_withoutRoom_comeWhenTheHostHasTaken) {
    start();
    HostQueue& admin = guest->queue(0);
    const Command command = make(AdminOpcode::KeepAlive);
    const auto offer = [&](std::uint32_t count) {
        for (std::uint32_t i = 0; i < count; ++i) {
            guest->push(admin, command);
        }
        guest->ring(admin);
    };
    const std::uint32_t room = admin.entries - 1;
    offer(room);
    for (std::uint32_t i = 0; i < room; ++i) {
        ASSERT_TRUE(guest->pop_within(admin).has_value()) << i;
    }
    offer(10);  // their entries would overwrite what the host has not said it took
    const auto slept = [this] {
        return on_reactor([] { return reactor::Reactor::current().stats().sleeps; });
    };
    const std::uint64_t before = slept();
    EXPECT_FALSE(guest->pop_within(admin, 50).has_value());
    EXPECT_GT(slept(), before);
    guest->ring_taken(admin);
    for (std::uint32_t i = 0; i < 10; ++i) {
        const auto entry = guest->pop_within(admin);
        ASSERT_TRUE(entry.has_value()) << i;
        EXPECT_EQ(entry->status(), 0);
    }
    guest->ring_taken(admin);
    EXPECT_TRUE(guest->identify(1).has_value());
}

}  // namespace
}  // namespace remora::test
