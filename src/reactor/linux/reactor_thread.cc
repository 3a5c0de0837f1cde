// SPDX-License-Identifier: Apache-2.0
#include "reactor/linux/reactor_thread.h"

#include <cerrno>
#include <future>
#include <pthread.h>
#include <sched.h>

#include "reactor/linux/linux_io.h"

namespace remora::reactor {

namespace {

core::Result<void> pin_to(unsigned core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (core < CPU_SETSIZE) {
        CPU_SET(core, &set);
    }
    const int error = pthread_setaffinity_np(pthread_self(), sizeof set, &set);
    if (error != 0) {
        return core::fail(core::ErrorKind::InvalidArgument,
                          "core " + std::to_string(core) +
                              " cannot be used: it does not exist or "
                              "is not allowed to this process");
    }
    return {};
}

}  // namespace

core::Result<std::unique_ptr<ReactorThread>> ReactorThread::start(
    const ReactorThreadOptions& options) {
    std::unique_ptr<ReactorThread> self(new ReactorThread);
    std::promise<core::Result<Reactor*>> started;
    auto outcome = started.get_future();
    self->thread_ = std::thread([&started, options, raw = self.get()] {
        pthread_setname_np(pthread_self(), options.name.substr(0, 15).c_str());
        if (options.core) {
            if (auto pinned = pin_to(*options.core); !pinned) {
                started.set_value(std::unexpected(pinned.error()));
                return;
            }
        }
        auto io = LinuxIo::create();
        if (!io) {
            started.set_value(std::unexpected(io.error()));
            return;
        }
        Reactor reactor(options.id, **io, raw->clock_, core::Prng(options.seed), options.policy);
        started.set_value(&reactor);
        reactor.run();
        raw->stop_called_.wait(false);
    });
    core::Result<Reactor*> reactor = outcome.get();
    if (!reactor) {
        self->thread_.join();
        return std::unexpected(reactor.error());
    }
    self->reactor_ = *reactor;
    return self;
}

ReactorThread::~ReactorThread() {
    if (thread_.joinable()) {
        reactor_->stop();
        stop_called_.store(true);
        stop_called_.notify_one();
        thread_.join();
    }
}

}  // namespace remora::reactor
