// SPDX-License-Identifier: Apache-2.0
// LockTable: one mutating call at a time on each thing (a name, a host function, a volume UUID),
// so that of two racing clients exactly one wins and the other sees its result.
//
// A call takes all of its keys at once or waits for all, oldest first among those that can go on;
// nobody holds some keys while waiting for a set that overlaps them, so there is no deadlock. The
// one exception is written where it happens (attach takes its remote controller's key last, and
// whoever holds such a key never waits for another). Control reactor only.
#pragma once

#include <list>
#include <set>
#include <string>
#include <vector>

#include "core/result.h"
#include "reactor/signal.h"
#include "reactor/task.h"

namespace remora::control {

class LockTable {
  public:
    /// Holds its keys until it is destroyed. Movable; the table outlives it.
    class Held {
      public:
        Held() = default;
        Held(LockTable& table, std::vector<std::string> keys)
            : table_(&table), keys_(std::move(keys)) {}
        Held(Held&& other) noexcept;
        Held& operator=(Held&& other) noexcept;
        ~Held() { release(); }
        void release();

      private:
        LockTable* table_ = nullptr;
        std::vector<std::string> keys_;
    };

    LockTable() = default;
    LockTable(const LockTable&) = delete;
    LockTable& operator=(const LockTable&) = delete;
    ~LockTable();

    /// Waits at most until `deadline`. Errors: DeadlineExceeded naming the keys.
    reactor::Task<core::Result<Held>> take(std::vector<std::string> keys, core::Nanos deadline);

    [[nodiscard]] bool is_free(const std::string& key) const { return !held_.contains(key); }

  private:
    struct Waiter {
        const std::vector<std::string>* keys;
        reactor::Signal granted;
        bool has_keys = false;
    };

    [[nodiscard]] bool all_free(const std::vector<std::string>& keys) const;
    void grant_waiters();

    std::set<std::string> held_;
    std::list<Waiter*> waiters_;
};

}  // namespace remora::control
