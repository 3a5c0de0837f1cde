// SPDX-License-Identifier: Apache-2.0
// The OPI services over fakes: names, idempotence, references, dependants, updates, listings and
// what a restart rebuilds.
#include "tests/unit/control/plane_fixture.h"

namespace remora::test {

namespace {

using control::ControlPlane;
using control::Remotes;
using control::Status;
using control::Subsystems;
using control::VirtioBlks;
using control::Volumes;

class ResourcesTest : public PlaneFixture {
  public:
    Result<opi::NvmeSubsystem> create_subsystem(const std::string& id,
                                                const std::string& nqn,
                                                std::int64_t most_namespaces = 0) {
        opi::CreateNvmeSubsystemRequest request;
        request.set_nvme_subsystem_id(id);
        request.mutable_nvme_subsystem()->mutable_spec()->set_nqn(nqn);
        request.mutable_nvme_subsystem()->mutable_spec()->set_max_namespaces(most_namespaces);
        return call(&ControlPlane::subsystems, &Subsystems::create_subsystem, request);
    }
    Result<opi::NvmeController> create_listener(const std::string& id, const std::string& port) {
        opi::CreateNvmeControllerRequest request;
        request.set_parent("nvmeSubsystems/s0");
        request.set_nvme_controller_id(id);
        auto& spec = *request.mutable_nvme_controller()->mutable_spec();
        spec.set_trtype(opi::NVME_TRANSPORT_TYPE_TCP);
        spec.mutable_fabrics_id()->set_traddr("127.0.0.1");
        spec.mutable_fabrics_id()->set_trsvcid(port);
        spec.mutable_fabrics_id()->set_adrfam(opi::NVME_ADDRESS_FAMILY_IPV4);
        return call(&ControlPlane::subsystems, &Subsystems::create_controller, request);
    }
    Result<opi::NvmeNamespace> create_namespace(const std::string& id, const std::string& volume) {
        opi::CreateNvmeNamespaceRequest request;
        request.set_parent("nvmeSubsystems/s0");
        request.set_nvme_namespace_id(id);
        request.mutable_nvme_namespace()->mutable_spec()->set_volume_name_ref(volume);
        // A dashed UUID as NGUID is what a published client sends.
        request.mutable_nvme_namespace()->mutable_spec()->set_nguid(uuid_of(9).text());
        return call(&ControlPlane::subsystems, &Subsystems::create_namespace, request);
    }
    Result<opi::VirtioBlk> create_disk(const std::string& id,
                                       int function,
                                       const std::string& volume) {
        opi::CreateVirtioBlkRequest request;
        request.set_virtio_blk_id(id);
        auto& disk = *request.mutable_virtio_blk();
        disk.mutable_pcie_id()->mutable_port_id()->set_value(0);
        disk.mutable_pcie_id()->mutable_physical_function()->set_value(function);
        disk.mutable_pcie_id()->mutable_virtual_function()->set_value(0);
        disk.set_volume_name_ref(volume);
        return call(&ControlPlane::virtio_blks, &VirtioBlks::create, request);
    }
    Result<opi::NvmePath> create_path(const std::string& nqn, int port = 4420) {
        return connect_by_hand("nvmetcp12", nqn, port);
    }
    Result<google::protobuf::Empty> delete_malloc(const std::string& name, bool missing = false) {
        opi::DeleteMallocVolumeRequest request;
        request.set_name(name);
        request.set_allow_missing(missing);
        return call(&ControlPlane::volumes, &Volumes::delete_malloc, request);
    }
};

TEST_F(ResourcesTest, CreateVolume_namesAreThoseClientsExpect) {
    const auto named = create_malloc("m0");
    const auto unnamed = create_malloc("");

    ASSERT_TRUE(named && unnamed);
    EXPECT_EQ(named->name(), "volumes/m0");
    EXPECT_TRUE(core::Uuid::parse(named->uuid()));
    EXPECT_TRUE(core::Uuid::parse(unnamed->name().substr(8)));
}

TEST_F(ResourcesTest, CreateVolume_again_isIdempotentUnlessItDiffers) {
    const auto first = create_malloc("m0");
    const auto same = create_malloc("m0");
    const auto other = create_malloc("m0", 4096);

    ASSERT_TRUE(first && same);
    EXPECT_EQ(first->uuid(), same->uuid());
    EXPECT_KIND(other, AlreadyExists);
    EXPECT_NE(other.error().message.find("blocks_count"), std::string::npos);
}

TEST_F(ResourcesTest, CreateVolume_badArguments_areRefusedWithAFieldName) {
    EXPECT_KIND(create_malloc("-bad"), InvalidArgument);
    EXPECT_KIND(create_malloc("m0", 0), InvalidArgument);
    EXPECT_KIND(create_malloc("m0", -1), InvalidArgument);
    opi::CreateMallocVolumeRequest request;
    request.mutable_malloc_volume()->set_block_size(513);
    request.mutable_malloc_volume()->set_blocks_count(1);
    const auto odd = call(&ControlPlane::volumes, &Volumes::create_malloc, request);
    EXPECT_KIND(odd, InvalidArgument);
    EXPECT_NE(odd.error().message.find("block_size"), std::string::npos);
    EXPECT_EQ(store.size(), 0U);
}

TEST_F(ResourcesTest, GetVolume_takesEverySpelling) {
    ASSERT_TRUE(create_malloc("m0"));
    for (const char* name : {"volumes/m0", "mallocVolumes/m0", "m0"}) {
        opi::GetMallocVolumeRequest request;
        request.set_name(name);
        EXPECT_TRUE(call(&ControlPlane::volumes, &Volumes::get_malloc, request)) << name;
    }
    opi::GetMallocVolumeRequest bad;
    bad.set_name("-ABC-DEF");
    EXPECT_KIND(call(&ControlPlane::volumes, &Volumes::get_malloc, bad), InvalidArgument);
    bad.set_name("nullVolumes/m0");
    EXPECT_KIND(call(&ControlPlane::volumes, &Volumes::get_malloc, bad), NotFound);
}

TEST_F(ResourcesTest, NamesAreUniquePerKind_andAnAmbiguousReferenceIsRefused) {
    ASSERT_TRUE(create_malloc("x"));
    opi::CreateNullVolumeRequest request;
    request.set_null_volume_id("x");
    request.mutable_null_volume()->set_block_size(512);
    request.mutable_null_volume()->set_blocks_count(8);
    ASSERT_TRUE(call(&ControlPlane::volumes, &Volumes::create_null, request));
    ASSERT_TRUE(create_subsystem("s0", "nqn.2024-01.org.example:s0"));

    EXPECT_KIND(create_namespace("n0", "x"), InvalidArgument);
    EXPECT_TRUE(create_namespace("n1", "nullVolumes/x"));
}

TEST_F(ResourcesTest, UpdateVolume_honoursTheMask) {
    const auto volume = create_malloc("m0");
    opi::UpdateMallocVolumeRequest request;
    *request.mutable_malloc_volume() = *volume;
    const auto update = [&] {
        return call(&ControlPlane::volumes, &Volumes::update_malloc, request);
    };
    EXPECT_TRUE(update()) << "nothing changes";
    request.mutable_update_mask()->add_paths("*");
    EXPECT_TRUE(update());
    request.mutable_malloc_volume()->set_blocks_count(9);
    EXPECT_KIND(update(), FailedPrecondition);
    request.mutable_update_mask()->set_paths(0, "uuid");
    EXPECT_TRUE(update()) << "blocks_count is not in the mask";
    request.mutable_update_mask()->set_paths(0, "colour");
    EXPECT_KIND(update(), InvalidArgument);
    request.mutable_update_mask()->set_paths(0, "*");
    request.mutable_update_mask()->add_paths("uuid");
    EXPECT_KIND(update(), InvalidArgument);

    request.clear_update_mask();
    request.mutable_malloc_volume()->set_name("volumes/new-one");
    request.mutable_malloc_volume()->clear_uuid();
    EXPECT_KIND(update(), NotFound);
    request.set_allow_missing(true);
    EXPECT_TRUE(update());
}

TEST_F(ResourcesTest, UpdateVolume_moreBlocks_growsAndStaysSo) {
    const auto volume = create_malloc("m0");
    opi::UpdateMallocVolumeRequest request;
    *request.mutable_malloc_volume() = *volume;
    request.mutable_malloc_volume()->set_blocks_count(4096);
    request.mutable_update_mask()->add_paths("blocks_count");
    const auto grown = call(&ControlPlane::volumes, &Volumes::update_malloc, request);
    ASSERT_TRUE(grown);
    EXPECT_EQ(grown->blocks_count(), 4096);
    EXPECT_EQ(node->find_volume("mallocVolumes/m0")->geometry.block_count, 4096U);
    EXPECT_TRUE(call(&ControlPlane::volumes, &Volumes::update_malloc, request)) << "repeated";
    restart_plane();
    EXPECT_EQ(node->find_volume("mallocVolumes/m0")->geometry.block_count, 4096U);

    request.mutable_malloc_volume()->set_blocks_count(-1);
    EXPECT_KIND(call(&ControlPlane::volumes, &Volumes::update_malloc, request), InvalidArgument);
}

// Whatever step is the last, the volume has its old or its new size afterwards, and can be asked
// again.
TEST_F(ResourcesTest, UpdateFileVolume_diesAtAnyStep_hasOneOfBothSizes) {
    opi::CreateAioVolumeRequest create;
    create.set_aio_volume_id("f0");
    create.mutable_aio_volume()->set_filename("/f0");
    create.mutable_aio_volume()->set_block_size(512);
    create.mutable_aio_volume()->set_blocks_count(100);
    const auto made = call(&ControlPlane::volumes, &Volumes::create_aio, create);
    ASSERT_TRUE(made);
    std::int64_t blocks = 100;
    for (int step = 1; step <= 3; ++step) {
        SCOPED_TRACE(step);
        opi::UpdateAioVolumeRequest request;
        *request.mutable_aio_volume() = *made;
        request.mutable_aio_volume()->set_blocks_count(blocks + 100);
        request.mutable_update_mask()->add_paths("blocks_count");
        steps = {};
        steps.crash_at = step;
        EXPECT_KIND(call(&ControlPlane::volumes, &Volumes::update_aio, request), Unavailable);
        restart_plane();
        opi::GetAioVolumeRequest get;
        get.set_name("volumes/f0");
        const auto after = call(&ControlPlane::volumes, &Volumes::get_aio, get);
        ASSERT_TRUE(after);
        const auto built = node->find_volume("aioVolumes/f0");
        ASSERT_TRUE(built);
        EXPECT_EQ(static_cast<std::int64_t>(built->geometry.block_count), after->blocks_count());
        EXPECT_EQ(after->blocks_count(), step < 3 ? blocks : blocks + 100);
        auto again = call(&ControlPlane::volumes, &Volumes::update_aio, request);
        ASSERT_TRUE(again);
        blocks += 100;
        EXPECT_EQ(again->blocks_count(), blocks);
        // A patch that does not say how many leaves them.
        request.mutable_aio_volume()->clear_blocks_count();
        request.mutable_update_mask()->set_paths(0, "*");
        again = call(&ControlPlane::volumes, &Volumes::update_aio, request);
        ASSERT_TRUE(again);
        EXPECT_EQ(again->blocks_count(), blocks);
    }
}

// As when the file is longer but could not be synced.
TEST_F(ResourcesTest, UpdateFileVolume_failedHalfway_isThereAfterARestart) {
    opi::CreateAioVolumeRequest create;
    create.set_aio_volume_id("f0");
    create.mutable_aio_volume()->set_filename("/f0");
    create.mutable_aio_volume()->set_block_size(512);
    create.mutable_aio_volume()->set_blocks_count(100);
    const auto made = call(&ControlPlane::volumes, &Volumes::create_aio, create);
    ASSERT_TRUE(made);
    opi::UpdateAioVolumeRequest request;
    *request.mutable_aio_volume() = *made;
    request.mutable_aio_volume()->set_blocks_count(200);
    request.mutable_update_mask()->add_paths("blocks_count");
    steps = {};
    steps.fail_at = 2;
    EXPECT_KIND(call(&ControlPlane::volumes, &Volumes::update_aio, request), Unavailable);
    network.files["/f0"] = std::uint64_t{200} * 512;
    restart_plane();
    ASSERT_TRUE(node->find_volume("aioVolumes/f0"));
    EXPECT_EQ(node->find_volume("aioVolumes/f0")->geometry.block_count, 200U);
}

TEST_F(ResourcesTest, UpdateFileVolume_strangeFileAfterACrash_isNotTaken) {
    opi::CreateAioVolumeRequest create;
    create.set_aio_volume_id("f0");
    create.mutable_aio_volume()->set_filename("/f0");
    create.mutable_aio_volume()->set_block_size(512);
    create.mutable_aio_volume()->set_blocks_count(100);
    const auto made = call(&ControlPlane::volumes, &Volumes::create_aio, create);
    ASSERT_TRUE(made);
    opi::UpdateAioVolumeRequest request;
    *request.mutable_aio_volume() = *made;
    request.mutable_aio_volume()->set_blocks_count(200);
    request.mutable_update_mask()->add_paths("blocks_count");
    steps = {};
    steps.crash_at = 2;
    EXPECT_KIND(call(&ControlPlane::volumes, &Volumes::update_aio, request), Unavailable);
    network.files["/f0"] = std::uint64_t{300} * 512;
    restart_plane();
    EXPECT_FALSE(node->find_volume("aioVolumes/f0"));
}

TEST_F(ResourcesTest, ListVolumes_pagesInOrderAndRefusesStrangeTokens) {
    for (int i = 0; i < 12; ++i) {
        ASSERT_TRUE(create_malloc("vol" + std::to_string(i)));
    }
    opi::ListMallocVolumesRequest request;
    request.set_page_size(5);
    std::vector<std::string> names;
    for (int page = 0; page < 3; ++page) {
        const auto listed = call(&ControlPlane::volumes, &Volumes::list_malloc, request);
        ASSERT_TRUE(listed);
        for (const auto& volume : listed->malloc_volumes()) {
            names.push_back(volume.name());
        }
        request.set_page_token(listed->next_page_token());
    }
    EXPECT_EQ(names.size(), 12U);
    EXPECT_EQ(names.back(), "volumes/vol11");
    EXPECT_TRUE(request.page_token().empty());
    request.set_page_token("unknown-pagination-token");
    EXPECT_KIND(call(&ControlPlane::volumes, &Volumes::list_malloc, request), NotFound);
    request.clear_page_token();
    request.set_page_size(-1);
    EXPECT_KIND(call(&ControlPlane::volumes, &Volumes::list_malloc, request), InvalidArgument);
}

TEST_F(ResourcesTest, StatsVolume_saturatesAt32Bits) {
    ASSERT_TRUE(create_malloc("m0"));
    opi::StatsMallocVolumeRequest request;
    request.set_name("volumes/m0");

    const auto stats = call(&ControlPlane::volumes, &Volumes::stats_malloc, request);

    ASSERT_TRUE(stats);
    EXPECT_EQ(stats->stats().read_ops_count(), 3);
    EXPECT_EQ(stats->stats().read_bytes_count(), 0x7fffffff);
    EXPECT_EQ(stats->stats().read_latency_ticks(), 9000);
}

TEST_F(ResourcesTest, Subsystem_withListenerAndNamespace_isBuiltAndRebuilt) {
    ASSERT_TRUE(create_malloc("m0"));
    ASSERT_TRUE(create_subsystem("s0", "nqn.2024-01.org.example:s0"));
    const auto listener = create_listener("c0", "0");
    const auto space = create_namespace("n0", "m0");

    ASSERT_TRUE(listener && space) << space.error().message;
    EXPECT_EQ(listener->name(), "nvmeSubsystems/s0/nvmeControllers/c0");
    EXPECT_EQ(listener->spec().fabrics_id().trsvcid(), "40000");
    EXPECT_EQ(listener->spec().nvme_controller_id(), -1);
    EXPECT_TRUE(listener->status().active());
    EXPECT_EQ(space->spec().host_nsid(), 1);
    EXPECT_EQ(space->spec().nguid(), "11000000000000000000000000000009");

    const auto listeners = node->listeners;
    restart_plane();

    EXPECT_EQ(node->listeners, listeners) << "the port that was picked is kept";
    EXPECT_EQ(node->namespaces.size(), 1U);
    EXPECT_EQ(node->volumes.size(), 1U);
}

// A host that has not noticed yet that a namespace is gone must not write to another volume.
TEST_F(ResourcesTest, Namespace_identifierOfAVolumeThatWent_isKeptForItWhileOthersAreFree) {
    for (const char* volume : {"m0", "m1", "m2", "m3"}) {
        ASSERT_TRUE(create_malloc(volume));
    }
    ASSERT_TRUE(create_subsystem("s0", "nqn.2024-01.org.example:s0", 3));
    const auto nsid_of = [this](const std::string& volume) {
        const auto space = create_namespace("n-" + volume, volume);
        return space ? space->spec().host_nsid() : -1;
    };
    const auto remove = [this](const std::string& volume) {
        opi::DeleteNvmeNamespaceRequest request;
        request.set_name("nvmeSubsystems/s0/nvmeNamespaces/n-" + volume);
        EXPECT_TRUE(call(&ControlPlane::subsystems, &Subsystems::delete_namespace, request));
    };
    EXPECT_EQ(nsid_of("m0"), 1);
    EXPECT_EQ(nsid_of("m1"), 2);
    remove("m0");
    remove("m1");
    EXPECT_EQ(nsid_of("m2"), 3) << "1 and 2 have shown others";
    restart_plane();
    EXPECT_EQ(nsid_of("m0"), 1) << "it was its own";
    EXPECT_EQ(nsid_of("m3"), 2) << "none else is left";
}

TEST_F(ResourcesTest, Delete_whatOthersNeed_namesThem) {
    ASSERT_TRUE(create_malloc("m0"));
    ASSERT_TRUE(create_subsystem("s0", "nqn.2024-01.org.example:s0"));
    ASSERT_TRUE(create_namespace("n0", "volumes/m0"));

    const auto volume = delete_malloc("volumes/m0");
    opi::DeleteNvmeSubsystemRequest request;
    request.set_name("nvmeSubsystems/s0");
    const auto subsystem = call(&ControlPlane::subsystems, &Subsystems::delete_subsystem, request);

    EXPECT_KIND(volume, FailedPrecondition);
    EXPECT_NE(volume.error().message.find("nvmeSubsystems/s0/nvmeNamespaces/n0"),
              std::string::npos);
    EXPECT_KIND(subsystem, FailedPrecondition);
    EXPECT_KIND(delete_malloc("volumes/nobody"), NotFound);
    EXPECT_TRUE(delete_malloc("volumes/nobody", true));
}

TEST_F(ResourcesTest, Subsystem_nqnTakenOrWrong_isRefused) {
    ASSERT_TRUE(create_subsystem("s0", "nqn.2024-01.org.example:s0"));

    EXPECT_KIND(create_subsystem("s1", "nqn.2024-01.org.example:s0"), AlreadyExists);
    EXPECT_KIND(create_subsystem("s1", "nqn.2024-13.org.example:s0"), InvalidArgument);
    EXPECT_KIND(create_subsystem("s1", "iqn.2024-01.org.example:s0"), InvalidArgument);
    EXPECT_KIND(create_subsystem("s1", "nqn.2014-08.org.nvmexpress.discovery"), InvalidArgument);
    EXPECT_KIND(create_listener("c0", "port"), InvalidArgument);
    EXPECT_KIND(create_namespace("n0", "nothing"), NotFound);
}

TEST_F(ResourcesTest, Path_makesVolumesThatCanBeReferredTo) {
    ASSERT_TRUE(create_path(kNqn));

    const auto disk = create_disk("d0", 3, "nvmetcp12n2");

    ASSERT_TRUE(disk) << disk.error().message;
    EXPECT_EQ(disk->name(), "volumes/d0");
    EXPECT_EQ(node->vhosts.at("d0").socket_path, "/run/remora/d0");
    EXPECT_EQ(plugged.at(3), "/run/remora/d0");
    opi::DeleteNvmePathRequest request;
    request.set_name("nvmeRemoteControllers/nvmetcp12/nvmePaths/path0");
    const auto refused = call(&ControlPlane::remotes, &Remotes::delete_path, request);
    EXPECT_KIND(refused, FailedPrecondition);
    EXPECT_NE(refused.error().message.find("virtioBlks/d0"), std::string::npos);
}

TEST_F(ResourcesTest, Path_toNobody_isRefusedAndLeavesNothing) {
    EXPECT_KIND(create_path("nqn.2024-01.org.example:nobody"), NotFound);
    EXPECT_TRUE(node->remotes.empty());
    EXPECT_EQ(store.size(), 1U) << "the remote controller itself";
}

TEST_F(ResourcesTest, RemoteNamespaces_areListed) {
    ASSERT_TRUE(create_path(kNqn));
    opi::ListNvmeRemoteNamespacesRequest request;
    request.set_parent("nvmeRemoteControllers/nvmetcp12");
    request.set_page_size(3);

    const auto listed = call(&ControlPlane::remotes, &Remotes::list_namespaces, request);

    ASSERT_TRUE(listed);
    ASSERT_EQ(listed->nvme_remote_namespaces_size(), 3);
    EXPECT_EQ(listed->nvme_remote_namespaces(2).uuid(), uuid_of(3).text());
    opi::GetNvmeRemoteNamespaceRequest one;
    one.set_name(listed->nvme_remote_namespaces(2).name());
    EXPECT_TRUE(call(&ControlPlane::remotes, &Remotes::get_namespace, one));
}

TEST_F(ResourcesTest, VirtioBlk_wrongPlaces_areRefused) {
    ASSERT_TRUE(create_malloc("m0"));
    host->places = {8};

    EXPECT_KIND(create_disk("d0", -1, "m0"), InvalidArgument);
    EXPECT_KIND(create_disk("d0", 8, "m0"), ResourceExhausted);
    EXPECT_KIND(create_disk("d0", 64, "m0"), ResourceExhausted);
    ASSERT_TRUE(create_disk("d0", 0, "m0"));
    EXPECT_KIND(create_disk("d1", 0, "m0"), AlreadyExists);
    EXPECT_KIND(create_disk("d1", 1, "m0"), FailedPrecondition);
    opi::UpdateVirtioBlkRequest update;  // What a published client sends: only a name.
    update.mutable_virtio_blk()->set_name("volumes/d0");
    EXPECT_KIND(call(&ControlPlane::virtio_blks, &VirtioBlks::update, update), InvalidArgument);
    EXPECT_EQ(plugged.size(), 1U);
}

TEST_F(ResourcesTest, VirtioBlk_anyStepFails_leavesNothing) {
    ASSERT_TRUE(create_malloc("m0"));
    for (int step = 1;; ++step) {
        steps = {};
        steps.fail_at = step;
        const auto disk = create_disk("d0", 0, "m0");
        if (disk) {
            break;
        }
        EXPECT_TRUE(plugged.empty() && node->vhosts.empty());
        EXPECT_EQ(store.size(), 1U);
        ASSERT_LT(step, 100);
    }
    EXPECT_EQ(plugged.size(), 1U);
}

TEST_F(ResourcesTest, CreateVolume_storeFails_leavesNothingInTheDataPlane) {
    steps.fail_at = 2;
    EXPECT_KIND(create_malloc("m0"), Unavailable);
    EXPECT_TRUE(node->volumes.empty());
    EXPECT_TRUE(create_malloc("m0"));
}

TEST_F(ResourcesTest, Status_showsEachDisksWholeChain) {
    ASSERT_TRUE(attach(4, 7));
    ASSERT_TRUE(create_malloc("m0"));
    ASSERT_TRUE(create_disk("d0", 2, "m0"));

    const auto status = call(&ControlPlane::status, &Status::get_status, api::GetStatusRequest());

    ASSERT_TRUE(status);
    EXPECT_TRUE(status->ready());
    ASSERT_EQ(status->host_disks_size(), 2);
    EXPECT_EQ(status->host_disks(0).state(), "plugged");
    const auto& disk = status->host_disks(1);
    EXPECT_EQ(disk.host_function(), 7);
    EXPECT_EQ(disk.state(), "attached");
    EXPECT_EQ(disk.volume_uuid(), uuid_of(4).text());
    EXPECT_EQ(disk.subsystem_nqn(), kNqn);
    ASSERT_EQ(disk.paths_size(), 1);
    EXPECT_EQ(disk.paths(0).state(), "live");
}

TEST_F(ResourcesTest, Benchmark_ofUsedVolumesAndWrongTimes_isRefused) {
    ASSERT_TRUE(create_malloc("m0") && create_disk("d0", 2, "m0"));
    api::RunBenchmarkRequest request;
    request.set_volume_name_ref("m0");
    request.set_pattern(api::RunBenchmarkRequest::PATTERN_WRITE);
    request.set_io_bytes(4096);
    request.set_queue_depth(1);
    request.set_seconds(1);

    EXPECT_KIND(call(&ControlPlane::status, &Status::run_benchmark, request), FailedPrecondition);
    request.set_pattern(api::RunBenchmarkRequest::PATTERN_READ);
    const auto result = call(&ControlPlane::status, &Status::run_benchmark, request);
    ASSERT_TRUE(result);
    EXPECT_EQ(result->iops(), 1000);
    request.set_io_bytes(100);
    EXPECT_KIND(call(&ControlPlane::status, &Status::run_benchmark, request), InvalidArgument);
    request.set_io_bytes(4096);
    request.set_seconds(0);
    EXPECT_KIND(call(&ControlPlane::status, &Status::run_benchmark, request), InvalidArgument);
    request.set_milliseconds(1);
    EXPECT_TRUE(call(&ControlPlane::status, &Status::run_benchmark, request));
    request.set_seconds(3600);
    EXPECT_KIND(call(&ControlPlane::status, &Status::run_benchmark, request), InvalidArgument);
}

}  // namespace

}  // namespace remora::test
