// SPDX-License-Identifier: Apache-2.0
// QoS volumes and the limits of disks over fakes: what the data plane is told, and when.
#include "tests/unit/control/plane_fixture.h"

namespace remora::test {

namespace {

using control::ControlPlane;
using control::QosVolumes;
using control::VirtioBlks;
using control::Volumes;
using node::Rates;

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

opi::QosVolume limits(const std::string& volume, std::int64_t kiops, std::int64_t mbs = 0) {
    opi::QosVolume qos;
    qos.set_volume_name_ref(volume);
    qos.mutable_limits()->mutable_max()->set_rw_iops_kiops(kiops);
    qos.mutable_limits()->mutable_max()->set_rd_bandwidth_mbs(mbs);
    return qos;
}

class QosTest : public PlaneFixture {
  public:
    QosTest() { EXPECT_TRUE(create_malloc("m0")); }

    Result<opi::QosVolume> create(const std::string& id, const opi::QosVolume& qos) {
        opi::CreateQosVolumeRequest request;
        request.set_qos_volume_id(id);
        *request.mutable_qos_volume() = qos;
        return call(&ControlPlane::qos_volumes, &QosVolumes::create, request);
    }
    Result<opi::QosVolume> update(const std::string& name,
                                  const opi::QosVolume& qos,
                                  const std::string& path = {}) {
        opi::UpdateQosVolumeRequest request;
        *request.mutable_qos_volume() = qos;
        request.mutable_qos_volume()->set_name(name);
        if (!path.empty()) {
            request.mutable_update_mask()->add_paths(path);
        }
        return call(&ControlPlane::qos_volumes, &QosVolumes::update, request);
    }
    Result<google::protobuf::Empty> remove(const std::string& name, bool missing = false) {
        opi::DeleteQosVolumeRequest request;
        request.set_name(name);
        request.set_allow_missing(missing);
        return call(&ControlPlane::qos_volumes, &QosVolumes::remove, request);
    }
    Result<google::protobuf::Empty> delete_malloc(const std::string& name) {
        opi::DeleteMallocVolumeRequest request;
        request.set_name(name);
        return call(&ControlPlane::volumes, &Volumes::delete_malloc, request);
    }
    opi::CreateVirtioBlkRequest disk_request(const std::string& volume) {
        opi::CreateVirtioBlkRequest request;
        request.set_virtio_blk_id("disk0");
        auto& disk = *request.mutable_virtio_blk();
        disk.mutable_pcie_id()->mutable_port_id()->set_value(0);
        disk.mutable_pcie_id()->mutable_physical_function()->set_value(1);
        disk.mutable_pcie_id()->mutable_virtual_function()->set_value(0);
        disk.set_volume_name_ref(volume);
        return request;
    }
    Result<opi::VirtioBlk> create_disk(const opi::CreateVirtioBlkRequest& request) {
        return call(&ControlPlane::virtio_blks, &VirtioBlks::create, request);
    }
    Rates rates() { return node->volume_rates["mallocVolumes/m0"]; }
};

TEST_F(QosTest, Create_limitsTheVolume_inThousandsAndMiB) {
    const auto made = create("q0", limits("m0", 7, 3));
    ASSERT_TRUE(made);
    EXPECT_EQ(made->name(), "volumes/q0");
    EXPECT_EQ(rates(), (Rates{.all_ops = 7000, .read_bytes = 3 * kMiB}));
}

TEST_F(QosTest, Create_again_isIdempotentUnlessItDiffers) {
    ASSERT_TRUE(create("q0", limits("m0", 7)));
    EXPECT_TRUE(create("q0", limits("mallocVolumes/m0", 7))) << "another spelling";
    EXPECT_KIND(create("q0", limits("m0", 8)), AlreadyExists);
    EXPECT_EQ(rates().all_ops, 7000U);
}

TEST_F(QosTest, SecondOnOneVolume_isRefusedAndNamesTheFirst) {
    ASSERT_TRUE(create("q0", limits("m0", 7)));
    const auto second = create("q1", limits("volumes/m0", 9));
    EXPECT_KIND(second, AlreadyExists);
    EXPECT_NE(second.error().message.find("qosVolumes/q0"), std::string::npos);
    EXPECT_EQ(rates().all_ops, 7000U);
}

TEST_F(QosTest, BadLimits_areRefusedWithTheirField) {
    EXPECT_KIND(create("q0", limits("m0", 0)), InvalidArgument);
    EXPECT_KIND(create("q0", limits("m0", -1)), InvalidArgument);
    EXPECT_KIND(create("q0", limits("m0", std::numeric_limits<std::int64_t>::max())),
                InvalidArgument);
    EXPECT_KIND(create("-q", limits("m0", 1)), InvalidArgument);
    EXPECT_KIND(create("q0", limits("nowhere", 1)), NotFound);
    EXPECT_KIND(create("q0", limits("", 1)), InvalidArgument);
    opi::QosVolume least = limits("m0", 1);
    least.mutable_limits()->mutable_min()->set_wr_bandwidth_mbs(1);
    EXPECT_KIND(create("q0", least), FailedPrecondition) << "no capacity: minima_test.cc";
    opi::QosVolume none;
    none.set_volume_name_ref("m0");
    EXPECT_KIND(create("q0", none), InvalidArgument);
    EXPECT_TRUE(node->volume_rates.empty());
}

TEST_F(QosTest, Update_changesTheRatesLive_andNothingElse) {
    ASSERT_TRUE(create("q0", limits("m0", 7, 3)));
    opi::QosVolume patch = limits("m0", 20);
    const auto updated = update("qosVolumes/q0", patch, "limits.max.rw_iops_kiops");
    ASSERT_TRUE(updated);
    EXPECT_EQ(rates(), (Rates{.all_ops = 20'000, .read_bytes = 3 * kMiB}));
    ASSERT_TRUE(update("volumes/q0", patch, "*"));
    EXPECT_EQ(rates(), (Rates{.all_ops = 20'000}));

    ASSERT_TRUE(create_malloc("m1"));
    EXPECT_KIND(update("volumes/q0", limits("m1", 20)), FailedPrecondition);
    EXPECT_KIND(update("volumes/q0", limits("m0", 20), "nonsense"), InvalidArgument);
    EXPECT_KIND(update("volumes/q9", limits("m0", 20)), NotFound);
    EXPECT_KIND(update("volumes/q0", limits("m0", -3)), InvalidArgument);
    EXPECT_EQ(rates(), (Rates{.all_ops = 20'000}));
}

TEST_F(QosTest, Delete_liftsTheLimits) {
    ASSERT_TRUE(create("q0", limits("m0", 7)));
    EXPECT_TRUE(remove("qosVolumes/q0"));
    EXPECT_EQ(rates(), Rates{});
    EXPECT_KIND(remove("volumes/q0"), NotFound);
    EXPECT_TRUE(remove("volumes/q0", true));
}

TEST_F(QosTest, LimitedVolume_isNotDeletedBeforeItsLimits) {
    ASSERT_TRUE(create("q0", limits("m0", 7)));
    const auto refused = delete_malloc("volumes/m0");
    EXPECT_KIND(refused, FailedPrecondition);
    EXPECT_NE(refused.error().message.find("qosVolumes/q0"), std::string::npos);
    ASSERT_TRUE(remove("volumes/q0"));
    EXPECT_TRUE(delete_malloc("volumes/m0"));
}

TEST_F(QosTest, Name_standsForTheVolume_andIsKeptWhileItDoes) {
    ASSERT_TRUE(create("q0", limits("m0", 7)));
    const auto disk = create_disk(disk_request("volumes/q0"));
    ASSERT_TRUE(disk);
    EXPECT_EQ(node->vhosts["disk0"].volume, "mallocVolumes/m0");
    const auto refused = remove("volumes/q0");
    EXPECT_KIND(refused, FailedPrecondition);
    EXPECT_NE(refused.error().message.find("virtioBlks/disk0"), std::string::npos);
}

TEST_F(QosTest, DiskOnTheVolumeItself_doesNotKeepTheLimits) {
    ASSERT_TRUE(create("q0", limits("m0", 7)));
    ASSERT_TRUE(create_disk(disk_request("m0")));
    EXPECT_TRUE(remove("volumes/q0"));
}

TEST_F(QosTest, SameIdAsItsVolume_isNoAmbiguity) {
    ASSERT_TRUE(create("m0", limits("m0", 7)));
    ASSERT_TRUE(create_disk(disk_request("volumes/m0")));
    EXPECT_TRUE(remove("qosVolumes/m0"));
}

TEST_F(QosTest, Restart_limitsAgain) {
    ASSERT_TRUE(create("q0", limits("m0", 7)));
    restart_plane();
    EXPECT_EQ(rates(), (Rates{.all_ops = 7000}));
    EXPECT_TRUE(remove("volumes/q0"));
}

TEST_F(QosTest, RemoteVolume_isLimited_andItsControllerStays) {
    ASSERT_TRUE(connect_by_hand("ctrl", kNqn));
    ASSERT_TRUE(create("q0", limits("ctrln1", 7)));
    EXPECT_EQ(node->volume_rates["ctrln1"].all_ops, 7000U);
    opi::DeleteNvmePathRequest request;
    request.set_name("nvmeRemoteControllers/ctrl/nvmePaths/path0");
    const auto refused = call(&ControlPlane::remotes, &control::Remotes::delete_path, request);
    EXPECT_KIND(refused, FailedPrecondition);
    EXPECT_NE(refused.error().message.find("qosVolumes/q0"), std::string::npos);
}

TEST_F(QosTest, EachStep_failsOrStops_leavesAllOrNothing) {
    for (int step = 1; step <= 4; ++step) {
        steps.taken = 0;
        steps.fail_at = step;
        const auto made = create("q0", limits("m0", 7));
        steps.fail_at = 0;
        EXPECT_EQ(rates().all_ops, made ? 7000U : 0U) << "step " << step;
        restart_plane();
        EXPECT_EQ(rates().all_ops, made ? 7000U : 0U) << "step " << step;
        EXPECT_TRUE(remove("volumes/q0", true));
    }
}

TEST_F(QosTest, ListAndGet_giveTheWholeObject) {
    ASSERT_TRUE(create("q0", limits("m0", 7)));
    ASSERT_TRUE(create_malloc("m1"));
    ASSERT_TRUE(create("q1", limits("m1", 8)));
    opi::ListQosVolumesRequest request;
    EXPECT_KIND(call(&ControlPlane::qos_volumes, &QosVolumes::list, request), InvalidArgument);
    request.set_parent("todo");  // what a published client sends
    request.set_page_size(1);
    const auto first = call(&ControlPlane::qos_volumes, &QosVolumes::list, request);
    ASSERT_TRUE(first && first->qos_volumes_size() == 1);
    EXPECT_EQ(first->qos_volumes(0).limits().max().rw_iops_kiops(), 7);
    request.set_page_token(first->next_page_token());
    const auto second = call(&ControlPlane::qos_volumes, &QosVolumes::list, request);
    ASSERT_TRUE(second && second->qos_volumes_size() == 1);
    EXPECT_EQ(second->qos_volumes(0).name(), "volumes/q1");
    EXPECT_EQ(second->next_page_token(), "");
    opi::StatsQosVolumeRequest stats;
    stats.set_name("qosVolumes/q1");
    const auto counted = call(&ControlPlane::qos_volumes, &QosVolumes::stats, stats);
    ASSERT_TRUE(counted);
    EXPECT_EQ(counted->stats().read_ops_count(), 3);
}

TEST_F(QosTest, Disk_hasLimitsOfItsOwn_changedLive) {
    auto request = disk_request("m0");
    request.mutable_virtio_blk()->mutable_max_limit()->set_wr_iops_kiops(5);
    ASSERT_TRUE(create_disk(request));
    EXPECT_EQ(node->vhosts["disk0"].rates, (Rates{.write_ops = 5000}));
    opi::UpdateVirtioBlkRequest change;
    *change.mutable_virtio_blk() = request.virtio_blk();
    change.mutable_virtio_blk()->set_name("virtioBlks/disk0");
    change.mutable_virtio_blk()->mutable_max_limit()->set_wr_iops_kiops(6);
    change.mutable_update_mask()->add_paths("max_limit");
    ASSERT_TRUE(call(&ControlPlane::virtio_blks, &VirtioBlks::update, change));
    EXPECT_EQ(node->vhosts["disk0"].rates, (Rates{.write_ops = 6000}));
    restart_plane();
    EXPECT_EQ(node->vhosts["disk0"].rates, (Rates{.write_ops = 6000}));
    change.mutable_virtio_blk()->mutable_max_limit()->set_wr_iops_kiops(-6);
    EXPECT_KIND(call(&ControlPlane::virtio_blks, &VirtioBlks::update, change), InvalidArgument);
}

}  // namespace

}  // namespace remora::test
