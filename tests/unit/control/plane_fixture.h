// SPDX-License-Identifier: Apache-2.0
// PlaneFixture: a control plane over fakes on a reactor of the test's thread, with one target on
// the network. The plane can be stopped and started anew over the same store and host.
#pragma once

#include <memory>
#include <string>

#include "control/control_plane.h"
#include "tests/support/reactor_fixture.h"
#include "tests/unit/control/fake_host.h"
#include "tests/unit/control/fake_seal_keys.h"
#include "tests/unit/control/fakes.h"

namespace remora::test {

namespace opi = opi_api::storage::v1;
namespace api = ::remora::v1;

constexpr const char* kTarget = "10.0.0.1:4420";
constexpr const char* kNqn = "nqn.2024-01.org.example:target";

inline core::Uuid uuid_of(int number) {
    core::Uuid uuid;
    uuid.bytes[0] = 0x11;
    uuid.bytes[15] = static_cast<unsigned char>(number);
    return uuid;
}

class PlaneFixture : public ReactorFixture {
  public:
    PlaneFixture() {
        std::vector<Network::Space> spaces;
        for (int i = 1; i <= 70; ++i) {
            spaces.push_back({static_cast<std::uint32_t>(i), uuid_of(i)});
        }
        network.targets[kTarget] = {{"nqn.2024-01.org.example:empty", {}}, {kNqn, spaces}};
        start_plane();
    }
    ~PlaneFixture() override { stop_plane(); }

    void start_plane() {
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
            plane = std::make_unique<control::ControlPlane>(store, *node, *host, core::Prng(7),
                                                            options);
            made = true;
        });
        turn_until([&] { return made; });
        run([&]() -> Task<> {
            const auto started = co_await plane->start();
            EXPECT_TRUE(started);
        });
    }
    void stop_plane() {
        run([&]() -> Task<> { EXPECT_TRUE(co_await plane->stop(core::kNever)); });
        bool gone = false;
        reactor().post_function([&] {
            plane.reset();
            gone = true;
        });
        turn_until([&] { return gone; });
    }
    void restart_plane() {
        stop_plane();
        steps = {};
        start_plane();
    }

    /// As a client sees it: "true Plugged".
    std::string condition_of(const std::string& name, const std::string& type) {
        api::ListConditionsRequest request;
        request.set_name_prefix(name);
        const auto all =
            call(&control::ControlPlane::conditions, &control::Conditions::list, request);
        for (const auto& resource : all->resources()) {
            for (const auto& condition : resource.conditions()) {
                if (resource.name() == name && condition.type() == type) {
                    return (condition.status() == api::Condition::STATUS_TRUE ? "true "
                                                                              : "false ") +
                           condition.reason();
                }
            }
        }
        return "none";
    }

    /// Runs one call of a part of the plane to its end.
    template <typename Part, typename Request, typename Response>
    Result<Response> call(Part control::ControlPlane::* part,
                          Task<Result<Response>> (Part::*method)(const Request&),
                          const Request& request) {
        Result<Response> result = fail(ErrorKind::Internal, "no answer");
        run([&]() -> Task<> { result = co_await ((*plane).*part.*method)(request); });
        return result;
    }

    static api::AttachVolumeRequest attach_request(int volume, int function) {
        api::AttachVolumeRequest request;
        request.mutable_discovery()->set_traddr("10.0.0.1");
        request.mutable_discovery()->set_trsvcid("4420");
        request.set_volume_uuid(uuid_of(volume).text());
        if (function >= 0) {
            request.set_host_function(function);
        }
        return request;
    }
    Result<api::Attachment> attach(int volume, int function) {
        return call(&control::ControlPlane::attachments, &control::Attachments::attach,
                    attach_request(volume, function));
    }
    Result<google::protobuf::Empty> detach(int function) {
        api::DetachVolumeRequest request;
        request.set_host_function(function);
        return call(&control::ControlPlane::attachments, &control::Attachments::detach, request);
    }
    /// A remote controller made by hand, with a path to the target's subsystem `nqn`.
    Result<opi::NvmePath> connect_by_hand(const std::string& id,
                                          const std::string& nqn,
                                          int port = 4420) {
        opi::CreateNvmeRemoteControllerRequest controller;
        controller.set_nvme_remote_controller_id(id);
        controller.mutable_nvme_remote_controller()->set_multipath(opi::NVME_MULTIPATH_DISABLE);
        EXPECT_TRUE(call(&control::ControlPlane::remotes, &control::Remotes::create_controller,
                         controller));
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
    Result<opi::MallocVolume> create_malloc(const std::string& id, std::int64_t blocks = 1024) {
        opi::CreateMallocVolumeRequest request;
        request.set_malloc_volume_id(id);
        request.mutable_malloc_volume()->set_block_size(512);
        request.mutable_malloc_volume()->set_blocks_count(blocks);
        return call(&control::ControlPlane::volumes, &control::Volumes::create_malloc, request);
    }

    Steps steps;
    Network network;
    std::map<std::uint32_t, std::string> plugged;
    // Of the next node, host and plane that start_plane() makes.
    std::unique_ptr<FakeSealKeys> seal_keys = std::make_unique<FakeSealKeys>();
    std::uint32_t reactors = 1;
    bool busy_guest = false;
    bool refuses_vhosts = false;
    bool refuses_functions = false;
    int places_taken = 0;
    core::Nanos takeover_limit{std::chrono::seconds(5)};
    MemoryStore store{steps};
    std::unique_ptr<FakeNode> node;
    std::unique_ptr<FakeHost> host;
    std::unique_ptr<control::ControlPlane> plane;
};

template <typename T>
testing::AssertionResult failed_with(core::ErrorKind kind, const Result<T>& result) {
    if (result) {
        return testing::AssertionFailure() << "it succeeded";
    }
    if (result.error().kind != kind) {
        return testing::AssertionFailure()
               << core::to_string(result.error().kind) << ": " << result.error().message;
    }
    return testing::AssertionSuccess();
}

#define EXPECT_KIND(result, wanted) \
    EXPECT_TRUE(::remora::test::failed_with(::remora::core::ErrorKind::wanted, result))

}  // namespace remora::test
