// SPDX-License-Identifier: Apache-2.0
#include "control/lock_table.h"

#include <algorithm>
#include <utility>

#include "core/check.h"

namespace remora::control {

LockTable::Held::Held(Held&& other) noexcept
    : table_(std::exchange(other.table_, nullptr)), keys_(std::move(other.keys_)) {}

LockTable::Held& LockTable::Held::operator=(Held&& other) noexcept {
    if (this != &other) {
        release();
        table_ = std::exchange(other.table_, nullptr);
        keys_ = std::move(other.keys_);
    }
    return *this;
}

void LockTable::Held::release() {
    LockTable* table = std::exchange(table_, nullptr);
    if (table == nullptr) {
        return;
    }
    for (const std::string& key : keys_) {
        CHECK(table->held_.erase(key) == 1);
    }
    keys_.clear();
    table->grant_waiters();
}

LockTable::~LockTable() {
    CHECK(held_.empty());
    CHECK(waiters_.empty());
}

bool LockTable::all_free(const std::vector<std::string>& keys) const {
    return std::none_of(keys.begin(), keys.end(),
                        [&](const std::string& key) { return held_.contains(key); });
}

void LockTable::grant_waiters() {
    for (auto next = waiters_.begin(); next != waiters_.end();) {
        Waiter& waiter = **next;
        if (!all_free(*waiter.keys)) {
            ++next;
            continue;
        }
        held_.insert(waiter.keys->begin(), waiter.keys->end());
        waiter.has_keys = true;
        waiter.granted.notify();
        next = waiters_.erase(next);
    }
}

reactor::Task<core::Result<LockTable::Held>> LockTable::take(std::vector<std::string> keys,
                                                             core::Nanos deadline) {
    std::sort(keys.begin(), keys.end());
    keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
    if (all_free(keys)) {
        held_.insert(keys.begin(), keys.end());
        co_return Held(*this, std::move(keys));
    }
    Waiter waiter;
    waiter.keys = &keys;
    waiters_.push_back(&waiter);
    co_await waiter.granted.wait_until(deadline);
    if (!waiter.has_keys) {
        waiters_.remove(&waiter);
        std::string names;
        for (const std::string& key : keys) {
            names += names.empty() ? key : ", " + key;
        }
        co_return core::fail(core::ErrorKind::DeadlineExceeded,
                             "another call on " + names + " did not end in time; try again");
    }
    co_return Held(*this, std::move(keys));
}

}  // namespace remora::control
