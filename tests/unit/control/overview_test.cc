// SPDX-License-Identifier: Apache-2.0
// What OPI's clients cannot ask for: capabilities, all volumes in one list, conditions.
#include "tests/unit/control/plane_fixture.h"

namespace remora::test {

namespace {

using control::Conditions;
using control::ControlPlane;
using control::Overview;

class OverviewTest : public PlaneFixture {
  public:
    api::ListVolumesResponse volumes(int size = 0, const std::string& token = {}) {
        api::ListVolumesRequest request;
        request.set_page_size(size);
        request.set_page_token(token);
        const auto got = call(&ControlPlane::overview, &Overview::volumes, request);
        EXPECT_TRUE(got);
        return got ? *got : api::ListVolumesResponse();
    }
    /// The condition of that type, or an empty one.
    api::Condition condition(const std::string& name, const std::string& type) {
        api::ListConditionsRequest request;
        request.set_name_prefix(name);
        const auto got = call(&ControlPlane::conditions, &Conditions::list, request);
        EXPECT_TRUE(got);
        for (const auto& resource : got->resources()) {
            for (const auto& one : resource.conditions()) {
                if (resource.name() == name && one.type() == type) {
                    return one;
                }
            }
        }
        return {};
    }
    Result<opi::QosVolume> limit(const std::string& volume) {
        opi::CreateQosVolumeRequest request;
        request.set_qos_volume_id("slow");
        request.mutable_qos_volume()->set_volume_name_ref(volume);
        request.mutable_qos_volume()->mutable_limits()->mutable_max()->set_rw_iops_kiops(1);
        return call(&ControlPlane::qos_volumes, &control::QosVolumes::create, request);
    }
};

TEST_F(OverviewTest, Volumes_ofAllKinds_haveTheirChains) {
    ASSERT_TRUE(create_malloc("m0"));
    ASSERT_TRUE(connect_by_hand("ctrl", kNqn));
    ASSERT_TRUE(limit("ctrln1"));
    const auto all = volumes(100);
    const auto find = [&all](const std::string& name) -> api::VolumeOverview {
        for (const auto& one : all.volumes()) {
            if (one.name() == name) {
                return one;
            }
        }
        ADD_FAILURE() << name << " is not in the list";
        return {};
    };
    const auto own = find("mallocVolumes/m0");
    EXPECT_EQ(own.kind(), "malloc");
    EXPECT_EQ(own.size_bytes(), 1024U * 512);
    EXPECT_TRUE(own.ready());
    const auto remote = find("ctrln1");
    EXPECT_EQ(remote.kind(), "remote");
    EXPECT_EQ(remote.uuid(), uuid_of(1).text());
    EXPECT_TRUE(remote.ready());
    ASSERT_EQ(remote.limited_by_size(), 1);
    EXPECT_EQ(remote.limited_by(0), "qosVolumes/slow");
    ASSERT_EQ(remote.chain_size(), 3);
    EXPECT_EQ(remote.chain(1), "nvmeRemoteControllers/ctrl");
    EXPECT_EQ(remote.chain(2), "nvmeRemoteControllers/ctrl/nvmePaths/path0");
}

TEST_F(OverviewTest, Volumes_comeInPages_eachOnce) {
    for (int i = 0; i < 7; ++i) {
        ASSERT_TRUE(create_malloc("m" + std::to_string(i)));
    }
    std::vector<std::string> names;
    std::string token;
    do {
        const auto page = volumes(3, token);
        EXPECT_LE(page.volumes_size(), 3);
        for (const auto& one : page.volumes()) {
            names.push_back(one.name());
        }
        token = page.next_page_token();
    } while (!token.empty());
    ASSERT_EQ(names.size(), 7U);
    EXPECT_EQ(names.front(), "mallocVolumes/m0");
    EXPECT_EQ(names.back(), "mallocVolumes/m6");
    api::ListVolumesRequest bad;
    bad.set_page_size(-1);
    EXPECT_KIND(call(&ControlPlane::overview, &Overview::volumes, bad), InvalidArgument);
    bad.set_page_size(0);
    bad.set_page_token("nobody gave this");
    EXPECT_KIND(call(&ControlPlane::overview, &Overview::volumes, bad), NotFound);
}

TEST_F(OverviewTest, Conditions_sayWhatIsTheMatter_andSinceWhen) {
    ASSERT_TRUE(create_malloc("m0"));
    ASSERT_TRUE(attach(1, 0));
    EXPECT_EQ(condition("volumes/m0", "Ready").status(), api::Condition::STATUS_TRUE);
    EXPECT_EQ(condition("attachments/0", "Ready").status(), api::Condition::STATUS_TRUE);
    EXPECT_EQ(condition("attachments/0", "Degraded").status(), api::Condition::STATUS_FALSE);

    run([&]() -> Task<> { co_await reactor::sleep_for(std::chrono::milliseconds(20)); });
    EXPECT_GE(condition("volumes/m0", "Ready").age_ms(), 15U);

    node->volumes.erase("mallocVolumes/m0");
    const auto broken = condition("volumes/m0", "Ready");
    EXPECT_EQ(broken.status(), api::Condition::STATUS_FALSE);
    EXPECT_EQ(broken.reason(), "NotBuilt");
    EXPECT_LT(broken.age_ms(), 15U);
}

TEST_F(OverviewTest, RemoteControllerWithoutPath_saysSo) {
    opi::CreateNvmeRemoteControllerRequest request;
    request.set_nvme_remote_controller_id("ctrl");
    request.mutable_nvme_remote_controller()->set_multipath(opi::NVME_MULTIPATH_DISABLE);
    ASSERT_TRUE(call(&ControlPlane::remotes, &control::Remotes::create_controller, request));
    EXPECT_EQ(condition("nvmeRemoteControllers/ctrl", "Ready").reason(), "NoPath");
}

TEST_F(OverviewTest, Conditions_ofWhatIsGone_areGone) {
    ASSERT_TRUE(create_malloc("m0"));
    EXPECT_EQ(condition("volumes/m0", "Ready").type(), "Ready");
    opi::DeleteMallocVolumeRequest request;
    request.set_name("volumes/m0");
    ASSERT_TRUE(call(&ControlPlane::volumes, &control::Volumes::delete_malloc, request));
    EXPECT_EQ(condition("volumes/m0", "Ready").type(), "");
}

}  // namespace

}  // namespace remora::test
