// SPDX-License-Identifier: Apache-2.0
// Reservations in the store: what hosts want to survive a restart does, and nothing else.
#include "tests/unit/control/namespace_fixture.h"

namespace remora::test {
namespace {

using nvme::ReservationRecord;
using nvme::ReservationType;

nvme::HostId id_of(std::uint8_t number) {
    nvme::HostId id{};
    id.fill(number);
    return id;
}

ReservationRecord held_by_one() {
    return {.persist = true,
            .generation = 0xfffffffe,
            .type = ReservationType::ExclusiveAccessRegistrantsOnly,
            .holder = id_of(0xff),
            .registrants = {{id_of(0xff), 0xffffffffffffffffU}, {id_of(2), 2}}};
}

class ReservationStoreTest : public NamespaceFixture {
  public:
    Result<void> keep(const ReservationRecord& record,
                      const std::string& nqn = kSubsystemNqn,
                      std::uint32_t nsid = 1) {
        Result<void> result;
        run([&]() -> Task<> { result = co_await node->keeper->keep(nqn, nsid, record); });
        return result;
    }
    ReservationRecord built() { return built_space().reservation; }
};

TEST_F(ReservationStoreTest, Kept_isThereAfterARestart_untilItIsTakenBack) {
    EXPECT_EQ(built(), ReservationRecord{});
    ASSERT_TRUE(keep(held_by_one()));
    restart_plane();
    EXPECT_EQ(built(), held_by_one());
    ReservationRecord all;
    all.persist = true;
    all.type = ReservationType::WriteExclusiveAllRegistrants;
    for (std::uint8_t i = 1; i <= nvme::kMaxRegistrants; ++i) {
        all.registrants.push_back({id_of(i), i});
    }
    ASSERT_TRUE(keep(all));
    restart_plane();
    EXPECT_EQ(built(), all);
    ASSERT_TRUE(keep(ReservationRecord{}));
    restart_plane();
    EXPECT_EQ(built(), ReservationRecord{});
}

TEST_F(ReservationStoreTest, Persistence_withoutRegistrants_isKept) {
    ReservationRecord record;
    record.persist = true;
    record.generation = 5;
    ASSERT_TRUE(keep(record));
    restart_plane();
    EXPECT_EQ(built(), record);
}

TEST_F(ReservationStoreTest, Commit_thatFails_isSaid_andTheOldStays) {
    ASSERT_TRUE(keep(held_by_one()));
    steps.fail_at = steps.taken + 1;
    EXPECT_KIND(keep(ReservationRecord{}), Unavailable);
    restart_plane();
    EXPECT_EQ(built(), held_by_one());
}

TEST_F(ReservationStoreTest, Namespace_thatIsNotThere_isNotFound) {
    EXPECT_KIND(keep(held_by_one(), kSubsystemNqn, 2), NotFound);
    EXPECT_KIND(keep(held_by_one(), "nqn.2024-01.org.example:other", 1), NotFound);
}

TEST_F(ReservationStoreTest, Namespace_madeAnew_hasNone) {
    ASSERT_TRUE(keep(held_by_one()));
    ASSERT_TRUE(delete_namespace());
    ASSERT_TRUE(create_namespace());
    EXPECT_EQ(built(), ReservationRecord{});
    restart_plane();
    EXPECT_EQ(built(), ReservationRecord{});
}

TEST_F(ReservationStoreTest, Deletion_thatCannotBeStored_bringsTheReservationBack) {
    ASSERT_TRUE(keep(held_by_one()));
    steps.fail_at = steps.taken + 1;  // the commit: taking it from the data plane is no step here
    EXPECT_KIND(delete_namespace(), Unavailable);
    EXPECT_EQ(built(), held_by_one());
}

TEST_F(ReservationStoreTest, Record_thatIsDamaged_keepsItsNamespaceAway) {
    ASSERT_TRUE(keep(held_by_one()));
    damage(
        [](control::state::Record& record) { record.mutable_reservation()->set_holder("short"); });
    restart_plane();
    EXPECT_TRUE(node->namespaces.empty()) << "hosts would find it without their reservation";
}

}  // namespace
}  // namespace remora::test
