// SPDX-License-Identifier: Apache-2.0
#include "reactor/connect.h"

#include <optional>
#include <utility>

#include "reactor/signal.h"

namespace remora::reactor {

namespace {

class Waiter final : public ConnectHandler {
  public:
    void on_connected(core::Result<std::unique_ptr<Stream>> stream) override {
        result_.emplace(std::move(stream));
        signal_.notify();
    }
    Signal& signal() { return signal_; }
    std::optional<core::Result<std::unique_ptr<Stream>>>& result() { return result_; }

  private:
    Signal signal_;
    std::optional<core::Result<std::unique_ptr<Stream>>> result_;
};

}  // namespace

Task<core::Result<std::unique_ptr<Stream>>> connect(Endpoint to, Nanos deadline) {
    Waiter waiter;
    std::unique_ptr<Connecting> connecting = Reactor::current().io().connect(to, waiter);
    co_await waiter.signal().wait_until(deadline);
    connecting.reset();
    if (!waiter.result()) {
        co_return core::fail(core::ErrorKind::DeadlineExceeded,
                             "connect to " + to.text() + ": no answer in time");
    }
    co_return std::move(*waiter.result());
}

}  // namespace remora::reactor
