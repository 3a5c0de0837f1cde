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

core::Uuid uuid_of(int number);
void set_address(opi::PciEndpoint& pcie, core::HostFunction function);

class PlaneFixture : public ReactorFixture {
  public:
    PlaneFixture();
    ~PlaneFixture() override;

    void start_plane();
    void stop_plane();
    void restart_plane();

    /// As a client sees it: "true Plugged".
    std::string condition_of(const std::string& name, const std::string& type);

    /// Runs one call of a part of the plane to its end.
    template <typename Part, typename Request, typename Response>
    Result<Response> call(Part control::ControlPlane::* part,
                          Task<Result<Response>> (Part::*method)(const Request&),
                          const Request& request) {
        Result<Response> result = fail(ErrorKind::Internal, "no answer");
        run([&]() -> Task<> { result = co_await ((*plane).*part.*method)(request); });
        return result;
    }

    static api::AttachVolumeRequest attach_request(int volume, int function);
    Result<api::Attachment> attach(int volume, int function);
    Result<google::protobuf::Empty> detach(int function);
    /// A remote controller made by hand, with a path to the target's subsystem `nqn`.
    Result<opi::NvmePath> connect_by_hand(const std::string& id,
                                          const std::string& nqn,
                                          int port = 4420);
    Result<opi::MallocVolume> create_malloc(const std::string& id, std::int64_t blocks = 1024);

    Steps steps;
    Network network;
    std::map<core::HostFunction, std::string> plugged;
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
