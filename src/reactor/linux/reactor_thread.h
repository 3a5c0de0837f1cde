// SPDX-License-Identifier: Apache-2.0
// ReactorThread: a reactor with its own thread, clock and LinuxIo.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "core/result.h"
#include "reactor/linux/system_clock.h"
#include "reactor/reactor.h"

namespace remora::reactor {

struct ReactorThreadOptions {
    std::uint32_t id = 0;
    std::string name = "reactor";  ///< Thread name, at most 15 bytes are kept.
    std::optional<unsigned> core;  ///< Pinned to it when given.
    PollPolicy policy;
    std::uint64_t seed = 0;
};

class ReactorThread {
  public:
    /// Returns once the reactor turns. Errors: no io_uring, no such core.
    static core::Result<std::unique_ptr<ReactorThread>> start(const ReactorThreadOptions& options);
    ReactorThread(const ReactorThread&) = delete;
    ReactorThread& operator=(const ReactorThread&) = delete;
    /// Stops the loop and joins. Everything on the reactor has been stopped before.
    ~ReactorThread();

    Reactor& reactor() { return *reactor_; }

  private:
    ReactorThread() = default;
    SystemClock clock_;
    Reactor* reactor_ = nullptr;  // lives on the thread's stack
    std::thread thread_;
    std::atomic<bool> stop_called_{false};  // stop() has returned: it used the reactor till then
};

}  // namespace remora::reactor
