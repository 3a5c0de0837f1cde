// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/control/plane_fixture.h"

#include <algorithm>
#include <chrono>
#include <vector>

namespace remora::test {

core::Uuid uuid_of(int number) {
    core::Uuid uuid;
    uuid.bytes[0] = 0x11;
    uuid.bytes[15] = static_cast<unsigned char>(number);
    return uuid;
}

void set_address(opi::PciEndpoint& pcie, core::HostFunction function) {
    pcie.mutable_port_id()->set_value(0);
    pcie.mutable_physical_function()->set_value(static_cast<std::int32_t>(function.pf));
    pcie.mutable_virtual_function()->set_value(static_cast<std::int32_t>(function.vf));
}

PlaneFixture::PlaneFixture() {
    std::vector<Network::Space> spaces;
    for (int i = 1; i <= 70; ++i) {
        spaces.push_back({static_cast<std::uint32_t>(i), uuid_of(i)});
    }
    network.targets[kTarget] = {{"nqn.2024-01.org.example:empty", {}}, {kNqn, spaces}};
    start_plane();
}

PlaneFixture::~PlaneFixture() {
    stop_plane();
}

void PlaneFixture::start_plane() {
    node = std::make_unique<FakeNode>(network, steps);
    host = std::make_unique<FakeHost>(plugged, steps);
    host->busy_guest = busy_guest;
    host->served = [this](const std::string& socket) {
        const auto is_its = [&](const auto& one) { return one.second.socket_path == socket; };
        return std::ranges::any_of(node->vhosts, is_its) ||
               std::ranges::any_of(node->functions, is_its);
    };
    node->refuses_vhosts = refuses_vhosts;
    node->refuses_functions = refuses_functions;
    node->places_taken = places_taken;
    control::Options options;
    options.socket_directory = "/run/remora";
    options.reactors = reactors;
    options.seal_keys = seal_keys.get();
    options.crypt_kernel = "fake";
    options.takeover_limit = takeover_limit;
    options.reconcile_pause = std::chrono::milliseconds(5);
    bool made = false;
    reactor().post_function([&] {
        plane =
            std::make_unique<control::ControlPlane>(store, *node, *host, core::Prng(7), options);
        made = true;
    });
    turn_until([&] { return made; });
    run([&]() -> Task<> {
        const auto started = co_await plane->start();
        EXPECT_TRUE(started);
    });
}

void PlaneFixture::stop_plane() {
    run([&]() -> Task<> { EXPECT_TRUE(co_await plane->stop(core::kNever)); });
    bool gone = false;
    reactor().post_function([&] {
        plane.reset();
        gone = true;
    });
    turn_until([&] { return gone; });
}

void PlaneFixture::restart_plane() {
    stop_plane();
    steps = {};
    start_plane();
}

std::string PlaneFixture::condition_of(const std::string& name, const std::string& type) {
    api::ListConditionsRequest request;
    request.set_name_prefix(name);
    const auto all = call(&control::ControlPlane::conditions, &control::Conditions::list, request);
    for (const auto& resource : all->resources()) {
        for (const auto& condition : resource.conditions()) {
            if (resource.name() == name && condition.type() == type) {
                return (condition.status() == api::Condition::STATUS_TRUE ? "true " : "false ") +
                       condition.reason();
            }
        }
    }
    return "none";
}

api::AttachVolumeRequest PlaneFixture::attach_request(int volume, int function) {
    api::AttachVolumeRequest request;
    request.mutable_discovery()->set_traddr("10.0.0.1");
    request.mutable_discovery()->set_trsvcid("4420");
    request.set_volume_uuid(uuid_of(volume).text());
    if (function >= 0) {
        request.set_host_function(function);
    }
    return request;
}

Result<api::Attachment> PlaneFixture::attach(int volume, int function) {
    return call(&control::ControlPlane::attachments, &control::Attachments::attach,
                attach_request(volume, function));
}

Result<google::protobuf::Empty> PlaneFixture::detach(int function) {
    api::DetachVolumeRequest request;
    request.set_host_function(function);
    return call(&control::ControlPlane::attachments, &control::Attachments::detach, request);
}

Result<opi::NvmePath> PlaneFixture::connect_by_hand(const std::string& id,
                                                    const std::string& nqn,
                                                    int port) {
    opi::CreateNvmeRemoteControllerRequest controller;
    controller.set_nvme_remote_controller_id(id);
    controller.mutable_nvme_remote_controller()->set_multipath(opi::NVME_MULTIPATH_DISABLE);
    EXPECT_TRUE(
        call(&control::ControlPlane::remotes, &control::Remotes::create_controller, controller));
    opi::CreateNvmePathRequest request;
    request.set_parent("nvmeRemoteControllers/" + id);
    request.set_nvme_path_id("path0");
    auto& path = *request.mutable_nvme_path();
    path.set_trtype(opi::NVME_TRANSPORT_TYPE_TCP);
    path.set_traddr("10.0.0.1");
    path.mutable_fabrics()->set_trsvcid(port);
    path.mutable_fabrics()->set_subnqn(nqn);
    path.mutable_fabrics()->set_adrfam(opi::NVME_ADDRESS_FAMILY_IPV4);
    return call(&control::ControlPlane::remotes, &control::Remotes::create_path, request);
}

Result<opi::MallocVolume> PlaneFixture::create_malloc(const std::string& id, std::int64_t blocks) {
    opi::CreateMallocVolumeRequest request;
    request.set_malloc_volume_id(id);
    request.mutable_malloc_volume()->set_block_size(512);
    request.mutable_malloc_volume()->set_blocks_count(blocks);
    return call(&control::ControlPlane::volumes, &control::Volumes::create_malloc, request);
}

}  // namespace remora::test
