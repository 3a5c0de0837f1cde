// SPDX-License-Identifier: Apache-2.0
// Each `remora create` makes the right request.
#include <gtest/gtest.h>

#include "storage/backend_aio.pb.h"
#include "storage/backend_malloc.pb.h"
#include "storage/backend_null.pb.h"
#include "storage/backend_nvme.pb.h"
#include "storage/frontend_nvme.pb.h"
#include "storage/frontend_virtio_blk.pb.h"
#include "tests/unit/cli/fake_daemon.h"

namespace remora::cli {

namespace {

namespace opi = opi_api::storage::v1;
constexpr const char* kUuid = "11111111-2222-4333-8444-555555555555";

std::string method_of(FakeDaemon& daemon) {
    const auto methods = daemon.methods();
    return methods.size() == 1 ? methods.front() : "";
}

}  // namespace

TEST(Create, Malloc_counts_blocks) {
    FakeDaemon daemon;

    const Ran ran = run_at(daemon, {"create", "malloc", "a", "--size", "64M", "--block-size",
                                    "4096", "--uuid", kUuid});

    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_EQ(method_of(daemon), "/opi_api.storage.v1.MallocVolumeService/CreateMallocVolume");
    const auto request = daemon.request<opi::CreateMallocVolumeRequest>();
    EXPECT_EQ(request.malloc_volume_id(), "a");
    EXPECT_EQ(request.malloc_volume().block_size(), 4096);
    EXPECT_EQ(request.malloc_volume().blocks_count(), 16384);
    EXPECT_EQ(request.malloc_volume().uuid(), kUuid);
}

TEST(Create, Null_has_512_byte_blocks_by_itself) {
    FakeDaemon daemon;

    const Ran ran = run_at(daemon, {"create", "null", "n", "--size", "1G"});

    EXPECT_EQ(ran.code, 0) << ran.err;
    const auto request = daemon.request<opi::CreateNullVolumeRequest>();
    EXPECT_EQ(request.null_volume_id(), "n");
    EXPECT_EQ(request.null_volume().block_size(), 512);
    EXPECT_EQ(request.null_volume().blocks_count(), 2097152);
}

TEST(Create, Aio_without_size_leaves_it_to_the_file) {
    FakeDaemon daemon;

    const Ran ran = run_at(daemon, {"create", "aio", "f", "--file", "/tmp/f.img"});

    EXPECT_EQ(ran.code, 0) << ran.err;
    const auto request = daemon.request<opi::CreateAioVolumeRequest>();
    EXPECT_EQ(request.aio_volume_id(), "f");
    EXPECT_EQ(request.aio_volume().filename(), "/tmp/f.img");
    EXPECT_EQ(request.aio_volume().blocks_count(), 0);
}

TEST(Create, Aio_with_size_counts_blocks) {
    FakeDaemon daemon;

    const Ran ran = run_at(daemon, {"create", "aio", "f", "--file", "/f", "--size", "1M"});

    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_EQ(daemon.request<opi::CreateAioVolumeRequest>().aio_volume().blocks_count(), 2048);
}

TEST(Create, Subsystem_carries_its_names) {
    FakeDaemon daemon;

    const Ran ran = run_at(daemon, {"create", "subsystem", "lab", "--nqn", "nqn.x", "--hostnqn",
                                    "nqn.h", "--serial", "S1", "--model", "M1"});

    EXPECT_EQ(ran.code, 0) << ran.err;
    const auto request = daemon.request<opi::CreateNvmeSubsystemRequest>();
    EXPECT_EQ(request.nvme_subsystem_id(), "lab");
    EXPECT_EQ(request.nvme_subsystem().spec().nqn(), "nqn.x");
    EXPECT_EQ(request.nvme_subsystem().spec().hostnqn(), "nqn.h");
    EXPECT_EQ(request.nvme_subsystem().spec().serial_number(), "S1");
    EXPECT_EQ(request.nvme_subsystem().spec().model_number(), "M1");
}

TEST(Create, Controller_is_a_tcp_listener_of_its_parent) {
    FakeDaemon daemon;

    const Ran ran = run_at(daemon, {"create", "controller", "lab/tcp", "--listen", "[::1]:4420"});

    EXPECT_EQ(ran.code, 0) << ran.err;
    const auto request = daemon.request<opi::CreateNvmeControllerRequest>();
    EXPECT_EQ(request.parent(), "nvmeSubsystems/lab");
    EXPECT_EQ(request.nvme_controller_id(), "tcp");
    const auto& spec = request.nvme_controller().spec();
    EXPECT_EQ(spec.trtype(), opi::NVME_TRANSPORT_TYPE_TCP);
    EXPECT_EQ(spec.fabrics_id().traddr(), "::1");
    EXPECT_EQ(spec.fabrics_id().trsvcid(), "4420");
    EXPECT_EQ(spec.fabrics_id().adrfam(), opi::NVME_ADDRESS_FAMILY_IPV6);
}

TEST(Create, Controller_is_a_function_of_the_host) {
    FakeDaemon daemon;

    const Ran ran =
        run_at(daemon, {"create", "controller", "lab/pf3", "--function", "3", "--queues", "8"});

    EXPECT_EQ(ran.code, 0) << ran.err;
    const auto request = daemon.request<opi::CreateNvmeControllerRequest>();
    const auto& spec = request.nvme_controller().spec();
    EXPECT_EQ(spec.trtype(), opi::NVME_TRANSPORT_TYPE_PCIE);
    EXPECT_EQ(spec.pcie_id().physical_function().value(), 3);
    EXPECT_TRUE(spec.pcie_id().has_port_id());
    EXPECT_EQ(spec.max_nsq(), 8);
    EXPECT_FALSE(spec.has_fabrics_id());
}

TEST(Create, Virtual_function_is_written_behind_its_own) {
    FakeDaemon daemon;

    const Ran disk =
        run_at(daemon, {"create", "virtio-blk", "vda", "--function", "3.2", "--volume", "v"});
    const Ran controller = run_at(daemon, {"create", "controller", "lab/vf", "--function", "0.1"});

    EXPECT_EQ(disk.code, 0) << disk.err;
    EXPECT_EQ(controller.code, 0) << controller.err;
    const auto first = daemon.request<opi::CreateVirtioBlkRequest>(0);
    EXPECT_EQ(first.virtio_blk().pcie_id().physical_function().value(), 3);
    EXPECT_EQ(first.virtio_blk().pcie_id().virtual_function().value(), 2);
    const auto second = daemon.request<opi::CreateNvmeControllerRequest>(1);
    EXPECT_EQ(second.nvme_controller().spec().pcie_id().physical_function().value(), 0);
    EXPECT_EQ(second.nvme_controller().spec().pcie_id().virtual_function().value(), 1);
}

TEST(Create, Controller_of_neither_or_both_ways_is_refused) {
    FakeDaemon daemon;

    const Ran neither = run_at(daemon, {"create", "controller", "lab/x"});
    const Ran both = run_at(
        daemon, {"create", "controller", "lab/x", "--listen", "127.0.0.1:4420", "--function", "3"});

    EXPECT_EQ(neither.code, 2);
    EXPECT_EQ(both.code, 2);
    EXPECT_NE(both.err.find("give one of the two"), std::string::npos);
    EXPECT_TRUE(daemon.methods().empty());
}

TEST(Create, Namespace_refers_to_its_volume) {
    FakeDaemon daemon;

    const Ran ran = run_at(daemon, {"create", "namespace", "lab/a", "--volume", "disk", "--nsid",
                                    "7", "--uuid", kUuid});

    EXPECT_EQ(ran.code, 0) << ran.err;
    const auto request = daemon.request<opi::CreateNvmeNamespaceRequest>();
    EXPECT_EQ(request.parent(), "nvmeSubsystems/lab");
    EXPECT_EQ(request.nvme_namespace_id(), "a");
    EXPECT_EQ(request.nvme_namespace().spec().volume_name_ref(), "disk");
    EXPECT_EQ(request.nvme_namespace().spec().host_nsid(), 7);
    EXPECT_EQ(request.nvme_namespace().spec().uuid(), kUuid);
}

TEST(Create, Remote_controller_has_a_policy_and_digests) {
    FakeDaemon daemon;

    const Ran ran = run_at(daemon, {"create", "remote-controller", "array", "--multipath",
                                    "failover", "--header-digest", "--queues", "2"});

    EXPECT_EQ(ran.code, 0) << ran.err;
    const auto request = daemon.request<opi::CreateNvmeRemoteControllerRequest>();
    EXPECT_EQ(request.nvme_remote_controller_id(), "array");
    EXPECT_EQ(request.nvme_remote_controller().multipath(), opi::NVME_MULTIPATH_FAILOVER);
    EXPECT_EQ(request.nvme_remote_controller().io_queues_count(), 2);
    EXPECT_TRUE(request.nvme_remote_controller().tcp().hdgst());
    EXPECT_FALSE(request.nvme_remote_controller().tcp().ddgst());
}

TEST(Create, Remote_controller_alone_uses_one_path) {
    FakeDaemon daemon;

    const Ran ran = run_at(daemon, {"create", "remote-controller", "array"});

    EXPECT_EQ(ran.code, 0) << ran.err;
    const auto request = daemon.request<opi::CreateNvmeRemoteControllerRequest>();
    EXPECT_EQ(request.nvme_remote_controller().multipath(), opi::NVME_MULTIPATH_DISABLE);
    EXPECT_FALSE(request.nvme_remote_controller().has_tcp());
}

TEST(Create, Path_leads_to_a_subsystem) {
    FakeDaemon daemon;

    const Ran ran = run_at(daemon, {"create", "path", "array/p0", "--address", "10.0.0.1:8009",
                                    "--nqn", "nqn.x", "--hostnqn", "nqn.h"});

    EXPECT_EQ(ran.code, 0) << ran.err;
    const auto request = daemon.request<opi::CreateNvmePathRequest>();
    EXPECT_EQ(request.parent(), "nvmeRemoteControllers/array");
    EXPECT_EQ(request.nvme_path_id(), "p0");
    EXPECT_EQ(request.nvme_path().trtype(), opi::NVME_TRANSPORT_TYPE_TCP);
    EXPECT_EQ(request.nvme_path().traddr(), "10.0.0.1");
    EXPECT_EQ(request.nvme_path().fabrics().trsvcid(), 8009);
    EXPECT_EQ(request.nvme_path().fabrics().subnqn(), "nqn.x");
    EXPECT_EQ(request.nvme_path().fabrics().hostnqn(), "nqn.h");
    EXPECT_EQ(request.nvme_path().fabrics().adrfam(), opi::NVME_ADDRESS_FAMILY_IPV4);
}

TEST(Create, Virtio_blk_names_every_part_of_its_place) {
    FakeDaemon daemon;

    const Ran ran = run_at(daemon, {"create", "virtio-blk", "vda", "--function", "0", "--volume",
                                    "arrayn1", "--queues", "4"});

    EXPECT_EQ(ran.code, 0) << ran.err;
    const auto request = daemon.request<opi::CreateVirtioBlkRequest>();
    EXPECT_EQ(request.virtio_blk_id(), "vda");
    const auto& place = request.virtio_blk().pcie_id();
    EXPECT_TRUE(place.has_port_id());
    EXPECT_TRUE(place.has_physical_function());
    EXPECT_TRUE(place.has_virtual_function());
    EXPECT_EQ(place.physical_function().value(), 0);
    EXPECT_EQ(request.virtio_blk().volume_name_ref(), "arrayn1");
    EXPECT_EQ(request.virtio_blk().max_io_qps(), 4);
}

TEST(Create, Answer_is_shown_as_a_table) {
    FakeDaemon daemon;
    opi::MallocVolume made;
    made.set_name("volumes/a");
    made.set_block_size(512);
    made.set_blocks_count(131072);
    daemon.answer("CreateMallocVolume", made);

    const Ran ran = run_at(daemon, {"create", "malloc", "a", "--size", "64M"});

    EXPECT_EQ(ran.out,
              "NAME  SIZE    BLOCK  UUID\n"
              "a     64 MiB  512    -\n");
}

TEST(Create, Size_that_is_no_multiple_of_the_block_is_not_sent) {
    FakeDaemon daemon;

    const Ran ran = run_at(daemon, {"create", "malloc", "a", "--size", "1000"});

    EXPECT_EQ(ran.code, 1);
    EXPECT_EQ(ran.err,
              "remora: --size 1000 (1000 bytes) is not a multiple of the block size 512: use 512 "
              "or 1024 (INVALID_ARGUMENT)\n");
    EXPECT_TRUE(daemon.methods().empty());
}

TEST(Create, Values_that_cannot_work_name_the_flag) {
    const struct {
        std::vector<std::string> line;
        const char* part;
    } cases[] = {
        {{"create", "malloc", "a", "--size", "0"}, "--size 0"},
        {{"create", "malloc", "a", "--size", "1.5G"}, "--size: "},
        {{"create", "malloc", "a", "--size", "1M", "--block-size", "0"}, "--block-size 0"},
        {{"create", "controller", "lab/t", "--listen", "nowhere"}, "--listen 'nowhere'"},
        {{"create", "controller", "lab/t", "--listen", "::1:4420"}, "--listen '::1:4420'"},
        {{"create", "controller", "t", "--listen", "1.2.3.4:5"}, "PARENT/ID"},
        {{"create", "path", "a/p", "--address", "1.2.3.4:99999", "--nqn", "n"}, "--address"},
        {{"create", "namespace", "s/a", "--volume", "v", "--nsid", "9999999999"}, "--nsid"},
    };
    for (const auto& one : cases) {
        const Ran ran = run_line(one.line);

        EXPECT_EQ(ran.code, 1) << ran.err;
        EXPECT_NE(ran.err.find(one.part), std::string::npos) << ran.err;
        EXPECT_TRUE(ran.err.ends_with("(INVALID_ARGUMENT)\n")) << ran.err;
    }
}

}  // namespace remora::cli
