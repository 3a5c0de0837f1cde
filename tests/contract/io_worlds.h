// SPDX-License-Identifier: Apache-2.0
// IoWorld: two programs and the loop that runs them, over Linux or in the simulator, so that one
// suite can hold both to the contract at the head of reactor/io.h.
#pragma once

#include <functional>
#include <memory>
#include <ostream>
#include <string>

#include "reactor/io.h"

namespace remora::test {

class IoWorld {
  public:
    virtual ~IoWorld() = default;

    /// The door of program 0 or 1. Calls are made between turns, or from a handler.
    virtual reactor::Io& io(std::size_t program) = 0;
    /// Polls both until `done()`. False when that does not happen in good time.
    virtual bool run_until(const std::function<bool()>& done) = 0;
    /// Polls both until nothing happens any more, so that a test can say that nothing did.
    virtual void settle() = 0;

    /// A TCP endpoint that program 1 may listen on and nobody does.
    virtual reactor::Endpoint free_tcp() = 0;
    /// A TCP endpoint of a machine that is not program 1's.
    virtual reactor::Endpoint foreign_tcp() = 0;
    /// A place for a socket or a file; the same name gives the same place.
    virtual std::string path(const std::string& name) = 0;
    /// What a program leaves that listened there and was killed.
    virtual void leave_dead_listener(const std::string& path) = 0;
    /// A new event counter, as eventfd makes it.
    virtual reactor::Handle make_event(std::size_t program) = 0;
};

/// One world to run the suite over.
struct WorldKind {
    const char* name;
    std::unique_ptr<IoWorld> (*make)(std::uint64_t seed);
    std::uint64_t seed = 0;
    friend void PrintTo(const WorldKind& kind, std::ostream* out) { *out << kind.name; }
};

std::unique_ptr<IoWorld> make_linux_world(std::uint64_t seed);
/// A simulated one where nothing goes wrong.
std::unique_ptr<IoWorld> make_calm_world(std::uint64_t seed);
/// One that cuts and delays what streams carry.
std::unique_ptr<IoWorld> make_cutting_world(std::uint64_t seed);

}  // namespace remora::test
