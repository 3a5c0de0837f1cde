// SPDX-License-Identifier: Apache-2.0
#include "nvme/ana.h"

#include <cstring>
#include <vector>

#include <gtest/gtest.h>

namespace remora::nvme {
namespace {

using spec::AnaState;
using spec::StatusCode;

TEST(Ana_refusal, onlyOptimizedAndNonOptimized_carryCommandsOut) {
    EXPECT_EQ(ana_refusal(AnaState::Optimized), 0);
    EXPECT_EQ(ana_refusal(AnaState::NonOptimized), 0);
    // Path related, and another path or another time may do: no Do Not Retry.
    EXPECT_EQ(ana_refusal(AnaState::Inaccessible), 0x302);
    EXPECT_EQ(ana_refusal(AnaState::PersistentLoss), 0x301);
    EXPECT_EQ(ana_refusal(AnaState::Change), 0x303);
}

class AnaLog : public testing::Test {
  public:
    AnaLog() : subsystem_({.nqn = "nqn.x", .serial = "S", .model = "M", .max_namespaces = 8}) {
        for (std::size_t i = 0; i < namespaces_.size(); ++i) {
            namespaces_[i].nsid = static_cast<std::uint32_t>(3 * i + 1);
            subsystem_.add(namespaces_[i]);
        }
        port_.state = AnaState::NonOptimized;
        port_.changes = 5;
    }

    Subsystem subsystem_;
    std::array<Namespace, 3> namespaces_;
    AnaPort port_;
};

TEST_F(AnaLog, tellsOneGroupWithEveryNamespace) {
    std::vector<std::byte> log(64, std::byte{0xee});
    ASSERT_TRUE(read_ana_log(port_, subsystem_, false, 0, log));
    spec::AnaLogHeader header;
    std::memcpy(&header, log.data(), sizeof(header));
    EXPECT_EQ(header.change_count, 5U);
    EXPECT_EQ(header.groups, 1U);
    spec::AnaGroupDescriptor group;
    std::memcpy(&group, log.data() + 16, sizeof(group));
    EXPECT_EQ(group.group, 1U);
    EXPECT_EQ(group.namespaces, 3U);
    EXPECT_EQ(group.change_count, 5U);
    EXPECT_EQ(group.state, 2);
    std::array<spec::le32, 4> nsids;
    std::memcpy(nsids.data(), log.data() + 48, sizeof(nsids));
    EXPECT_EQ(nsids[0], 1U);
    EXPECT_EQ(nsids[1], 4U);
    EXPECT_EQ(nsids[2], 7U);
    EXPECT_EQ(nsids[3], 0U);
}

TEST_F(AnaLog, groupsOnly_hasNoNamespaces) {
    std::vector<std::byte> log(64, std::byte{0xee});
    ASSERT_TRUE(read_ana_log(port_, subsystem_, true, 0, log));
    spec::AnaGroupDescriptor group;
    std::memcpy(&group, log.data() + 16, sizeof(group));
    EXPECT_EQ(group.namespaces, 0U);
    EXPECT_EQ(log[48], std::byte{0});
}

TEST_F(AnaLog, anyCut_readsTheSameBytes) {
    std::vector<std::byte> whole(60);
    ASSERT_TRUE(read_ana_log(port_, subsystem_, false, 0, whole));
    for (const std::size_t part : {4UL, 12UL, 40UL}) {
        std::vector<std::byte> cut;
        for (std::size_t at = 0; at < whole.size(); at += part) {
            std::vector<std::byte> piece(std::min(part, whole.size() - at), std::byte{0xee});
            ASSERT_TRUE(read_ana_log(port_, subsystem_, false, at, piece));
            cut.insert(cut.end(), piece.begin(), piece.end());
        }
        EXPECT_EQ(cut, whole) << part;
    }
    std::vector<std::byte> behind(4, std::byte{0xee});
    EXPECT_TRUE(read_ana_log(port_, subsystem_, false, 60, behind));
    EXPECT_FALSE(read_ana_log(port_, subsystem_, false, 64, behind));
}

}  // namespace
}  // namespace remora::nvme
