// SPDX-License-Identifier: Apache-2.0
// IoContract: the fixture of the Io suites: a world of two programs.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "tests/contract/io_handlers.h"
#include "tests/contract/io_worlds.h"

namespace remora::test {

/// A connection from program 0 to program 1.
struct Pair {
    std::unique_ptr<Stream> client;
    std::unique_ptr<Stream> server;
};

class IoContractBase : public testing::Test {
  public:
    explicit IoContractBase(const WorldKind& kind) : world_(kind.make(kind.seed)) {}

    IoWorld& world() { return *world_; }
    reactor::Io& io(std::size_t program) { return world_->io(program); }
    void run_until(const std::function<bool()>& done) {
        ASSERT_TRUE(world_->run_until(done)) << "it does not happen";
    }

    Endpoint endpoint(Endpoint::Family family) {
        return family == Endpoint::Family::Tcp ? world_->free_tcp()
                                               : Endpoint::unix_path(world_->path("socket"));
    }
    /// A stream from program 0, and the other end as program 1 is given it.
    std::pair<std::unique_ptr<Stream>, Handle> half_pair(Endpoint::Family family) {
        Accepting accepting;
        Waiting waiting;
        auto acceptor = io(1).listen(endpoint(family), accepting);
        EXPECT_TRUE(acceptor) << acceptor.error().message;
        const auto connecting = io(0).connect((*acceptor)->local(), waiting);
        EXPECT_TRUE(world_->run_until(
            [&] { return waiting.calls == 1 && !accepting.connections.empty(); }));
        EXPECT_TRUE(*waiting.result);
        return {std::move(**waiting.result), accepting.connections.front()};
    }
    Pair connect_pair(Endpoint::Family family) {
        auto [client, handle] = half_pair(family);
        auto server = io(1).adopt_stream(handle);
        EXPECT_TRUE(server);
        return {std::move(client), std::move(*server)};
    }
    /// What a connect from program 0 ends with.
    core::Result<std::unique_ptr<Stream>> try_connect(const Endpoint& to) {
        Waiting waiting;
        const auto connecting = io(0).connect(to, waiting);
        EXPECT_EQ(waiting.calls, 0) << "never from within the call";
        EXPECT_TRUE(world_->run_until([&] { return waiting.calls > 0; }));
        world_->settle();
        EXPECT_EQ(waiting.calls, 1);
        return std::move(*waiting.result);
    }

  private:
    std::unique_ptr<IoWorld> world_;
};

/// Once per world.
class IoContract : public IoContractBase, public testing::WithParamInterface<WorldKind> {
  public:
    IoContract() : IoContractBase(GetParam()) {}
};

inline std::string world_name(const testing::TestParamInfo<WorldKind>& info) {
    return info.param.name;
}

inline const auto kWorlds = testing::Values(WorldKind{"linux", &make_linux_world, 0},
                                            WorldKind{"sim_calm", &make_calm_world, 1},
                                            WorldKind{"sim_cuts_2", &make_cutting_world, 2},
                                            WorldKind{"sim_cuts_3", &make_cutting_world, 3},
                                            WorldKind{"sim_cuts_4", &make_cutting_world, 4});

}  // namespace remora::test
