// SPDX-License-Identifier: Apache-2.0
// Doorbells with values that no host writes, or of queues that are none: other functions live on,
// and a reset of the controller mends this one.
#include <utility>

#include "tests/unit/vfio_user_nvme/nvme_fixture.h"

namespace remora::test {
namespace {

/// Doorbells mapped, or by messages.
class VfioNvmeStrayDoorbellTest : public VfioNvmeTest, public testing::WithParamInterface<bool> {
  public:
    VfioNvmeStrayDoorbellTest() {
        ControllerSpec with = controller_spec();
        with.map_doorbells = GetParam();
        make_controller(with);
        add_namespace(1);
        neighbour = std::exchange(controller, nullptr);
        other = std::make_unique<NvmeGuest>(guest_options());
        with.socket_path += ".stray";
        make_controller(with);
        add_namespace(1);
        guest = std::make_unique<NvmeGuest>(NvmeGuestOptions{.path = with.socket_path});
        CHECK(other->start() && guest->start(2));
        data = guest->allocate(4096);
        other_data = other->allocate(4096);
    }
    ~VfioNvmeStrayDoorbellTest() override {
        EXPECT_TRUE(stop(std::chrono::seconds(10)).has_value());
        on_reactor([this] { controller.reset(); });
        controller = std::move(neighbour);
    }
    void expect_neighbour_works() { work(*other, other_data, 1, 8); }
    void expect_reset_mends() {
        ASSERT_TRUE(guest->write32(spec::kPropertyCc, 0));
        ASSERT_TRUE(guest->wait_status(spec::csts::kReady | spec::csts::kFatal, 0))
            << guest->error();
        ASSERT_TRUE(guest->enable()) << guest->error();
        EXPECT_TRUE(guest->identify(1).has_value());
        for (std::uint16_t qid = 1; qid <= kQueues; ++qid) {
            ASSERT_TRUE(guest->create_queue(qid, 16)) << guest->error();
            work(*guest, data, qid, 20);
        }
    }

    std::unique_ptr<Controller> neighbour;
    std::unique_ptr<NvmeGuest> other;  ///< The neighbour's.
    std::unique_ptr<NvmeGuest> guest;
    std::uint64_t data = 0;
    std::uint64_t other_data = 0;
};

TEST_P(VfioNvmeStrayDoorbellTest, AdminTail_outOfRange_isMendedByAReset) {
    for (const std::uint32_t tail : {32U, 33U, 0xffffU, 0x1'0000U, 0x8000'0001U, 0xffff'ffffU}) {
        SCOPED_TRACE(tail);
        guest->write_doorbell(spec::sq_doorbell(0), tail);
        expect_neighbour_works();
        expect_reset_mends();
    }
}

TEST_P(VfioNvmeStrayDoorbellTest, AdminHead_outOfRange_isMendedByAReset) {
    for (const std::uint32_t head : {32U, 0xffffU, 0xffff'ffffU}) {
        SCOPED_TRACE(head);
        guest->write_doorbell(spec::cq_doorbell(0), head);
        // It is looked at when the queue is full.
        HostQueue& admin = guest->queue(0);
        Command command{};
        command.opcode = static_cast<std::uint8_t>(AdminOpcode::KeepAlive);
        for (std::uint32_t i = 0; i < admin.entries - 1; ++i) {
            guest->push(admin, command);
        }
        guest->ring(admin);
        expect_neighbour_works();
        expect_reset_mends();
    }
}

TEST_P(VfioNvmeStrayDoorbellTest, AdminTail_outOfRangeWithRequestsUnderWay_isMendedByAReset) {
    SlowDevice& device = *devices.back();
    on_reactor([&] { device.hold(true); });
    guest->push(guest->queue(1), NvmeGuest::io(IoOpcode::Flush, 0, 1));
    guest->ring(guest->queue(1));
    ASSERT_TRUE(eventually([&] { return device.held() == 1; }));
    guest->write_doorbell(spec::sq_doorbell(0), 0xffff'ffff);
    expect_neighbour_works();
    ASSERT_TRUE(guest->write32(spec::kPropertyCc, 0));
    on_reactor([&] { device.hold(false); });
    expect_reset_mends();
}

TEST_P(VfioNvmeStrayDoorbellTest, Doorbells_ofNoQueue_areMendedByAReset) {
    constexpr std::uint32_t kDoorbells = 4096 / 4;  // as many as the page has
    for (const std::uint32_t value : {1U, 63U, 0xffffU, 0xffff'ffffU}) {
        SCOPED_TRACE(value);
        for (std::uint32_t index = spec::sq_doorbell(kQueues - 1); index < kDoorbells; ++index) {
            guest->write_doorbell(index, value);
        }
        expect_neighbour_works();
        expect_reset_mends();
        // Some have been queues by now.
        for (std::uint16_t qid = 2; qid <= kQueues; ++qid) {
            ASSERT_TRUE(guest->delete_queue(qid)) << guest->error();
        }
        expect_neighbour_works();
    }
}

INSTANTIATE_TEST_SUITE_P(All, VfioNvmeStrayDoorbellTest, testing::Bool());

}  // namespace
}  // namespace remora::test
