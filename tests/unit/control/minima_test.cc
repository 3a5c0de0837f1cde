// SPDX-License-Identifier: Apache-2.0
// Limits of NVMe controllers, and minimum rates with the capacities that they stand on, over fakes:
// what is refused and with which words, and what the data plane is told, and when.
#include "control/minima.h"

#include <google/protobuf/text_format.h>

#include "tests/unit/control/plane_fixture.h"

namespace remora::test {

namespace {

using control::Capacities;
using control::ControlPlane;
using control::QosVolumes;
using control::Subsystems;
using control::VirtioBlks;
using google::protobuf::Empty;
using node::Rates;

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
const std::string kController = "nvmeSubsystems/s0/nvmeControllers/c0";
const std::string kPlace = "nqn.2024-01.org.example:s0 10.0.0.9:4420";

template <typename M>
M read(const std::string& text) {
    M message;
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message)) << text;
    return message;
}

class MinimaTest : public PlaneFixture {
  public:
    MinimaTest() {
        EXPECT_TRUE(create_malloc("m0"));
        EXPECT_TRUE(create_malloc("m1"));
        subsystem("s0");
    }

    void subsystem(const std::string& id) {
        opi::CreateNvmeSubsystemRequest request;
        request.set_nvme_subsystem_id(id);
        request.mutable_nvme_subsystem()->mutable_spec()->set_nqn("nqn.2024-01.org.example:" + id);
        EXPECT_TRUE(call(&ControlPlane::subsystems, &Subsystems::create_subsystem, request));
    }
    Result<api::Capacity> declare(const std::string& id, const std::string& what) {
        return call(&ControlPlane::capacities, &Capacities::create,
                    read<api::CreateCapacityRequest>("capacity_id: '" + id + "' capacity { " +
                                                     what + " }"));
    }
    Result<api::Capacity> redeclare(const std::string& what) {
        return call(&ControlPlane::capacities, &Capacities::update,
                    read<api::UpdateCapacityRequest>("capacity { " + what + " }"));
    }
    Result<Empty> undeclare(const std::string& name) {
        api::DeleteCapacityRequest request;
        request.set_name(name);
        return call(&ControlPlane::capacities, &Capacities::remove, request);
    }
    double promised(const std::string& name) {
        api::GetCapacityRequest request;
        request.set_name(name);
        const auto got = call(&ControlPlane::capacities, &Capacities::get, request);
        return got ? got->promised_percent() : -1;
    }
    Result<opi::QosVolume> qos(const std::string& id,
                               const std::string& volume,
                               const std::string& limits) {
        return call(&ControlPlane::qos_volumes, &QosVolumes::create,
                    read<opi::CreateQosVolumeRequest>("qos_volume_id: '" + id +
                                                      "' qos_volume { volume_name_ref: '" + volume +
                                                      "' limits { " + limits + " } }"));
    }
    Result<Empty> remove_qos(const std::string& name) {
        opi::DeleteQosVolumeRequest request;
        request.set_name(name);
        return call(&ControlPlane::qos_volumes, &QosVolumes::remove, request);
    }
    Result<opi::NvmeController> controller(const std::string& limits) {
        return call(
            &ControlPlane::subsystems, &Subsystems::create_controller,
            read<opi::CreateNvmeControllerRequest>(
                "parent: 'nvmeSubsystems/s0' nvme_controller_id: 'c0' nvme_controller { spec { "
                "trtype: NVME_TRANSPORT_TYPE_TCP fabrics_id { traddr: '10.0.0.9' trsvcid: '4420' "
                "adrfam: NVME_ADDRESS_FAMILY_IPV4 } " +
                limits + " } }"));
    }
    Result<opi::NvmeController> change(const std::string& limits, const std::string& path) {
        return call(
            &ControlPlane::subsystems, &Subsystems::update_controller,
            read<opi::UpdateNvmeControllerRequest>(
                "nvme_controller { name: '" + kController +
                "' spec { trtype: NVME_TRANSPORT_TYPE_TCP fabrics_id { traddr: '10.0.0.9' trsvcid: "
                "'4420' adrfam: NVME_ADDRESS_FAMILY_IPV4 } " +
                limits + " } } update_mask { paths: '" + path + "' }"));
    }
    Result<Empty> remove_controller() {
        opi::DeleteNvmeControllerRequest request;
        request.set_name(kController);
        return call(&ControlPlane::subsystems, &Subsystems::delete_controller, request);
    }
    Result<opi::NvmeNamespace> show(const std::string& id, const std::string& volume) {
        return call(&ControlPlane::subsystems, &Subsystems::create_namespace,
                    read<opi::CreateNvmeNamespaceRequest>(
                        "parent: 'nvmeSubsystems/s0' nvme_namespace_id: '" + id +
                        "' nvme_namespace { spec { volume_name_ref: '" + volume + "' } }"));
    }
    Result<opi::VirtioBlk> disk(const std::string& volume, const std::string& limits) {
        return call(&ControlPlane::virtio_blks, &VirtioBlks::create,
                    read<opi::CreateVirtioBlkRequest>(
                        "virtio_blk_id: 'd0' virtio_blk { volume_name_ref: '" + volume +
                        "' pcie_id { port_id {} physical_function { value: 1 } virtual_function {} "
                        "} " +
                        limits + " }"));
    }
    const std::map<std::string, node::Minimum>& minima() { return node->competition.volumes; }
};

template <typename T>
void expect_words(const Result<T>& result, std::initializer_list<const char*> words) {
    ASSERT_FALSE(result);
    for (const char* word : words) {
        EXPECT_NE(result.error().message.find(word), std::string::npos)
            << word << ": " << result.error().message;
    }
}

TEST_F(MinimaTest, ControllerMaxima_areToldWithTheListener_changedLive_keptOverRestarts) {
    const auto made = controller("max_limit { rd_iops_kiops: 7 rw_bandwidth_mbs: 3 }");
    ASSERT_TRUE(made);
    EXPECT_EQ(made->spec().max_limit().rd_iops_kiops(), 7);
    const Rates first{.read_ops = 7000, .all_bytes = 3 * kMiB};
    EXPECT_EQ(node->controller_rates.at(kPlace), first);
    ASSERT_TRUE(change("max_limit { rd_iops_kiops: 9 }", "spec.max_limit.rd_iops_kiops"));
    const Rates second{.read_ops = 9000, .all_bytes = 3 * kMiB};
    EXPECT_EQ(node->controller_rates.at(kPlace), second);
    restart_plane();
    EXPECT_EQ(node->controller_rates.at(kPlace), second);
    EXPECT_KIND(change("max_limit { rd_iops_kiops: -1 }", "spec.max_limit"), InvalidArgument);
    ASSERT_TRUE(change("", "spec.max_limit"));
    EXPECT_TRUE(node->controller_rates.empty());
    EXPECT_TRUE(remove_controller());
}

TEST_F(MinimaTest, ControllerThatIsNotServedYet_isLimitedWhenItIs) {
    ASSERT_TRUE(controller("max_limit { rd_iops_kiops: 7 }"));
    stop_plane();
    steps = {};
    places_taken = 2;
    takeover_limit = core::Nanos(0);
    start_plane();
    EXPECT_TRUE(node->controller_rates.empty());
    EXPECT_TRUE(change("max_limit { rd_iops_kiops: 8 }", "spec.max_limit"));
    turn_until([&] { return !node->controller_rates.empty(); });
    EXPECT_EQ(node->controller_rates.at(kPlace), (Rates{.read_ops = 8000}));
}

TEST_F(MinimaTest, EachStepOfAController_failsOrStops_leavesAllOrNothing) {
    for (int step = 1; step <= 4; ++step) {
        steps.taken = 0;
        steps.fail_at = step;
        const auto made = controller("max_limit { rd_iops_kiops: 7 }");
        steps.fail_at = 0;
        EXPECT_EQ(node->controller_rates.size(), made ? 1U : 0U) << "step " << step;
        restart_plane();
        EXPECT_EQ(node->controller_rates.size(), made ? 1U : 0U) << "step " << step;
        (void)remove_controller();
    }
}

TEST_F(MinimaTest, MinimumBeyondItsMaximum_isRefusedWithBothFigures) {
    ASSERT_TRUE(declare("own", "kiops: 1000 mbs: 1000"));
    expect_words(qos("q0", "m0", "min { rd_iops_kiops: 5 } max { rd_iops_kiops: 4 }"),
                 {"qos_volume.limits.min.rd_iops_kiops: 5", "4", "limits.max.rd_iops_kiops"});
    const char* const contradictions[] = {
        "min { rw_bandwidth_mbs: 2 } max { rw_bandwidth_mbs: 1 }",
        "min { rd_iops_kiops: 3 wr_iops_kiops: 2 } max { rw_iops_kiops: 4 }",
        "min { rw_iops_kiops: 6 } max { rd_iops_kiops: 4 wr_iops_kiops: 1 }",
        "min { wr_bandwidth_mbs: -1 }",
    };
    for (const char* limits : contradictions) {
        EXPECT_KIND(qos("q0", "m0", limits), InvalidArgument) << limits;
    }
    EXPECT_KIND(disk("m0", "min_limit { rd_iops_kiops: 2 } max_limit { rd_iops_kiops: 1 }"),
                InvalidArgument);
    EXPECT_KIND(controller("min_limit { rd_iops_kiops: 2 } max_limit { rd_iops_kiops: 1 }"),
                InvalidArgument);
    EXPECT_TRUE(qos("q0", "m0", "min { rw_iops_kiops: 6 } max { rd_iops_kiops: 4 }"))
        << "writes have no limit";
}

TEST_F(MinimaTest, WithoutACapacity_isRefusedAndSaysWhatToDo) {
    const auto refused = qos("q0", "m0", "min { rw_iops_kiops: 5 }");
    EXPECT_KIND(refused, FailedPrecondition);
    expect_words(refused, {"qos_volume.limits.min", "own volumes", "create capacity"});
    ASSERT_TRUE(declare("own", "kiops: 1000"));
    const auto bytes = qos("q0", "m0", "min { rw_bandwidth_mbs: 5 }");
    EXPECT_KIND(bytes, FailedPrecondition);
    expect_words(bytes, {"no bytes", "1000 k I/Os/s"});
    EXPECT_TRUE(minima().empty());
    EXPECT_TRUE(qos("q0", "m0", "min { rw_iops_kiops: 5 }"));
}

TEST_F(MinimaTest, Sum_beyondWhatCanBePromised_isRefusedWithTheFigures) {
    ASSERT_TRUE(declare("own", "kiops: 100 mbs: 1000"));
    ASSERT_TRUE(qos("q0", "m0", "min { rw_iops_kiops: 50 }"));
    const auto refused = qos("q1", "m1", "min { rd_bandwidth_mbs: 410 }");
    EXPECT_KIND(refused, ResourceExhausted);
    expect_words(refused, {"qos_volume.limits.min", "91.0 %", "100 k I/Os/s and 1000 MiB/s",
                           "90.0 %", "50.0 %"});
    EXPECT_EQ(minima().size(), 1U);
    ASSERT_TRUE(qos("q1", "m1", "min { rd_bandwidth_mbs: 400 }"));
    EXPECT_DOUBLE_EQ(promised("capacities/own"), 90);
    EXPECT_EQ(minima().at("mallocVolumes/m1").least, (Rates{.read_bytes = 400 * kMiB}));
    // Of what is there the same: a larger minimum, a smaller capacity, none at all.
    EXPECT_KIND(call(&ControlPlane::qos_volumes, &QosVolumes::update,
                     read<opi::UpdateQosVolumeRequest>(
                         "qos_volume { name: 'volumes/q0' volume_name_ref: 'm0' limits { min { "
                         "rw_iops_kiops: 51 } } }")),
                ResourceExhausted);
    EXPECT_KIND(redeclare("name: 'capacities/own' kiops: 99"), ResourceExhausted);
    EXPECT_KIND(undeclare("capacities/own"), FailedPrecondition);
    EXPECT_EQ(node->competition.pools.at(""),
              (node::Capacity{.ops = 100'000, .bytes = 1000 * kMiB}));
    ASSERT_TRUE(remove_qos("volumes/q1"));
    EXPECT_DOUBLE_EQ(promised("capacities/own"), 50);
    ASSERT_TRUE(redeclare("name: 'capacities/own' kiops: 60"));
    EXPECT_EQ(node->competition.pools.at("").ops, 60'000U);
    ASSERT_TRUE(remove_qos("volumes/q0"));
    EXPECT_TRUE(minima().empty());
    EXPECT_TRUE(undeclare("capacities/own"));
    EXPECT_TRUE(node->competition.pools.empty());
}

TEST_F(MinimaTest, Restart_keepsThemAll) {
    ASSERT_TRUE(connect_by_hand("ctrl", kNqn));
    ASSERT_TRUE(declare("own", "kiops: 100"));
    ASSERT_TRUE(declare("far", "remote_controller: 'nvmeRemoteControllers/ctrl' mbs: 500"));
    ASSERT_TRUE(qos("q0", "m0", "min { rw_iops_kiops: 10 }"));
    ASSERT_TRUE(qos("q1", "ctrln1", "min { wr_bandwidth_mbs: 100 }"));
    ASSERT_TRUE(show("n0", "m1"));
    ASSERT_TRUE(controller("min_limit { rd_iops_kiops: 20 }"));
    const node::Competition before = node->competition;
    EXPECT_EQ(before.pools.size(), 2U);
    EXPECT_EQ(before.volumes.at("ctrln1"),
              (node::Minimum{.pool = "ctrl", .least = {.write_bytes = 100 * kMiB}}));
    ASSERT_EQ(before.controllers.size(), 1U);
    EXPECT_EQ(before.controllers.begin()->second,
              (node::Minimum{.pool = "", .least = {.read_ops = 20'000}}));
    restart_plane();
    EXPECT_EQ(node->competition, before);
}

TEST_F(MinimaTest, DiskAndItsVolume_askForTheSameIo_soTheGreaterCounts) {
    ASSERT_TRUE(declare("own", "kiops: 100"));
    ASSERT_TRUE(qos("q0", "m0", "min { rw_iops_kiops: 50 }"));
    ASSERT_TRUE(disk("m0", "min_limit { rw_iops_kiops: 80 }"));
    EXPECT_DOUBLE_EQ(promised("capacities/own"), 80);
    EXPECT_EQ(minima().at("mallocVolumes/m0").least, (Rates{.all_ops = 80'000}));
    const auto more = call(&ControlPlane::virtio_blks, &VirtioBlks::update,
                           read<opi::UpdateVirtioBlkRequest>(
                               "virtio_blk { name: 'virtioBlks/d0' volume_name_ref: 'm0' min_limit "
                               "{ rw_iops_kiops: 95 } pcie_id { port_id {} physical_function { "
                               "value: 1 } virtual_function {} } } update_mask { paths: "
                               "'min_limit' }"));
    EXPECT_KIND(more, ResourceExhausted);
    opi::DeleteVirtioBlkRequest gone;
    gone.set_name("virtioBlks/d0");
    ASSERT_TRUE(call(&ControlPlane::virtio_blks, &VirtioBlks::remove, gone));
    EXPECT_EQ(minima().at("mallocVolumes/m0").least, (Rates{.all_ops = 50'000}));
}

TEST_F(MinimaTest, EncryptedVolume_competesAsTheOneBelow_anArrayNotAtAll) {
    ASSERT_TRUE(declare("own", "kiops: 100"));
    ASSERT_TRUE(call(&ControlPlane::encrypted_volumes, &control::EncryptedVolumes::create,
                     read<opi::CreateEncryptedVolumeRequest>(
                         "encrypted_volume_id: 'e0' encrypted_volume { volume_name_ref: 'm0' "
                         "cipher: ENCRYPTION_TYPE_AES_XTS_128 key: "
                         "'0123456789abcdef0123456789abcdeF' }")));
    ASSERT_TRUE(qos("q0", "e0", "min { rw_iops_kiops: 10 }"));
    EXPECT_EQ(minima().begin()->first, "mallocVolumes/m0");
    ASSERT_TRUE(create_malloc("m2", 65536) && create_malloc("m3", 65536));
    ASSERT_TRUE(call(&ControlPlane::raid_volumes, &control::RaidVolumes::create,
                     read<api::CreateRaidVolumeRequest>(
                         "raid_volume_id: 'ra0' raid_volume { level: RAID_LEVEL_1 members: 'm2' "
                         "members: 'm3' }")));
    const auto array = qos("q1", "ra0", "min { rw_iops_kiops: 10 }");
    EXPECT_KIND(array, FailedPrecondition);
    expect_words(array, {"raidVolumes/ra0", "array"});
}

TEST_F(MinimaTest, ControllerMinimum_isOfOneBackEnd) {
    ASSERT_TRUE(connect_by_hand("ctrl", kNqn));
    // Nothing is reached through it yet, so nothing is promised.
    ASSERT_TRUE(controller("min_limit { rw_iops_kiops: 50 }"));
    EXPECT_TRUE(node->competition.controllers.empty());
    const auto undeclared = show("n0", "m0");
    EXPECT_KIND(undeclared, FailedPrecondition);
    expect_words(undeclared, {"nvme_namespace.spec.volume_name_ref", "no capacity"});
    EXPECT_TRUE(node->namespaces.empty());
    ASSERT_TRUE(declare("own", "kiops: 100"));
    ASSERT_TRUE(show("n0", "m0"));
    EXPECT_EQ(node->competition.controllers.size(), 1U);
    EXPECT_DOUBLE_EQ(promised("capacities/own"), 50);
    ASSERT_TRUE(declare("far", "remote_controller: 'nvmeRemoteControllers/ctrl' kiops: 500"));
    const auto other = show("n1", "ctrln1");
    EXPECT_KIND(other, FailedPrecondition);
    expect_words(other, {"several back ends"});
    EXPECT_KIND(qos("q0", "m1", "min { rw_iops_kiops: 41 }"), ResourceExhausted);
    EXPECT_KIND(change("min_limit { rw_iops_kiops: 91 }", "spec.min_limit"), ResourceExhausted);
    ASSERT_TRUE(change("min_limit { rw_iops_kiops: 90 }", "spec.min_limit"));
    EXPECT_DOUBLE_EQ(promised("capacities/own"), 90);
    ASSERT_TRUE(remove_controller());
    EXPECT_TRUE(node->competition.controllers.empty());
}

TEST_F(MinimaTest, Capacity_isOneABackEnd_andOfOneThatIsThere) {
    EXPECT_KIND(declare("own", ""), InvalidArgument);
    EXPECT_KIND(declare("own", "kiops: -1 mbs: 3"), InvalidArgument);
    EXPECT_KIND(declare("own", "kiops: 10000001"), InvalidArgument);
    EXPECT_KIND(declare("far", "remote_controller: 'nvmeRemoteControllers/nobody' kiops: 1"),
                NotFound);
    ASSERT_TRUE(declare("own", "kiops: 10"));
    EXPECT_TRUE(declare("own", "kiops: 10")) << "the same again";
    EXPECT_KIND(declare("own", "kiops: 11"), AlreadyExists);
    const auto second = declare("again", "kiops: 10");
    EXPECT_KIND(second, AlreadyExists);
    expect_words(second, {"capacities/own"});
    EXPECT_KIND(redeclare("name: 'capacities/none' kiops: 1"), NotFound);
    EXPECT_KIND(undeclare("capacities/none"), NotFound);
    const auto listed = call(&ControlPlane::capacities, &Capacities::list,
                             read<api::ListCapacitiesRequest>("page_size: 5"));
    ASSERT_TRUE(listed && listed->capacities_size() == 1);
    EXPECT_EQ(listed->capacities(0).kiops(), 10);
}

TEST_F(MinimaTest, Throttling_isToldOfControllersDisksAndVolumes) {
    ASSERT_TRUE(controller("max_limit { rw_iops_kiops: 1 }"));
    ASSERT_TRUE(disk("m0", ""));
    const auto ask = [&](const std::string& name) {
        return call(&ControlPlane::capacities, &Capacities::throttling,
                    read<api::GetThrottlingRequest>("name: '" + name + "'"));
    };
    const auto of_controller = ask(kController);
    ASSERT_TRUE(of_controller);
    EXPECT_EQ(of_controller->throttled_ns(), 77U);
    EXPECT_EQ(of_controller->name(), kController);
    EXPECT_TRUE(ask("virtioBlks/d0"));
    EXPECT_TRUE(ask("m1"));
    EXPECT_KIND(ask("virtioBlks/d9"), NotFound);
    EXPECT_KIND(ask("nvmeSubsystems/s0/nvmeControllers/c9"), NotFound);
    EXPECT_KIND(ask(""), InvalidArgument);
}

}  // namespace

}  // namespace remora::test
