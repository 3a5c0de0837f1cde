// SPDX-License-Identifier: Apache-2.0
// The few words that the reactors share: a lock word for a set of cached pages, and the count of
// flushes of the device below. Nobody waits here: who finds a word taken comes again in a later
// turn.
#pragma once

#include <atomic>
#include <cstdint>

namespace remora::services::integrity {

/// Held for a look into memory, never over I/O or a turn.
class LockWord {
  public:
    bool try_take() {
        for (int i = 0; i < kTries; ++i) {
            if (!taken_.load(std::memory_order_relaxed) &&
                !taken_.exchange(true, std::memory_order_acquire)) {
                return true;
            }
        }
        return false;
    }
    void give() { taken_.store(false, std::memory_order_release); }

  private:
    // A holder that runs is done by then; one that the system has taken the processor from is not.
    static constexpr int kTries = 200;
    std::atomic<bool> taken_{false};
};

/// Tries to take a word, and gives it back at its end.
class Hold {
  public:
    explicit Hold(LockWord& word) : word_(word), taken_(word.try_take()) {}
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;
    ~Hold() {
        if (taken_) {
            word_.give();
        }
    }
    explicit operator bool() const { return taken_; }

  private:
    LockWord& word_;
    bool taken_;
};

/// Flushes of the device below, by all reactors, numbered in the order of their beginning.
///
/// What was written and has completed is durable once a flush has succeeded that began afterwards:
/// its number is at least needed_now().
class FlushCount {
  public:
    [[nodiscard]] std::uint64_t needed_now() const { return begun_.load() + 1; }
    /// To be called before the flush is submitted.
    std::uint64_t begin() { return begun_.fetch_add(1) + 1; }
    void succeeded(std::uint64_t number) {
        std::uint64_t most = done_.load();
        while (most < number && !done_.compare_exchange_weak(most, number)) {
        }
    }
    [[nodiscard]] bool covers(std::uint64_t needed) const { return done_.load() >= needed; }

  private:
    std::atomic<std::uint64_t> begun_{0};
    std::atomic<std::uint64_t> done_{0};
};

}  // namespace remora::services::integrity
