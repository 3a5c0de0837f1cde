// SPDX-License-Identifier: Apache-2.0
// Task<T>: a coroutine of a lifetime (connect, handshake, reconnect, drain), never of an I/O.
//
// It starts at once and, when finished, puts its awaiter on the reactor's run queue: no nested
// resume, no deep stacks, an order that a simulation sees. It cannot be moved and is awaited
// where it is made, so reference parameters are safe in an awaited call. Work that nobody awaits
// goes through Gate::spawn. docs/HAZARDS.md has the rules.
#pragma once

#include <coroutine>
#include <exception>
#include <optional>
#include <utility>

#include "core/check.h"
#include "reactor/reactor.h"

namespace remora::reactor {

template <typename T = void>
class Task;

namespace detail {

class TaskPromiseBase : public Runnable {
  public:
    TaskPromiseBase() : reactor_(Reactor::current()) {}

    static std::suspend_never initial_suspend() noexcept { return {}; }

    struct Final {
        static bool await_ready() noexcept { return false; }
        template <typename P>
        static void await_suspend(std::coroutine_handle<P> self) noexcept {
            TaskPromiseBase& promise = self.promise();
            promise.finished_ = true;
            if (promise.awaiter_) {
                promise.reactor_.run_soon(promise);
            }
        }
        static void await_resume() noexcept {}
    };
    static Final final_suspend() noexcept { return {}; }
    [[noreturn]] static void unhandled_exception() noexcept { std::terminate(); }

    void run() override { awaiter_.resume(); }
    [[nodiscard]] bool finished() const { return finished_; }
    void set_awaiter(std::coroutine_handle<> awaiter) {
        DCHECK(reactor_.is_current());
        awaiter_ = awaiter;
    }

  protected:
    ~TaskPromiseBase() = default;

  private:
    Reactor& reactor_;
    std::coroutine_handle<> awaiter_;
    bool finished_ = false;
};

template <typename T>
class TaskPromise final : public TaskPromiseBase {
  public:
    Task<T> get_return_object() noexcept;
    template <typename U>
    void return_value(U&& value) {
        value_.emplace(std::forward<U>(value));
    }
    T take() { return std::move(*value_); }

  private:
    std::optional<T> value_;
};

template <>
class TaskPromise<void> final : public TaskPromiseBase {
  public:
    Task<void> get_return_object() noexcept;
    static void return_void() noexcept {}
    static void take() noexcept {}
};

}  // namespace detail

template <typename T>
class [[nodiscard]] Task {
  public:
    using promise_type = detail::TaskPromise<T>;

    explicit Task(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
    Task(const Task&) = delete;
    Task& operator=(const Task&) = delete;
    ~Task() {
        CHECK(handle_.promise().finished());
        handle_.destroy();
    }

    [[nodiscard]] bool await_ready() const noexcept { return handle_.promise().finished(); }
    void await_suspend(std::coroutine_handle<> awaiter) noexcept {
        handle_.promise().set_awaiter(awaiter);
    }
    T await_resume() { return handle_.promise().take(); }

  private:
    std::coroutine_handle<promise_type> handle_;
};

namespace detail {

template <typename T>
Task<T> TaskPromise<T>::get_return_object() noexcept {
    return Task<T>(std::coroutine_handle<TaskPromise<T>>::from_promise(*this));
}
inline Task<void> TaskPromise<void>::get_return_object() noexcept {
    return Task<void>(std::coroutine_handle<TaskPromise<void>>::from_promise(*this));
}

/// A coroutine that nobody awaits; its frame frees itself. Made by Gate::spawn only.
struct Detached {
    struct promise_type {
        static Detached get_return_object() noexcept { return {}; }
        static std::suspend_never initial_suspend() noexcept { return {}; }
        static std::suspend_never final_suspend() noexcept { return {}; }
        static void return_void() noexcept {}
        [[noreturn]] static void unhandled_exception() noexcept { std::terminate(); }
    };
};

}  // namespace detail

}  // namespace remora::reactor
