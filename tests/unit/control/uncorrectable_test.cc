// SPDX-License-Identifier: Apache-2.0
// Blocks that hosts mark uncorrectable, in the store: they are there after a restart and go with
// their namespace.
#include "tests/unit/control/namespace_fixture.h"

namespace remora::test {
namespace {

using nvme::BlockRange;
using nvme::UncorrectableBlocks;

class UncorrectableStoreTest : public NamespaceFixture {
  public:
    static UncorrectableBlocks marks_of(const std::vector<BlockRange>& ranges) {
        return UncorrectableBlocks::from(ranges).value();
    }
    Result<void> keep(const std::vector<BlockRange>& ranges,
                      const std::string& nqn = kSubsystemNqn,
                      std::uint32_t nsid = 1) {
        Result<void> result;
        run([&]() -> Task<> {
            result = co_await node->mark_keeper->keep(nqn, nsid, marks_of(ranges));
        });
        return result;
    }
    std::vector<BlockRange> built() { return built_space().uncorrectable.ranges(); }
};

TEST_F(UncorrectableStoreTest, Kept_areThereAfterARestart_untilTheyAreCleared) {
    EXPECT_TRUE(built().empty());
    const std::vector<BlockRange> few{{0, 1}, {0xffffffff00ULL, 0x10000}};
    ASSERT_TRUE(keep(few));
    restart_plane();
    EXPECT_EQ(built(), few);
    std::vector<BlockRange> most;
    for (std::size_t i = 0; i < UncorrectableBlocks::kMostRanges; ++i) {
        most.push_back({3 * i, 2});
    }
    ASSERT_TRUE(keep(most));
    restart_plane();
    EXPECT_EQ(built(), most);
    ASSERT_TRUE(keep({}));
    restart_plane();
    EXPECT_TRUE(built().empty());
}

TEST_F(UncorrectableStoreTest, Marks_andAReservation_doNotTouchEachOther) {
    ASSERT_TRUE(keep({{7, 3}}));
    nvme::ReservationRecord record;
    record.persist = true;
    record.generation = 5;
    Result<void> reserved;
    run([&]() -> Task<> { reserved = co_await node->keeper->keep(kSubsystemNqn, 1, record); });
    ASSERT_TRUE(reserved);
    ASSERT_TRUE(keep({{7, 2}}));
    restart_plane();
    EXPECT_EQ(built(), (std::vector<BlockRange>{{7, 2}}));
    EXPECT_EQ(built_space().reservation, record);
}

TEST_F(UncorrectableStoreTest, Commit_thatFails_isSaid_andTheOldStay) {
    ASSERT_TRUE(keep({{7, 3}}));
    steps.fail_at = steps.taken + 1;
    EXPECT_KIND(keep({}), Unavailable);
    restart_plane();
    EXPECT_EQ(built(), (std::vector<BlockRange>{{7, 3}}));
}

TEST_F(UncorrectableStoreTest, Namespace_thatIsNotThere_isNotFound) {
    EXPECT_KIND(keep({{7, 3}}, kSubsystemNqn, 2), NotFound);
    EXPECT_KIND(keep({{7, 3}}, "nqn.2024-01.org.example:other", 1), NotFound);
}

TEST_F(UncorrectableStoreTest, Namespace_madeAnew_hasNone) {
    ASSERT_TRUE(keep({{7, 3}}));
    ASSERT_TRUE(delete_namespace());
    ASSERT_TRUE(create_namespace());
    EXPECT_TRUE(built().empty());
    restart_plane();
    EXPECT_TRUE(built().empty());
}

TEST_F(UncorrectableStoreTest, Deletion_thatCannotBeStored_bringsThemBack) {
    ASSERT_TRUE(keep({{7, 3}}));
    steps.fail_at = steps.taken + 1;
    EXPECT_KIND(delete_namespace(), Unavailable);
    EXPECT_EQ(built(), (std::vector<BlockRange>{{7, 3}}));
}

TEST_F(UncorrectableStoreTest, Record_thatIsDamaged_keepsItsNamespaceAway) {
    ASSERT_TRUE(keep({{7, 3}, {20, 1}}));
    damage([](control::state::Record& record) { record.mutable_uncorrectable(1)->set_lba(8); });
    restart_plane();
    EXPECT_TRUE(node->namespaces.empty()) << "hosts would read as good what they know to be bad";
}

}  // namespace
}  // namespace remora::test
