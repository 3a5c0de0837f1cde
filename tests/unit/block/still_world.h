// SPDX-License-Identifier: Apache-2.0
// StillWorld: a reactor on the test's thread in a world where nothing happens: no I/O, and time
// that moves only when the test says so.
#pragma once

#include <memory>

#include <gtest/gtest.h>

#include "reactor/reactor.h"
#include "reactor/task.h"

namespace remora::block {

class StillIo final : public reactor::Io {
  public:
    core::Result<std::unique_ptr<reactor::Acceptor>> listen(const reactor::Endpoint& /*at*/,
                                                            reactor::AcceptHandler&) override {
        return nothing();
    }
    std::unique_ptr<reactor::Connecting> connect(const reactor::Endpoint& /*to*/,
                                                 reactor::ConnectHandler&) override {
        return nullptr;
    }
    core::Result<std::unique_ptr<reactor::Stream>> adopt_stream(reactor::Handle) override {
        return nothing();
    }
    core::Result<std::unique_ptr<reactor::File>> open_file(const std::string& /*path*/,
                                                           const reactor::FileOptions&) override {
        return nothing();
    }
    core::Result<std::shared_ptr<reactor::EventSource>> take_event(reactor::Handle) override {
        return nothing();
    }
    std::unique_ptr<reactor::Event> open_event(std::shared_ptr<reactor::EventSource>) override {
        return nullptr;
    }
    core::Result<std::unique_ptr<reactor::Mapping>> map(reactor::Handle,
                                                        std::uint64_t /*offset*/,
                                                        std::uint64_t /*size*/) override {
        return nothing();
    }
    core::Result<reactor::Handle> create_shared_memory(std::uint64_t /*size*/) override {
        return nothing();
    }
    void close(reactor::Handle) override {}
    bool poll() override { return false; }
    bool wait(reactor::Nanos) override { return true; }
    void wake() override {}

  private:
    static std::unexpected<core::Error> nothing() {
        return core::fail(core::ErrorKind::Unimplemented, "a still world has no I/O");
    }
};

class StillClock final : public reactor::Clock {
  public:
    reactor::Nanos now() override { return time; }
    reactor::Nanos time{1'000'000};
};

class StillWorld : public testing::Test {
  public:
    /// Runs `f()` on the reactor, then turns until there is nothing to do.
    template <typename F>
    void on_reactor(F f) {
        reactor.post_function(std::move(f));
        settle();
    }

    /// Runs the coroutine `body()` to its end; it must not wait for time.
    template <typename F>
    void run(F body) {
        bool done = false;
        reactor.post_function([&body, &done] { start(body, done); });
        settle();
        ASSERT_TRUE(done);
    }

    void settle() {
        reactor.turn();
        for (int i = 0; i < 1000 && reactor.has_queued_work(); ++i) {
            reactor.turn();
        }
        ASSERT_FALSE(reactor.has_queued_work());
    }

    StillIo io;
    StillClock clock;
    reactor::Reactor reactor{3, io, clock, core::Prng(1), reactor::PollPolicy{}};

  private:
    template <typename F>
    static reactor::detail::Detached start(F& body, bool& done) {
        co_await body();
        done = true;
    }
};

}  // namespace remora::block
