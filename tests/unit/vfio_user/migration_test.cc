// SPDX-License-Identifier: Apache-2.0
// The states of a migration as a client sees them, with a device that notes what it is told.
#include <cerrno>

#include "tests/unit/vfio_user/session_fixture.h"

namespace remora::test {
namespace {

using vfio_user::Command;
using vfio_user::DeviceFeature;
using vfio_user::DeviceState;
using vfio_user::MigrationData;

class MigrationTest : public SessionTest {
  public:
    MigrationTest() {
        negotiate();
        on_reactor([this] {
            for (int i = 0; i < 10'000; ++i) {
                device.saved.push_back(static_cast<std::byte>(i * 7));
            }
            return 0;
        });
    }
    int feature(std::uint32_t flags) {
        DeviceFeature request;
        request.argsz = static_cast<std::uint32_t>(sizeof(request));
        request.flags = flags;
        const auto reply = client->call_with(Command::DeviceFeature, request);
        return reply ? reply->error() : -1;
    }
    int halts() {
        return on_reactor([this] { return device.halts; });
    }
    int goes_on() {
        return on_reactor([this] { return device.goes_on; });
    }
};

TEST_F(MigrationTest, Features_areProbedAndTold) {
    namespace flags = vfio_user::feature_flags;
    EXPECT_EQ(feature(vfio_user::kFeatureMigration | flags::kProbe | flags::kGet), 0);
    EXPECT_EQ(feature(vfio_user::kFeatureMigration | flags::kProbe | flags::kSet), EINVAL);
    EXPECT_EQ(feature(vfio_user::kFeatureDeviceState | flags::kProbe | flags::kGet | flags::kSet),
              0);
    EXPECT_EQ(feature(6 | flags::kProbe), EOPNOTSUPP) << "dirty pages are not logged";
    EXPECT_EQ(feature(vfio_user::kFeatureMigration), EINVAL) << "neither get nor set";
    EXPECT_EQ(feature(vfio_user::kFeatureDeviceState | flags::kGet | flags::kSet), EINVAL);
    EXPECT_EQ(feature(vfio_user::kFeatureDeviceState | flags::kSet), EINVAL) << "no state in it";

    DeviceFeature request;
    request.argsz = static_cast<std::uint32_t>(sizeof(request));
    request.flags = vfio_user::kFeatureMigration | flags::kGet;
    const auto reply = client->call_with(Command::DeviceFeature, request);
    ASSERT_TRUE(reply && !reply->failed());
    core::ByteReader reader(reply->payload);
    DeviceFeature head;
    vfio_user::MigrationFlags able;
    ASSERT_TRUE(reader.read(head) && reader.read(able));
    EXPECT_EQ(head.argsz, sizeof(head) + sizeof(able));
    EXPECT_EQ(able.flags, vfio_user::kMigrationStopCopy);
    EXPECT_EQ(client->device_state(), DeviceState::Running);
}

TEST_F(MigrationTest, Source_isHaltedAndRead_andGoesOnWhereItStays) {
    ASSERT_EQ(client->change_state(DeviceState::StopCopy), 0);
    EXPECT_EQ(client->device_state(), DeviceState::StopCopy);
    EXPECT_EQ(halts(), 1);
    const auto state = client->read_state(999);
    ASSERT_TRUE(state.has_value());
    EXPECT_EQ(*state, device.saved);
    EXPECT_EQ(client->read_state(), std::vector<std::byte>{}) << "there is no more of it";
    EXPECT_EQ(client->change_state(DeviceState::StopCopy), 0) << "nothing is begun anew";
    EXPECT_EQ(client->read_state(), std::vector<std::byte>{});
    ASSERT_EQ(client->change_state(DeviceState::Running), 0);
    EXPECT_EQ(goes_on(), 1);
    EXPECT_FALSE(client->read_state().has_value());
}

TEST_F(MigrationTest, Destination_loadsWhatWasWritten) {
    ASSERT_EQ(client->change_state(DeviceState::Resuming), 0);
    EXPECT_EQ(client->write_state(device.saved, 1234), 0);
    ASSERT_EQ(client->change_state(DeviceState::Running), 0);
    EXPECT_EQ(on_reactor([this] { return device.loaded; }), device.saved);
    EXPECT_EQ(goes_on(), 1);
    EXPECT_EQ(client->write_state(device.saved), EINVAL);
}

TEST_F(MigrationTest, RequestsUnderWay_areWaitedFor) {
    on_reactor([this] { return device.idle = false; });
    std::array<std::byte, 16> change{};
    DeviceFeature request;
    request.argsz = static_cast<std::uint32_t>(change.size());
    request.flags = vfio_user::kFeatureDeviceState | vfio_user::feature_flags::kSet;
    std::memcpy(change.data(), &request, sizeof(request));
    change[8] = static_cast<std::byte>(DeviceState::Stop);
    client->send(Command::DeviceFeature, change);
    EXPECT_FALSE(client->receive(50).has_value());
    on_reactor([this] {
        device.idle = true;
        session->on_halted();
        return 0;
    });
    const auto reply = client->receive();
    ASSERT_TRUE(reply && !reply->failed());
    EXPECT_EQ(client->device_state(), DeviceState::Stop);
}

TEST_F(MigrationTest, StateThatIsRefused_onlyAResetHelps) {
    ASSERT_EQ(client->change_state(DeviceState::Resuming), 0);
    on_reactor([this] { return device.refuse = true; });
    EXPECT_EQ(client->change_state(DeviceState::Stop), EINVAL);
    EXPECT_EQ(client->device_state(), DeviceState::Error);
    EXPECT_EQ(client->change_state(DeviceState::Running), EINVAL);
    EXPECT_EQ(client->reset(), 0);
    EXPECT_EQ(client->device_state(), DeviceState::Running);
    EXPECT_EQ(goes_on(), 1);
}

TEST_F(MigrationTest, StateThatCannotBeRead_theDeviceGoesOn) {
    on_reactor([this] { return device.refuse = true; });
    EXPECT_EQ(client->change_state(DeviceState::StopCopy), EBUSY);
    EXPECT_EQ(client->device_state(), DeviceState::Running);
    EXPECT_EQ(goes_on(), 1);
}

TEST_F(MigrationTest, StatesThatAreNone_andDataOutOfPlace_areRefused) {
    for (const std::uint32_t state : {0U, 5U, 6U, 7U, 8U, 0xffff'ffffU}) {
        EXPECT_EQ(client->change_state(static_cast<DeviceState>(state)), EINVAL) << state;
    }
    EXPECT_EQ(client->device_state(), DeviceState::Running);
    EXPECT_EQ(halts(), 0);
    EXPECT_FALSE(client->read_state().has_value());
    EXPECT_EQ(client->write_state(device.saved), EINVAL);
    ASSERT_EQ(client->change_state(DeviceState::StopCopy), 0);
    MigrationData wanted;
    wanted.argsz = static_cast<std::uint32_t>(sizeof(wanted));
    wanted.size = vfio_user::kMaxTransferBytes + 1;
    EXPECT_EQ(client->call_with(Command::MigDataRead, wanted)->error(), EINVAL);
    wanted.size = 5;  // and nothing behind it
    EXPECT_EQ(client->call_with(Command::MigDataWrite, wanted)->error(), EINVAL);
}

TEST_F(MigrationTest, MoreThanAnyState_isRefused) {
    ASSERT_EQ(client->change_state(DeviceState::Resuming), 0);
    const std::vector<std::byte> many(vfio_user::Migration::kMaxStateBytes);
    EXPECT_EQ(client->write_state(many), 0);
    EXPECT_EQ(client->write_state(std::span(many).first(1)), ENOSPC);
    ASSERT_EQ(client->change_state(DeviceState::Stop), 0);
}

}  // namespace
}  // namespace remora::test
