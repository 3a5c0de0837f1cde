// SPDX-License-Identifier: Apache-2.0
// A function that another controller goes on with, as after an upgrade of the daemon: the guest and
// its client notice nothing. The first controller stays, frozen, for its handles.
#include <algorithm>
#include <cstring>

#include "nvme/spec/log_page.h"
#include "reactor/call.h"
#include "tests/support/frozen_handles.h"
#include "tests/unit/vfio_user_nvme/nvme_fixture.h"

namespace remora::test {
namespace {

using frontends::vfio_user_nvme::FrozenController;

class HandoverTest : public VfioNvmeTest {
  public:
    ~HandoverTest() override {
        while (!frozen_.empty()) {
            if (controller != nullptr) {
                EXPECT_TRUE(stop(std::chrono::seconds(10)).has_value());
                on_reactor([this] { controller.reset(); });
            }
            controller = std::move(frozen_.back());
            frozen_.pop_back();
        }
    }
    void start(const ControllerSpec& with, std::uint16_t queues = 2, bool msi = false) {
        make_controller(with);
        add_namespace(1);
        NvmeGuestOptions options = guest_options();
        options.msix = with.msix;
        options.msi = msi;
        guest = std::make_unique<NvmeGuest>(options);
        ASSERT_TRUE(guest->start(queues, 16)) << guest->error();
        data = guest->allocate(4096);
    }
    void start() { start(controller_spec()); }

    core::Result<FrozenController> freeze(core::Nanos limit = std::chrono::seconds(10)) {
        FrozenController frozen;
        const auto done = run_task([&] { return freeze_into(*controller, limit, frozen); });
        if (!done) {
            return std::unexpected(done.error());
        }
        duplicate_handles(frozen);
        return frozen;
    }
    core::Result<void> restore(const FrozenController& frozen, ControllerSpec with) {
        frozen_.push_back(std::move(controller));
        with.socket_path += std::to_string(frozen_.size());
        make_controller(with);
        add_namespace(1);  // another volume: one has one channel here
        return on_reactor([&] { return controller->restore(frozen); });
    }
    void hand_over(const ControllerSpec& with) {
        const auto frozen = freeze();
        ASSERT_TRUE(frozen.has_value()) << frozen.error().message;
        const auto restored = restore(*frozen, with);
        ASSERT_TRUE(restored.has_value()) << restored.error().message;
    }
    void hand_over() { hand_over(controller_spec()); }

    std::uint16_t io(IoOpcode opcode, std::uint64_t lba, std::uint16_t qid = 1) {
        Command command = NvmeGuest::io(opcode, lba, 1);
        guest->point(command, data, 512);
        return guest->status_of(guest->queue(qid), command);
    }
    void work(std::uint16_t qid = 1) { VfioNvmeTest::work(*guest, data, qid); }

    std::unique_ptr<NvmeGuest> guest;
    std::uint64_t data = 0;

    /// When the handover waits for it already.
    static reactor::detail::Detached let_go_later(SlowDevice& device) {
        co_await reactor::sleep_for(std::chrono::milliseconds(50));
        device.hold(false);
    }

  private:
    static reactor::Task<core::Result<void>> freeze_into(Controller& from,
                                                         core::Nanos limit,
                                                         FrozenController& frozen) {
        auto taken = co_await from.freeze(limit);
        if (!taken) {
            co_return std::unexpected(taken.error());
        }
        frozen = std::move(*taken);
        co_return core::Result<void>{};
    }
    std::vector<std::unique_ptr<Controller>> frozen_;
};

TEST_F(HandoverTest, Io_goesOnWhereItWas_manyTimes) {
    start();
    for (int i = 0; i < 4; ++i) {
        work(1);
        work(2);
        hand_over();
    }
    work(1);
    work(2);
    EXPECT_EQ(on_reactor([this] { return controller->status().active_queues; }), 2U);
}

TEST_F(HandoverTest, WithPinInterrupts_ioGoesOn) {
    ControllerSpec with = controller_spec();
    with.msix = false;
    start(with);
    work();
    hand_over(with);
    work();
}

TEST_F(HandoverTest, WithOneMessage_ioGoesOn) {
    ControllerSpec with = controller_spec();
    with.msix = false;
    start(with, 1, true);
    work();
    hand_over(with);
    work();
    wait_eventfd(guest->interrupt(0), 0);
    EXPECT_EQ(io(IoOpcode::Read, 0), 0);
    EXPECT_TRUE(wait_eventfd(guest->interrupt(0), 5000));
}

TEST_F(HandoverTest, WithDoorbellsByMessage_ioGoesOn) {
    ControllerSpec with = controller_spec();
    with.map_doorbells = false;
    start(with);
    work();
    hand_over(with);
    work();
}

TEST_F(HandoverTest, ShadowDoorbells_areStillLookedAt) {
    start();
    ASSERT_TRUE(guest->use_shadow_doorbells());
    work();
    hand_over();
    work();
}

TEST_F(HandoverTest, CommandsOfferedMeanwhile_areCarriedOut) {
    start();
    work();
    const auto frozen = freeze();
    ASSERT_TRUE(frozen.has_value());
    Command command = NvmeGuest::io(IoOpcode::Read, 3, 1);
    guest->point(command, data, 512);
    guest->push(guest->queue(1), command);
    guest->ring(guest->queue(1));
    EXPECT_FALSE(guest->wait(guest->queue(1), 30).has_value());
    ASSERT_TRUE(restore(*frozen, controller_spec()).has_value());
    EXPECT_TRUE(guest->wait(guest->queue(1)).has_value());
}

TEST_F(HandoverTest, MessageThatCameInPart_isAnsweredWhenItIsWhole) {
    start();
    vfio_user::Header header;
    vfio_user::RegionAccess access;
    header.id = std::uint16_t{77};
    header.command = static_cast<std::uint16_t>(vfio_user::Command::RegionRead);
    header.size = static_cast<std::uint32_t>(sizeof(header) + sizeof(access));
    access.region = vfio_user::kRegionBar0;
    access.offset = std::uint64_t{spec::kPropertyCsts};
    access.count = std::uint32_t{4};
    std::vector<std::byte> bytes;
    for (const auto part : {core::as_bytes_of(header), core::as_bytes_of(access)}) {
        bytes.insert(bytes.end(), part.begin(), part.end());
    }
    // In three parts, with a handover in the header and one in the payload.
    ASSERT_TRUE(guest->client().send_bytes(std::span(bytes).first(5)));
    hand_over();
    ASSERT_TRUE(guest->client().send_bytes(std::span(bytes).subspan(5, 20)));
    hand_over();
    ASSERT_TRUE(guest->client().send_bytes(std::span(bytes).subspan(25)));
    const auto reply = guest->client().receive();
    ASSERT_TRUE(reply.has_value());
    EXPECT_EQ(reply->header.id, 77);
    EXPECT_EQ(reply->error(), 0);
}

TEST_F(HandoverTest, EventRequest_isAnsweredByTheNext) {
    start();
    Command event{};
    event.opcode = static_cast<std::uint8_t>(AdminOpcode::AsyncEventRequest);
    guest->push(guest->queue(0), event);
    guest->ring(guest->queue(0));
    EXPECT_FALSE(guest->wait(guest->queue(0), 20).has_value());
    hand_over();
    EXPECT_FALSE(guest->wait(guest->queue(0), 20).has_value()) << "nothing has changed";
    add_namespace(2);
    const auto told = guest->wait(guest->queue(0));
    ASSERT_TRUE(told.has_value());
    EXPECT_EQ(told->dw0, spec::kNoticeNamespaces);
    EXPECT_FALSE(guest->wait(guest->queue(0), 20).has_value());
}

// An error waits for the host's next request, and then for the log to be read: on both sides.
TEST_F(HandoverTest, ErrorEvent_thatIsNotToldYet_isToldByTheNext) {
    start();
    HostQueue& admin = guest->queue(0);
    const auto send = [&](AdminOpcode opcode, std::uint32_t cdw10) {
        Command command{};
        command.opcode = static_cast<std::uint8_t>(opcode);
        command.cdw10 = cdw10;
        guest->point(command, data, 64);
        guest->push(admin, command);
        guest->ring(admin);
    };
    guest->write_doorbell(spec::sq_doorbell(2), 64);  // of 16 entries
    EXPECT_TRUE(guest->identify(1).has_value());      // by now it was seen
    hand_over();
    send(AdminOpcode::AsyncEventRequest, 0);
    const auto told = guest->wait(admin, 5000);
    ASSERT_TRUE(told.has_value());
    EXPECT_EQ(told->dw0, nvme::spec::kErrorDoorbellValue);

    hand_over();
    send(AdminOpcode::AsyncEventRequest, 0);
    ASSERT_TRUE(guest->write32(spec::kDoorbells + 4 * spec::sq_doorbell(40), 1));
    EXPECT_FALSE(guest->wait(admin, 20).has_value()) << "not before the host has read the log";
    send(AdminOpcode::GetLogPage,
         static_cast<std::uint32_t>(nvme::spec::LogPage::Error) | (15U << 16U));
    const auto first = guest->wait(admin, 5000);
    const auto second = guest->wait(admin, 5000);
    ASSERT_TRUE(first && second);
    EXPECT_EQ(std::max<std::uint32_t>(first->dw0, second->dw0), nvme::spec::kErrorDoorbellRegister);
}

TEST_F(HandoverTest, RequestsUnderWay_areAnsweredFirst) {
    start();
    on_reactor([this] { devices[0]->hold(true); });
    Command command = NvmeGuest::io(IoOpcode::Read, 0, 1);
    guest->point(command, data, 512);
    guest->push(guest->queue(1), command);
    guest->ring(guest->queue(1));
    ASSERT_TRUE(eventually([this] { return devices[0]->held() == 1; }));
    on_reactor([this] { let_go_later(*devices[0]); });
    hand_over();
    EXPECT_TRUE(guest->wait(guest->queue(1)).has_value());
    work();
}

TEST_F(HandoverTest, RequestsThatDoNotEnd_areWaitedForNoLongerThanSaid) {
    start();
    on_reactor([this] { devices[0]->hold(true); });
    guest->push(guest->queue(1), NvmeGuest::io(IoOpcode::Flush, 0, 1));
    guest->ring(guest->queue(1));
    ASSERT_TRUE(eventually([this] { return devices[0]->held() == 1; }));
    const auto frozen = freeze(std::chrono::milliseconds(20));
    ASSERT_FALSE(frozen.has_value());
    EXPECT_EQ(frozen.error().kind, core::ErrorKind::DeadlineExceeded);
}

TEST_F(HandoverTest, Memory_comesAndGoesAfterwards) {
    start();
    hand_over();
    const SharedRam more(4096);
    constexpr std::uint64_t kElsewhere = 0x9'0000'0000;
    EXPECT_EQ(guest->client().map(kElsewhere, 4096, more.fd()), 0);
    EXPECT_EQ(guest->client().unmap(kElsewhere, 4096), 0);
    EXPECT_EQ(guest->client().map(NvmeGuest::kBase, 4096, more.fd()), EEXIST) << "it is known";
    work();
}

TEST_F(HandoverTest, ResetAfterwards_makesItNew) {
    start();
    hand_over();
    ASSERT_EQ(guest->client().reset(), 0);
    ASSERT_TRUE(guest->write_config16(4, 0x0006));  // memory, bus master
    ASSERT_TRUE(guest->enable()) << guest->error();
    ASSERT_TRUE(guest->create_queue(1, 16)) << guest->error();
    work();
}

TEST_F(HandoverTest, ControllerThatIsNotEnabled_canBeEnabled) {
    make_controller();
    guest = std::make_unique<NvmeGuest>(guest_options());
    ASSERT_TRUE(guest->connect()) << guest->error();
    hand_over();
    ASSERT_TRUE(guest->enable()) << guest->error();
    ASSERT_TRUE(guest->create_queue(1, 16)) << guest->error();
    data = guest->allocate(4096);
    work();
}

TEST_F(HandoverTest, WithoutAClient_thereIsNothingToHandOver) {
    make_controller();
    const auto frozen = freeze();
    ASSERT_FALSE(frozen.has_value());
    EXPECT_EQ(frozen.error().kind, core::ErrorKind::FailedPrecondition);
}

TEST_F(HandoverTest, StateThatCannotBe_endsTheSession) {
    start();
    auto frozen = freeze();
    ASSERT_TRUE(frozen.has_value());
    frozen->function.submissions.back().head = 99;
    const auto restored = restore(*frozen, controller_spec());
    ASSERT_FALSE(restored.has_value());
    EXPECT_EQ(restored.error().kind, core::ErrorKind::DataLoss);
    EXPECT_TRUE(eventually([this] { return !controller->status().connected; }));
}

}  // namespace
}  // namespace remora::test
