// SPDX-License-Identifier: Apache-2.0
// Mailbox: how other threads reach a reactor. Many producers, one consumer, no lock; messages of
// one sender arrive in the order they were sent.
#pragma once

#include <atomic>

namespace remora::reactor {

/// Something to run on a reactor. The sender keeps it alive until run() has begun.
class Message {
  public:
    Message() = default;
    Message(const Message&) = delete;
    Message& operator=(const Message&) = delete;
    virtual ~Message() = default;
    /// Runs on the receiving reactor; may end the message's life.
    virtual void run() = 0;

  private:
    friend class Mailbox;
    Message* next_ = nullptr;
};

class Mailbox {
  public:
    /// Any thread. Returns whether the box was empty, i.e. the reactor may be asleep.
    bool push(Message& message) {
        Message* head = head_.load(std::memory_order_relaxed);
        do {
            message.next_ = head;
        } while (!head_.compare_exchange_weak(head, &message, std::memory_order_seq_cst,
                                              std::memory_order_relaxed));
        return head == nullptr;
    }

    [[nodiscard]] bool empty() const { return head_.load(std::memory_order_seq_cst) == nullptr; }

    /// Runs everything that was sent before the call, oldest first. Returns whether there was any.
    bool drain() {
        if (head_.load(std::memory_order_relaxed) == nullptr) {
            return false;
        }
        Message* newest = head_.exchange(nullptr, std::memory_order_acquire);
        Message* oldest = nullptr;
        while (newest != nullptr) {
            Message* next = newest->next_;
            newest->next_ = oldest;
            oldest = newest;
            newest = next;
        }
        while (oldest != nullptr) {
            Message* next = oldest->next_;
            oldest->run();
            oldest = next;
        }
        return true;
    }

  private:
    std::atomic<Message*> head_{nullptr};
};

}  // namespace remora::reactor
