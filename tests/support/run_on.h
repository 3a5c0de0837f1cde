// SPDX-License-Identifier: Apache-2.0
// Runs something on a reactor from a thread that is none, and waits for it.
#pragma once

#include <future>
#include <type_traits>

#include "reactor/call.h"
#include "reactor/reactor.h"

namespace remora::test {

namespace detail {

template <typename F, typename T>
reactor::detail::Detached finish(F& f, std::promise<T>& promise) {
    promise.set_value(co_await f());
}

}  // namespace detail

/// `f()` on `reactor`; its result.
template <typename F>
auto run_on(reactor::Reactor& reactor, F f) {
    using Value = std::invoke_result_t<F&>;
    std::promise<Value> promise;
    auto value = promise.get_future();
    reactor.post_function([&] {
        if constexpr (std::is_void_v<Value>) {
            f();
            promise.set_value();
        } else {
            promise.set_value(f());
        }
    });
    return value.get();
}

/// The coroutine `f()` on `reactor`; its result, which is not void.
template <typename F>
auto await_on(reactor::Reactor& reactor, F f) {
    using Value = reactor::detail::IsTask<std::invoke_result_t<F&>>::Value;
    std::promise<Value> promise;
    auto value = promise.get_future();
    reactor.post_function([&] { detail::finish(f, promise); });
    return value.get();
}

}  // namespace remora::test
