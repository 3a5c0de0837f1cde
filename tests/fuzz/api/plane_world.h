// SPDX-License-Identifier: Apache-2.0
// PlaneWorld: a control plane in a world of memory: its reactor, store, data plane, network and
// host (those of the unit tests). What holds of any of its states is CHECKed here.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/fuzz/api/plane_calls.h"
#include "tests/fuzz/support/world.h"
#include "tests/unit/control/fake_host.h"
#include "tests/unit/control/fake_seal_keys.h"
#include "tests/unit/control/fakes.h"

namespace remora::fuzz {

class PlaneWorld {
  public:
    PlaneWorld();
    PlaneWorld(const PlaneWorld&) = delete;
    PlaneWorld& operator=(const PlaneWorld&) = delete;
    ~PlaneWorld();

    core::Result<MessagePtr> call(const PlaneCall& call, const google::protobuf::Message& request);
    /// The objects that the good requests are for.
    void make_world();
    /// All that is stored, on the data plane and in the host.
    std::string everything();
    /// Every listing page by page: in order, each name once, each resource as Get gives it. The
    /// text of all; empty when there is nothing.
    std::string check_listings();
    /// What goes on in the background ends, and the store follows.
    void finish_work();
    /// A new plane and data plane over the same store and host.
    void restart();
    void delete_everything();
    void check_nothing_left();

  private:
    void start();
    void stop();
    std::vector<MessagePtr> list(const std::string& plural, const std::string& parent);
    void delete_all(const std::string& singular, const std::string& plural);

    World world_;
    test::Steps steps_;
    test::Network network_;
    test::MemoryStore store_{steps_};
    test::FakeSealKeys seal_keys_;
    std::map<core::HostFunction, std::string> plugged_;
    std::unique_ptr<test::FakeNode> node_;
    std::unique_ptr<test::FakeHost> host_;
    std::unique_ptr<control::ControlPlane> plane_;
};

}  // namespace remora::fuzz
