// SPDX-License-Identifier: Apache-2.0
// A guest whose client moves it from one server to another, as a migration does.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <future>

#include "core/crc32c.h"
#include "core/prng.h"
#include "frontends/vfio_user_nvme/moved_state.h"
#include "tests/unit/vfio_user_nvme/nvme_fixture.h"

namespace remora::test {
namespace {

using frontends::vfio_user_nvme::MovedState;
using vfio_user::DeviceState;

class MigrationTest : public VfioNvmeTest {
  public:
    static constexpr std::uint64_t kConfiguration = 0x14;  ///< CC.

    MigrationTest() {
        make_controller();
        guest = std::make_unique<NvmeGuest>(guest_options());
        CHECK(guest->start(2, 16));
        data = guest->allocate(4096);
    }
    ~MigrationTest() override {
        if (source != nullptr) {
            EXPECT_TRUE(stop(std::chrono::seconds(10)).has_value());
            on_reactor([this] { controller.reset(); });
            controller = std::move(source);
        }
    }
    [[nodiscard]] ControllerSpec destination_spec() {
        ControllerSpec with = controller_spec();
        with.socket_path += ".destination";
        return with;
    }
    /// The other server, with a volume of the same identity.
    void make_destination(block::Geometry with = geometry()) {
        source = std::move(controller);
        VfioNvmeTest::make_controller(destination_spec());
        add_namespace(1, with);
    }
    std::vector<std::byte> leave() {
        EXPECT_EQ(guest->client().change_state(DeviceState::StopCopy), 0);
        auto state = guest->client().read_state();
        EXPECT_TRUE(state.has_value());
        return state.value_or(std::vector<std::byte>{});
    }
    /// 0, or the errno.
    int arrive(std::span<const std::byte> state) {
        EXPECT_TRUE(guest->move_to(destination_spec().socket_path)) << guest->error();
        EXPECT_EQ(guest->client().change_state(DeviceState::Resuming), 0);
        EXPECT_EQ(guest->client().write_state(state), 0);
        return guest->client().change_state(DeviceState::Running);
    }
    void work() {
        VfioNvmeTest::work(*guest, data, 1);
        VfioNvmeTest::work(*guest, data, 2);
    }
    void offer_read() {
        Command command = NvmeGuest::io(IoOpcode::Read, 0, 1);
        guest->point(command, data, 512);
        guest->push(guest->queue(1), command);
        guest->ring(guest->queue(1));
    }
    /// A read that the volume keeps.
    SlowDevice& hold_a_read() {
        SlowDevice& device = *devices.front();
        on_reactor([&] { device.hold(true); });
        offer_read();
        EXPECT_TRUE(eventually([&] { return device.held() == 1; }));
        return device;
    }

    std::unique_ptr<NvmeGuest> guest;
    std::unique_ptr<Controller> source;
    std::uint64_t data = 0;
};

TEST_F(MigrationTest, Guest_goesOnAtTheOther) {
    work();
    const auto state = leave();
    make_destination();
    ASSERT_EQ(arrive(state), 0);
    work();
    EXPECT_TRUE(guest->identify(1).has_value()) << "the admin queue came along";
    EXPECT_EQ(on_reactor([this] { return controller->status().active_queues; }), 2U);
}

TEST_F(MigrationTest, WithShadowDoorbells_goesOnAtTheOther) {
    ASSERT_TRUE(guest->use_shadow_doorbells());
    work();
    const auto state = leave();
    make_destination();
    ASSERT_EQ(arrive(state), 0);
    work();
}

TEST_F(MigrationTest, Failed_guestGoesOnWhereItIs) {
    work();
    static_cast<void>(leave());
    ASSERT_EQ(guest->client().change_state(DeviceState::Running), 0);
    work();
    ASSERT_EQ(guest->client().change_state(DeviceState::Stop), 0);
    ASSERT_EQ(guest->client().change_state(DeviceState::Running), 0);
    work();
}

TEST_F(MigrationTest, Halted_takesNothing_andTakesItLater) {
    ASSERT_EQ(guest->client().change_state(DeviceState::Stop), 0);
    offer_read();
    EXPECT_FALSE(guest->wait(guest->queue(1), 50).has_value());
    // What was offered meanwhile is taken by the other one.
    const auto state = leave();
    make_destination();
    ASSERT_EQ(arrive(state), 0);
    EXPECT_TRUE(guest->wait(guest->queue(1)).has_value());
}

TEST_F(MigrationTest, RequestsUnderWay_areAnsweredBeforeItHalts) {
    SlowDevice& device = hold_a_read();
    auto changed = std::async(
        std::launch::async, [this] { return guest->client().change_state(DeviceState::StopCopy); });
    EXPECT_EQ(changed.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
    on_reactor([&] { device.hold(false); });
    EXPECT_EQ(changed.get(), 0);
    EXPECT_TRUE(guest->wait(guest->queue(1), 0).has_value()) << "before the state was told";
}

TEST_F(MigrationTest, DisableUnderWay_endsBeforeItHalts) {
    SlowDevice& device = hold_a_read();
    ASSERT_TRUE(guest->write32(kConfiguration, 0));
    auto changed = std::async(
        std::launch::async, [this] { return guest->client().change_state(DeviceState::StopCopy); });
    EXPECT_EQ(changed.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
    on_reactor([&] { device.hold(false); });
    EXPECT_EQ(changed.get(), 0);
    EXPECT_FALSE(on_reactor([this] { return controller->status().ready; }));
}

TEST_F(MigrationTest, ClientGoneWhileItHalts_theNextOneIsServed) {
    SlowDevice& device = hold_a_read();
    std::array<std::byte, 16> change{};
    change[0] = std::byte{16};
    change[4] = std::byte{vfio_user::kFeatureDeviceState};
    change[6] = std::byte{2};  // set
    change[8] = static_cast<std::byte>(DeviceState::Stop);
    guest->client().send(vfio_user::Command::DeviceFeature, change);
    EXPECT_FALSE(guest->client().receive(50).has_value());
    guest->client().disconnect();
    on_reactor([&] { device.hold(false); });
    NvmeGuest next(guest_options());
    ASSERT_TRUE(next.start(1)) << next.error();
    EXPECT_TRUE(next.identify(1).has_value());
}

TEST_F(MigrationTest, ErrorThatIsNotToldYet_isToldThere) {
    guest->write_doorbell(spec::sq_doorbell(2), 64);  // of 16 entries
    EXPECT_TRUE(guest->identify(1).has_value());      // by now it was seen
    const auto state = leave();
    make_destination();
    ASSERT_EQ(arrive(state), 0);
    Command event{};
    event.opcode = static_cast<std::uint8_t>(AdminOpcode::AsyncEventRequest);
    guest->push(guest->queue(0), event);
    guest->ring(guest->queue(0));
    const auto told = guest->wait(guest->queue(0), 5000);
    ASSERT_TRUE(told.has_value());
    EXPECT_EQ(told->dw0, nvme::spec::kErrorDoorbellValue);
    const auto moved = frontends::vfio_user_nvme::decode_moved(leave());
    ASSERT_TRUE(moved.has_value());
    EXPECT_FALSE(moved->function.controller.error_pending);
    EXPECT_TRUE(moved->function.controller.error_masked) << "until the log is read";
}

TEST_F(MigrationTest, AnotherVolume_isRefused) {
    const auto state = leave();
    block::Geometry larger = geometry();
    larger.block_count *= 2;
    make_destination(larger);
    EXPECT_EQ(arrive(state), EINVAL);
    EXPECT_EQ(guest->client().device_state(), DeviceState::Error);
    ASSERT_EQ(guest->client().reset(), 0);
    guest->client().disconnect();
    NvmeGuestOptions options = guest_options();
    options.path = destination_spec().socket_path;
    NvmeGuest next(options);
    EXPECT_TRUE(next.start(1)) << next.error();
}

TEST_F(MigrationTest, StatesWithAWrongByte_areRefusedByTheirCheckSum) {
    auto state = leave();
    make_destination();
    for (const std::size_t at : {std::size_t{0}, std::size_t{4}, std::size_t{8}, std::size_t{12},
                                 std::size_t{100}, state.size() - 1}) {
        state[at] ^= std::byte{1};
        EXPECT_EQ(arrive(state), EINVAL) << at;
        state[at] ^= std::byte{1};
    }
    EXPECT_EQ(arrive(std::span(state).first(state.size() - 1)), EINVAL);
    EXPECT_EQ(arrive({}), EINVAL);
    EXPECT_EQ(arrive(state), 0);
    work();
}

// A hostile client makes the check sum right.
TEST_F(MigrationTest, StatesThatLie_hurtNobody) {
    const auto good = leave();
    make_destination();
    core::Prng prng(20260101);
    const std::span<std::byte> ram = guest->ram().bytes();
    const std::vector<std::byte> before(ram.begin(), ram.end());
    ASSERT_TRUE(guest->move_to(destination_spec().socket_path)) << guest->error();
    int taken = 0;
    for (int round = 0; round < 2000; ++round) {
        auto state = good;
        // Of the configuration space and the doorbells few bytes mean anything.
        const std::uint64_t changes = 1 + prng.below(4);
        for (std::uint64_t i = 0; i < changes; ++i) {
            const std::size_t fixed = 16 + prng.below(64);
            const std::size_t lists = 16 + 64 + 4096 + 4096;
            const std::size_t at =
                prng.below(3) == 0 ? fixed : lists + prng.below(state.size() - lists);
            state[at] = static_cast<std::byte>(prng.below(2) == 0 ? prng.below(256) : 0xff);
        }
        const core::le32 crc(core::crc32c(std::span(state).subspan(16)));
        std::memcpy(state.data() + 12, &crc, sizeof(crc));
        ASSERT_EQ(guest->client().change_state(DeviceState::Resuming), 0);
        ASSERT_EQ(guest->client().write_state(state, 16384 - 8), 0);
        const int loaded = guest->client().change_state(DeviceState::Running);
        ASSERT_TRUE(loaded == 0 || loaded == EINVAL) << loaded;
        taken += loaded == 0 ? 1 : 0;
        if (loaded == 0) {
            guest->write_doorbell(spec::sq_doorbell(1), static_cast<std::uint32_t>(prng.below(16)));
        }
        ASSERT_EQ(guest->client().reset(), 0);
    }
    EXPECT_GT(taken, 0);
    EXPECT_LT(taken, 2000);
    std::ranges::copy(before, ram.begin());  // liars write into their own memory
    EXPECT_EQ(arrive(good), 0);
    work();
}

// Fields that a changed byte seldom makes, since each goes with others.
TEST_F(MigrationTest, StatesThatContradictThemselves_areRefused) {
    const auto good = leave();
    make_destination();
    ASSERT_TRUE(guest->move_to(destination_spec().socket_path)) << guest->error();
    const auto with_event = [](MovedState& of) {
        of.function.controller.event_config = 0x100;
        of.function.controller.namespace_pending = true;
        of.function.controller.namespace_masked = false;
        of.function.controller.event_requests = {7};
    };
    const std::vector<std::function<void(MovedState&)>> lies = {
        [&](MovedState& of) {
            with_event(of);
            of.function.completions.front().tail = 0x1000'0000;
        },
        [&](MovedState& of) {
            with_event(of);
            of.function.completions.front().head = of.function.completions.front().entries;
        },
        [&](MovedState& of) {
            with_event(of);
            of.function.submissions.front().head = of.function.submissions.front().entries;
        },
        [](MovedState& of) { of.function.controller.event_requests = {1, 2, 3, 4, 5}; },
        [&](MovedState& of) {
            with_event(of);
            of.function.controller.cc = 0;
        },
        [](MovedState& of) { of.function.controller.cc = 0; },
        [&](MovedState& of) {
            with_event(of);
            of.function.controller.csts = 0;
        },
    };
    for (std::size_t i = 0; i < lies.size(); ++i) {
        auto lie = frontends::vfio_user_nvme::decode_moved(good);
        ASSERT_TRUE(lie.has_value());
        lies[i](*lie);
        ASSERT_EQ(guest->client().change_state(DeviceState::Resuming), 0) << i;
        ASSERT_EQ(guest->client().write_state(frontends::vfio_user_nvme::encode_moved(*lie)), 0);
        EXPECT_EQ(guest->client().change_state(DeviceState::Running), EINVAL) << i;
        ASSERT_EQ(guest->client().reset(), 0) << i;
    }
    EXPECT_EQ(arrive(good), 0);
    work();
}

}  // namespace
}  // namespace remora::test
