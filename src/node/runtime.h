// SPDX-License-Identifier: Apache-2.0
// Runtime: the threads and memory of a daemon: the control reactor, the data reactors and a buffer
// pool for each. Made once at start, with its limits in the log.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "block/reactor_context.h"
#include "core/result.h"
#include "reactor/linux/reactor_thread.h"

namespace remora::node {

struct RuntimeOptions {
    std::vector<unsigned> cores;  ///< One pinned data reactor each; empty: one that floats.
    core::Nanos spin{100'000};    ///< Most time a data reactor looks for work before it blocks.
    std::size_t buffer_bytes = std::size_t{64} << 20U;  ///< Per data reactor.
    std::uint64_t seed = 0;
};

class Runtime {
  public:
    /// Errors: a core that does not exist, no io_uring, no memory.
    static core::Result<std::unique_ptr<Runtime>> start(const RuntimeOptions& options);
    Runtime(const Runtime&) = delete;
    Runtime& operator=(const Runtime&) = delete;
    /// Everything on the reactors has been stopped before.
    ~Runtime();

    /// Runs control work; it blocks when idle and never spins.
    reactor::Reactor& control() { return control_->reactor(); }
    [[nodiscard]] std::span<const block::ReactorContext> data() const { return contexts_; }

  private:
    Runtime() = default;
    std::unique_ptr<reactor::ReactorThread> control_;
    std::vector<std::unique_ptr<memory::BufferPool>> pools_;
    std::vector<std::unique_ptr<reactor::ReactorThread>> threads_;
    std::vector<block::ReactorContext> contexts_;
};

}  // namespace remora::node
