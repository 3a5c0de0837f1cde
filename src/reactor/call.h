// SPDX-License-Identifier: Apache-2.0
// call_on: runs a function or coroutine on another reactor and awaits its result here.
//
//   const auto result = co_await call_on(reactor, [&] { return device.open(reactor); });
//
// The callable runs on the target; its captures stay alive in this frame until it has answered.
// Both reactors keep turning until then.
#pragma once

#include <optional>
#include <type_traits>
#include <utility>

#include "reactor/signal.h"
#include "reactor/task.h"

namespace remora::reactor {

namespace detail {

template <typename T>
struct IsTask : std::false_type {};
template <typename T>
struct IsTask<Task<T>> : std::true_type {
    using Value = T;
};

template <typename R>
struct CallValue {
    using Type = R;
};
template <typename T>
struct CallValue<Task<T>> {
    using Type = T;
};

struct Nothing {};

template <typename F>
class CrossCall final : public Message {
  public:
    using Returned = std::invoke_result_t<F&>;
    using Value = typename CallValue<Returned>::Type;
    using Stored = std::conditional_t<std::is_void_v<Value>, Nothing, Value>;

    CrossCall(F& function, Reactor& origin) : function_(function), origin_(origin), reply_(*this) {}

    void run() override { execute(*this); }
    Signal& done() { return done_; }
    Stored take() { return std::move(*result_); }

  private:
    class Reply final : public Message {
      public:
        explicit Reply(CrossCall& owner) : owner_(owner) {}
        void run() override { owner_.done_.notify(); }

      private:
        CrossCall& owner_;
    };

    static Detached execute(CrossCall& call) {
        if constexpr (IsTask<Returned>::value) {
            if constexpr (std::is_void_v<Value>) {
                co_await call.function_();
                call.result_.emplace();
            } else {
                call.result_.emplace(co_await call.function_());
            }
        } else if constexpr (std::is_void_v<Value>) {
            call.function_();
            call.result_.emplace();
        } else {
            call.result_.emplace(call.function_());
        }
        call.origin_.post(call.reply_);
        co_return;
    }

    F& function_;
    Reactor& origin_;
    Reply reply_;
    Signal done_;
    std::optional<Stored> result_;
};

}  // namespace detail

template <typename F>
Task<typename detail::CrossCall<F>::Value> call_on(Reactor& target, F function) {
    using Value = typename detail::CrossCall<F>::Value;
    detail::CrossCall<F> call(function, Reactor::current());
    target.post(call);
    co_await call.done().wait_until(kNever);
    if constexpr (std::is_void_v<Value>) {
        co_return;
    } else {
        co_return call.take();
    }
}

/// Sleeps for `duration` on the current reactor.
inline Task<> sleep_for(Nanos duration) {
    Signal signal;
    co_await signal.wait_until(Reactor::current().now() + duration);
}

}  // namespace remora::reactor
