// SPDX-License-Identifier: Apache-2.0
// What hosts are told of the fabric: how good a listener's way is, and other discovery services.
#include "tests/unit/control/plane_fixture.h"

namespace remora::test {

namespace {

using control::ControlPlane;
using control::Referrals;
using control::Subsystems;

class FabricTest : public PlaneFixture {
  public:
    void serve() {
        opi::CreateNvmeSubsystemRequest subsystem;
        subsystem.set_nvme_subsystem_id("s0");
        subsystem.mutable_nvme_subsystem()->mutable_spec()->set_nqn(kNqn);
        EXPECT_TRUE(call(&ControlPlane::subsystems, &Subsystems::create_subsystem, subsystem));
        opi::CreateNvmeControllerRequest listener;
        listener.set_parent("nvmeSubsystems/s0");
        listener.set_nvme_controller_id("c0");
        auto& spec = *listener.mutable_nvme_controller()->mutable_spec();
        spec.set_trtype(opi::NVME_TRANSPORT_TYPE_TCP);
        spec.mutable_fabrics_id()->set_traddr("127.0.0.1");
        spec.mutable_fabrics_id()->set_trsvcid("4420");
        spec.mutable_fabrics_id()->set_adrfam(opi::NVME_ADDRESS_FAMILY_IPV4);
        EXPECT_TRUE(call(&ControlPlane::subsystems, &Subsystems::create_controller, listener));
    }
    Result<api::AnaPort> set(const std::string& name, int state) {
        api::SetAnaStateRequest request;
        request.set_name(name);
        request.set_ana_state(static_cast<api::AnaState>(state));
        return call(&ControlPlane::subsystems, &Subsystems::set_ana_state, request);
    }
    Result<api::AnaPort> get() {
        api::GetAnaStateRequest request;
        request.set_name(kListener);
        return call(&ControlPlane::subsystems, &Subsystems::get_ana_state, request);
    }
    [[nodiscard]] node::AnaState shown() const {
        return node->ana_states.at(std::string(kNqn) + " 127.0.0.1:4420");
    }
    Result<api::DiscoveryReferral> refer(const std::string& id, const std::string& address) {
        api::CreateDiscoveryReferralRequest request;
        request.set_discovery_referral_id(id);
        auto& endpoint = *request.mutable_discovery_referral()->mutable_endpoint();
        endpoint.set_traddr(address);
        endpoint.set_trsvcid("8009");
        return call(&ControlPlane::referrals, &Referrals::create, request);
    }
    Result<google::protobuf::Empty> forget(const std::string& name, bool allow_missing) {
        api::DeleteDiscoveryReferralRequest request;
        request.set_name(name);
        request.set_allow_missing(allow_missing);
        return call(&ControlPlane::referrals, &Referrals::remove, request);
    }

    static constexpr const char* kListener = "nvmeSubsystems/s0/nvmeControllers/c0";
};

TEST_F(FabricTest, AnaState_isShownAndSurvivesARestart) {
    serve();
    EXPECT_EQ(get()->ana_state(), api::ANA_STATE_OPTIMIZED);
    const auto set_away = set(kListener, api::ANA_STATE_INACCESSIBLE);
    ASSERT_TRUE(set_away);
    EXPECT_EQ(set_away->name(), kListener);
    EXPECT_EQ(shown(), node::AnaState::Inaccessible);
    restart_plane();
    EXPECT_EQ(shown(), node::AnaState::Inaccessible);
    EXPECT_EQ(get()->ana_state(), api::ANA_STATE_INACCESSIBLE);
}

TEST_F(FabricTest, AnaState_wrong_isRefused) {
    serve();
    EXPECT_KIND(set(kListener, 0), InvalidArgument);
    EXPECT_KIND(set(kListener, 7), InvalidArgument);
    EXPECT_KIND(set("nvmeSubsystems/s0/nvmeControllers/c1", 1), NotFound);
    EXPECT_KIND(set("", 1), InvalidArgument);
}

TEST_F(FabricTest, AnaState_notStored_isAsBefore) {
    serve();
    steps = {};
    steps.fail_at = 1;  // the commit
    EXPECT_KIND(set(kListener, api::ANA_STATE_CHANGE), Unavailable);
    EXPECT_EQ(shown(), node::AnaState::Optimized);
    EXPECT_EQ(get()->ana_state(), api::ANA_STATE_OPTIMIZED);
}

TEST_F(FabricTest, Referrals_comeGoAndSurviveARestart) {
    const auto first = refer("a", "192.0.2.7");
    ASSERT_TRUE(first);
    EXPECT_EQ(first->name(), "discoveryReferrals/a");
    EXPECT_TRUE(refer("a", "192.0.2.7")) << "repeated";
    EXPECT_KIND(refer("a", "192.0.2.8"), AlreadyExists);
    EXPECT_KIND(refer("b", "somewhere"), InvalidArgument);
    EXPECT_TRUE(refer("b", "2001:db8::7"));
    ASSERT_EQ(node->referrals.size(), 2U);
    EXPECT_EQ(node->referrals[0].endpoint, reactor::Endpoint::tcp("192.0.2.7", 8009));
    restart_plane();
    EXPECT_EQ(node->referrals.size(), 2U);
    const auto listed =
        call(&ControlPlane::referrals, &Referrals::list, api::ListDiscoveryReferralsRequest());
    ASSERT_TRUE(listed);
    EXPECT_EQ(listed->discovery_referrals_size(), 2);
    EXPECT_TRUE(forget("discoveryReferrals/a", false));
    EXPECT_KIND(forget("discoveryReferrals/a", false), NotFound);
    EXPECT_TRUE(forget("discoveryReferrals/a", true));
    EXPECT_EQ(node->referrals.size(), 1U);
}

TEST_F(FabricTest, Referrals_moreThanTheLimit_areRefused) {
    for (std::size_t i = 0; i < Referrals::kMost; ++i) {
        EXPECT_TRUE(refer("r" + std::to_string(i), "192.0.2.7"));
    }
    EXPECT_KIND(refer("more", "192.0.2.7"), ResourceExhausted);
}

}  // namespace

}  // namespace remora::test
