// SPDX-License-Identifier: Apache-2.0
#include "block/registry.h"

#include <gtest/gtest.h>

namespace remora::block {
namespace {

class NamedDevice final : public Device {
  public:
    NamedDevice(std::string name, unsigned char id) : Device(std::move(name), uuid_of(id)) {}
    static core::Uuid uuid_of(unsigned char id) {
        core::Uuid uuid;
        uuid.bytes[0] = id;
        return uuid;
    }
    [[nodiscard]] Geometry geometry() const override { return {}; }
    core::Result<std::unique_ptr<Channel>> open_channel() override {
        return core::fail(core::ErrorKind::ResourceExhausted, "a name has no channels");
    }
};

class RegistryTest : public testing::Test {
  public:
    NamedDevice a{"a", 1};
    NamedDevice b{"b", 2};
    NamedDevice another_a{"a", 3};
    Registry registry;
};

TEST_F(RegistryTest, Find_byNameAndUuid_givesTheDevice) {
    ASSERT_TRUE(registry.add(a));
    ASSERT_TRUE(registry.add(b));
    EXPECT_EQ(registry.find("a"), &a);
    EXPECT_EQ(registry.find("b"), &b);
    EXPECT_EQ(registry.find(NamedDevice::uuid_of(2)), &b);
}

TEST_F(RegistryTest, Find_unknown_givesNull) {
    ASSERT_TRUE(registry.add(a));
    EXPECT_EQ(registry.find(""), nullptr);
    EXPECT_EQ(registry.find("A"), nullptr);
    EXPECT_EQ(registry.find(NamedDevice::uuid_of(9)), nullptr);
}

TEST_F(RegistryTest, Add_takenName_isRefusedAndKeepsTheFirst) {
    ASSERT_TRUE(registry.add(a));
    const auto added = registry.add(another_a);
    ASSERT_FALSE(added);
    EXPECT_EQ(added.error().kind, core::ErrorKind::AlreadyExists);
    EXPECT_NE(added.error().message.find("'a'"), std::string::npos);
    EXPECT_EQ(registry.find("a"), &a);
}

TEST_F(RegistryTest, Remove_thenAddAgain_works) {
    ASSERT_TRUE(registry.add(a));
    registry.remove(a);
    EXPECT_EQ(registry.find("a"), nullptr);
    EXPECT_TRUE(registry.add(another_a));
    EXPECT_EQ(registry.find("a"), &another_a);
}

TEST_F(RegistryTest, Remove_deviceThatWasNotAdded_leavesItsNamesake) {
    ASSERT_TRUE(registry.add(a));
    registry.remove(another_a);
    EXPECT_EQ(registry.find("a"), &a);
}

}  // namespace
}  // namespace remora::block
