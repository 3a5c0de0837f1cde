// SPDX-License-Identifier: Apache-2.0
// WorldFixture: a world of two machines with a process each, where nothing goes wrong unless a test
// asks for it. Worlds are kept until the program ends, as their processes are never taken apart.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/contract/io_handlers.h"
#include "tests/sim/world/sim_io.h"
#include "tests/sim/world/world.h"

namespace remora::sim {

using reactor::Endpoint;
using reactor::Stream;
using test::Accepting;
using test::Talker;
using test::Waiting;
using namespace std::chrono_literals;

/// A world and what its two programs have made.
struct Town {
    explicit Town(std::uint64_t seed, std::initializer_list<Fault> faults = {}) : world(seed) {
        for (std::size_t i = 0; i < kFaultCount; ++i) {
            world.faults().disable(static_cast<Fault>(i));
        }
        for (const Fault fault : faults) {
            world.faults().enable(fault);
        }
        machines = {&world.add_machine("a", "10.0.0.1"), &world.add_machine("b", "10.0.0.2")};
        processes = {&start("client", 0), &start("server", 1)};
    }

    Process& start(const std::string& name, std::size_t machine) {
        Process& process = world.start_process(*machines[machine], name);
        process.add_core("0");
        world.start(process);
        return process;
    }
    SimIo& io(std::size_t process) { return *processes[process]->cores().front()->io; }
    bool run_until(const std::function<bool()>& done) {
        return world.run_until(done, world.now() + 100s);
    }
    void settle() {
        (void)world.run_until([] { return false; }, world.now() + 100s);
    }

    /// The server listens and the client connects; both ends are the town's.
    void connect() {
        acceptor = std::move(*io(1).listen(kPlace, accepting));
        Waiting waiting;
        const auto connecting = io(0).connect(kPlace, waiting);
        ASSERT_TRUE(
            run_until([&] { return waiting.calls == 1 && !accepting.connections.empty(); }));
        client = std::move(**waiting.result);
        server = std::move(*io(1).adopt_stream(accepting.connections.front()));
    }

    static inline const Endpoint kPlace = Endpoint::tcp("10.0.0.2", 4420);

    World world;
    std::array<Machine*, 2> machines{};
    std::array<Process*, 2> processes{};
    Accepting accepting;
    std::unique_ptr<reactor::Acceptor> acceptor;
    std::unique_ptr<Stream> client;
    std::unique_ptr<Stream> server;
};

template <typename... Arguments>
Town& make_town(std::uint64_t seed, Arguments&&... arguments) {
    static auto& towns = *new std::vector<std::unique_ptr<Town>>;
    towns.push_back(std::make_unique<Town>(seed, std::forward<Arguments>(arguments)...));
    return *towns.back();
}

}  // namespace remora::sim
