// SPDX-License-Identifier: Apache-2.0
// MultipathFixture: two fake targets that show one volume, a multipath controller with a path to
// each and a client of the volume, all on the test's reactor.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backends/nvme_tcp/multipath_controller.h"
#include "tests/unit/nvme_tcp_host/host_fixture.h"

namespace remora::test {

using backends::nvme_tcp::AnaState;
using backends::nvme_tcp::MultipathController;
using backends::nvme_tcp::MultipathOptions;
using backends::nvme_tcp::MultipathStatus;
using backends::nvme_tcp::PathOptions;
using backends::nvme_tcp::PathPolicy;

class MultipathFixture : public AnyHostFixture {
  public:
    MultipathFixture()
        : pool_(std::move(*memory::BufferPool::create(1 << 20))), a(reactor()), b(reactor()) {
        a.add_namespace(1);
        b.add_namespace(1);
    }

    [[nodiscard]] MultipathOptions options(PathPolicy policy) const {
        MultipathOptions out;
        out.name = "r";
        out.subnqn = a.subnqn;
        out.hostnqn = "nqn.2024-01.org.example:host";
        out.policy = policy;
        out.timing = short_timing();
        return out;
    }

    void make(MultipathOptions with) {
        contexts_.emplace_back(reactor(), *pool_);
        controller = std::make_unique<MultipathController>(std::move(with), contexts_, reactor());
    }

    Task<> add_live(const char* id, FakeTarget& target) {
        const auto added = controller->add_path({id, target.endpoint(), {}});
        CHECK(added.has_value());
        const auto ready = co_await controller->wait_path(id, std::chrono::seconds(5));
        CHECK(ready.has_value());
    }

    /// Runs `body(client)` with both paths live, then takes all down.
    template <typename F>
    void with_volume(MultipathOptions with, F body) {
        run([&]() -> Task<> {
            make(std::move(with));
            co_await add_live("a", a);
            co_await add_live("b", b);
            co_await with_client(controller->device(1), body);
            co_await end();
        });
    }

    Task<> end() {
        co_await controller->stop();
        controller.reset();
        a.break_connections();
        b.break_connections();
        co_await reactor::sleep_for(std::chrono::milliseconds(1));
    }

    [[nodiscard]] MultipathStatus::Path path(const std::string& id) const {
        for (const auto& one : controller->status().paths) {
            if (one.id == id) {
                return one;
            }
        }
        return {};
    }
    [[nodiscard]] bool is_live(const std::string& id) const {
        return path(id).controller.state == PathState::Live;
    }
    [[nodiscard]] AnaState access(const std::string& id) const {
        return path(id).controller.namespaces.at(0).ana;
    }

    /// Takes commands of I/O queues and never answers.
    static void keep_silent(FakeTarget& target) {
        target.on_io = [](FakeConnection&, const nvme::spec::Command&, std::span<const std::byte>) {
            return true;
        };
    }

    Task<> expect_io(BlockClient& client, int requests) {
        std::vector<std::byte> data(512);
        const Segment one = segment_of(data);
        for (int i = 0; i < requests; ++i) {
            const Status status = co_await client.perform(Opcode::Read, 0, 1, std::span(&one, 1));
            EXPECT_EQ(status, Status::Ok);
        }
    }

  private:
    std::unique_ptr<memory::BufferPool> pool_;
    std::vector<block::ReactorContext> contexts_;

  public:
    FakeTarget a;
    FakeTarget b;
    std::unique_ptr<MultipathController> controller;
};

}  // namespace remora::test
