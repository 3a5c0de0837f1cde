// SPDX-License-Identifier: Apache-2.0
// Enable, disable, shutdown, resets, clients that come and go.
#include <cstring>

#include "tests/unit/vfio_user_nvme/nvme_fixture.h"

namespace remora::test {
namespace {

class VfioNvmeLifeTest : public VfioNvmeTest {
  public:
    void start(std::uint16_t queues = 1) {
        make_controller();
        guest = std::make_unique<NvmeGuest>(guest_options());
        ASSERT_TRUE(guest->start(queues)) << guest->error();
    }
    /// A read that the volume holds.
    void hold_one_read() {
        on_reactor([this] { devices[0]->hold(true); });
        data_ = guest->allocate(4096);
        Command command = NvmeGuest::io(IoOpcode::Read, 0, 1);
        guest->point(command, data_, 512);
        guest->push(guest->queue(1), command);
        guest->ring(guest->queue(1));
        ASSERT_TRUE(eventually([this] { return devices[0]->held() == 1; }));
    }
    void let_go() {
        on_reactor([this] { devices[0]->hold(false); });
    }
    void expect_works() {
        ASSERT_TRUE(guest->enable()) << guest->error();
        ASSERT_TRUE(guest->create_queue(1, 16)) << guest->error();
        EXPECT_EQ(guest->status_of(guest->queue(1), NvmeGuest::io(IoOpcode::Flush, 0, 1)), 0);
    }
    std::unique_ptr<NvmeGuest> guest;

  private:
    std::uint64_t data_ = 0;
};

TEST_F(VfioNvmeLifeTest, Disable_endsEverythingAndItComesUpAgain) {
    start(2);
    ASSERT_TRUE(guest->write32(spec::kPropertyCc, 0));
    ASSERT_TRUE(guest->wait_status(spec::csts::kReady, 0));
    EXPECT_EQ(on_reactor([this] { return controller->status().active_queues; }), 0U);
    expect_works();
}

TEST_F(VfioNvmeLifeTest, Disable_withRequestsUnderWay_isNotReadyUntilTheyEnd) {
    start();
    hold_one_read();
    ASSERT_TRUE(guest->write32(spec::kPropertyCc, 0));
    EXPECT_EQ(guest->read32(spec::kPropertyCsts) & 1U, 1U);
    // Enabled again before that: it happens afterwards.
    ASSERT_TRUE(guest->write32(spec::kPropertyCc, spec::cc::kNvmEntrySizes | spec::cc::kEnable));
    let_go();
    ASSERT_TRUE(guest->wait_status(spec::csts::kReady, 1));
    EXPECT_FALSE(guest->pop(guest->queue(1)).has_value());  // nobody was told
}

TEST_F(VfioNvmeLifeTest, Enable_withoutMemoryForTheAdminQueue_isFatal) {
    make_controller();
    guest = std::make_unique<NvmeGuest>(guest_options());
    ASSERT_TRUE(guest->connect());
    ASSERT_TRUE(guest->write32(spec::kRegisterAqa, 0x001f001f));
    ASSERT_TRUE(guest->write32(spec::kPropertyCc, spec::cc::kNvmEntrySizes | spec::cc::kEnable));
    EXPECT_NE(guest->read32(spec::kPropertyCsts) & spec::csts::kFatal, 0U);
    ASSERT_TRUE(guest->write32(spec::kPropertyCc, 0));
    EXPECT_EQ(guest->read32(spec::kPropertyCsts), 0U);
    expect_works();
}

TEST_F(VfioNvmeLifeTest, Enable_withAPageSizeItHasNot_isFatal) {
    make_controller();
    guest = std::make_unique<NvmeGuest>(guest_options());
    ASSERT_TRUE(guest->connect());
    ASSERT_TRUE(guest->write32(spec::kPropertyCc, (1U << spec::cc::kMpsShift) |
                                                      spec::cc::kNvmEntrySizes |
                                                      spec::cc::kEnable));
    EXPECT_NE(guest->read32(spec::kPropertyCsts) & spec::csts::kFatal, 0U);
}

TEST_F(VfioNvmeLifeTest, Shutdown_isDoneWhenRequestsHaveEnded) {
    start();
    hold_one_read();
    const std::uint32_t enabled = spec::cc::kNvmEntrySizes | spec::cc::kEnable;
    ASSERT_TRUE(guest->write32(spec::kPropertyCc, enabled | spec::cc::kShutdownNormal));
    EXPECT_EQ(guest->read32(spec::kPropertyCsts) & spec::csts::kShutdownMask,
              spec::csts::kShutdownBusy);
    let_go();
    ASSERT_TRUE(guest->wait_status(spec::csts::kShutdownMask, spec::csts::kShutdownDone));
    ASSERT_TRUE(guest->write32(spec::kPropertyCc, 0));
    ASSERT_TRUE(guest->wait_status(spec::csts::kReady, 0));
    expect_works();
}

TEST_F(VfioNvmeLifeTest, DeviceReset_forgetsEverything) {
    start(2);
    EXPECT_EQ(guest->client().reset(), 0);
    EXPECT_EQ(guest->read32(spec::kPropertyCsts), 0U);
    EXPECT_EQ(guest->read32(spec::kRegisterAqa), 0U);
    EXPECT_EQ(guest->client().read_as<std::uint16_t>(7, 4), 0);  // no bus master
    ASSERT_TRUE(guest->write_config16(4, 6));
    ASSERT_TRUE(guest->write_config16(0x52, 0x8000));
    expect_works();
}

TEST_F(VfioNvmeLifeTest, DeviceReset_withRequestsUnderWay_isAnsweredWhenTheyEnd) {
    start();
    hold_one_read();
    guest->client().send(vfio_user::Command::DeviceReset);
    EXPECT_FALSE(guest->client().receive(50).has_value());
    let_go();
    EXPECT_TRUE(guest->client().receive().has_value());
    EXPECT_EQ(guest->read32(spec::kPropertyCsts), 0U);
}

TEST_F(VfioNvmeLifeTest, FunctionLevelReset_isAReset) {
    start();
    hold_one_read();
    ASSERT_TRUE(guest->write_config16(0x68, 0x8000));
    let_go();
    ASSERT_TRUE(guest->wait_status(spec::csts::kReady, 0));
    ASSERT_TRUE(guest->write_config16(4, 6));
    ASSERT_TRUE(guest->write_config16(0x52, 0x8000));
    expect_works();
}

TEST_F(VfioNvmeLifeTest, WithoutBusMaster_noCommandIsTaken) {
    start();
    ASSERT_TRUE(guest->write_config16(4, 2));
    guest->push(guest->queue(1), NvmeGuest::io(IoOpcode::Flush, 0, 1));
    guest->ring(guest->queue(1));
    EXPECT_FALSE(guest->wait(guest->queue(1), 30).has_value());
    ASSERT_TRUE(guest->write_config16(4, 6));
    EXPECT_TRUE(guest->wait(guest->queue(1)).has_value());
}

TEST_F(VfioNvmeLifeTest, ClientGone_withRequestsUnderWay_theNextOneComesAfterThem) {
    start();
    hold_one_read();
    guest->client().disconnect();
    auto next = std::make_unique<NvmeGuest>(guest_options());
    auto connected = std::async(std::launch::async, [&] { return next->start(1); });
    EXPECT_TRUE(eventually([this] { return !controller->status().connected; }));
    let_go();
    ASSERT_TRUE(connected.get()) << next->error();
    EXPECT_EQ(next->status_of(next->queue(1), NvmeGuest::io(IoOpcode::Flush, 0, 1)), 0);
}

TEST_F(VfioNvmeLifeTest, ClientGone_itsDoorbellsAreNotThoseOfTheNextOne) {
    start();
    ASSERT_TRUE(guest->doorbells_mapped());
    guest->client().disconnect();
    NvmeGuest next(guest_options());
    ASSERT_TRUE(next.start(1)) << next.error();
    guest->write_doorbell(spec::sq_doorbell(1), 5);  // it still has them mapped
    guest->write_doorbell(spec::sq_doorbell(0), 5);
    EXPECT_EQ(next.status_of(next.queue(1), NvmeGuest::io(IoOpcode::Flush, 0, 1)), 0);
    EXPECT_TRUE(next.identify(1).has_value());
}

TEST_F(VfioNvmeLifeTest, SecondClient_isRefusedWhileTheFirstLives) {
    start();
    auto second = VfioClient::connect(controller_spec().socket_path);
    ASSERT_TRUE(second.has_value());
    EXPECT_TRUE(second->closed_by_peer());
    EXPECT_EQ(guest->status_of(guest->queue(1), NvmeGuest::io(IoOpcode::Flush, 0, 1)), 0);
}

TEST_F(VfioNvmeLifeTest, Stop_thatRunsOutOfTime_mayBeCalledAgain) {
    start();
    hold_one_read();
    EXPECT_FALSE(stop(std::chrono::milliseconds(20)).has_value());
    let_go();
    EXPECT_TRUE(stop(std::chrono::seconds(10)).has_value());
}

TEST_F(VfioNvmeLifeTest, Stop_answersWhatWasTaken) {
    start();
    hold_one_read();
    auto stopped = std::async(std::launch::async, [&] { return stop(std::chrono::seconds(10)); });
    EXPECT_FALSE(guest->client().closed_by_peer(20));
    let_go();
    EXPECT_TRUE(stopped.get().has_value());
    EXPECT_EQ(guest->wait(guest->queue(1), 1000)->status(), 0);
    EXPECT_TRUE(guest->client().closed_by_peer());
}

TEST_F(VfioNvmeLifeTest, MemoryTakenAway_waitsForItsRequestsAndFailsNewOnes) {
    start();
    const SharedRam more(0x10000);
    constexpr std::uint64_t kMore = 0x2000'0000;
    ASSERT_EQ(guest->client().map(kMore, 0x10000, more.fd()), 0);
    on_reactor([this] { devices[0]->hold(true); });
    Command command = NvmeGuest::io(IoOpcode::Read, 0, 1);
    spec::PrpPair prps;
    prps.first = kMore;
    std::memcpy(&command.sgl, &prps, sizeof(prps));
    guest->push(guest->queue(1), command);
    guest->ring(guest->queue(1));
    ASSERT_TRUE(eventually([this] { return devices[0]->held() == 1; }));
    vfio_user::DmaUnmapRequest unmap;
    unmap.argsz = static_cast<std::uint32_t>(sizeof(unmap));
    unmap.address = kMore;
    unmap.size = std::uint64_t{0x10000};
    guest->client().send(vfio_user::Command::DmaUnmap, core::as_bytes_of(unmap));
    EXPECT_FALSE(guest->client().receive(50).has_value());
    guest->push(guest->queue(1), command);
    guest->ring(guest->queue(1));
    EXPECT_EQ(guest->wait(guest->queue(1))->status(), refused(StatusCode::DataTransferError));
    let_go();
    EXPECT_TRUE(guest->client().receive().has_value());
    EXPECT_EQ(guest->wait(guest->queue(1))->status(), 0);
}

TEST_F(VfioNvmeLifeTest, QueuesMemoryRemapped_theyGoOn) {
    start();
    const std::size_t size = guest->ram().bytes().size();
    ASSERT_EQ(guest->client().unmap(NvmeGuest::kBase, size), 0);
    guest->push(guest->queue(1), NvmeGuest::io(IoOpcode::Flush, 0, 1));
    guest->ring(guest->queue(1));
    EXPECT_FALSE(guest->wait(guest->queue(1), 20).has_value());
    // In two parts now, as QEMU does when something is put into the middle.
    ASSERT_EQ(guest->client().map(NvmeGuest::kBase, size / 2, guest->ram().fd()), 0);
    ASSERT_EQ(
        guest->client().map(NvmeGuest::kBase + size / 2, size / 2, guest->ram().fd(), size / 2), 0);
    ASSERT_TRUE(guest->wait(guest->queue(1)).has_value());
    EXPECT_EQ(guest->status_of(guest->queue(1), NvmeGuest::io(IoOpcode::Flush, 0, 1)), 0);
}

}  // namespace
}  // namespace remora::test
