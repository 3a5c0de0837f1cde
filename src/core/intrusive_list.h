// SPDX-License-Identifier: Apache-2.0
// Intrusive lists: membership without allocation.
//
// List<T, Tag> is doubly linked (O(1) removal from the middle); Queue<T> is a singly linked FIFO
// for batches that are handed on whole. Neither owns its elements. An element leaves its lists
// before it dies: the hook's destructor checks it.
#pragma once

#include <cstddef>
#include <utility>

#include "core/check.h"

namespace remora::core {

struct DefaultTag {};

template <typename Tag = DefaultTag>
class ListHook {
  public:
    ListHook() = default;
    ListHook(const ListHook&) = delete;
    ListHook& operator=(const ListHook&) = delete;
    ~ListHook() { CHECK(next_ == nullptr); }

    [[nodiscard]] bool linked() const { return next_ != nullptr; }

    /// Leaves the list it is on; does nothing when on none.
    void unlink() {
        if (next_ != nullptr) {
            prev_->next_ = next_;
            next_->prev_ = prev_;
            next_ = nullptr;
            prev_ = nullptr;
        }
    }

  private:
    template <typename T, typename G>
    friend class List;
    ListHook* next_ = nullptr;
    ListHook* prev_ = nullptr;
};

/// Doubly linked list of T, which derives from ListHook<Tag>. Not thread safe.
template <typename T, typename Tag = DefaultTag>
class List {
    using Hook = ListHook<Tag>;

  public:
    List() { reset(); }
    List(const List&) = delete;
    List& operator=(const List&) = delete;
    ~List() {
        CHECK(empty());
        root_.next_ = nullptr;
    }

    [[nodiscard]] bool empty() const { return root_.next_ == &root_; }

    void push_back(T& item) {
        Hook& hook = item;
        CHECK(!hook.linked());
        hook.prev_ = root_.prev_;
        hook.next_ = &root_;
        root_.prev_->next_ = &hook;
        root_.prev_ = &hook;
    }

    [[nodiscard]] T& front() {
        DCHECK(!empty());
        return static_cast<T&>(*root_.next_);
    }

    T* pop_front() {
        if (empty()) {
            return nullptr;
        }
        T& item = front();
        static_cast<Hook&>(item).unlink();
        return &item;
    }

    /// Calls `visit(T&)` for each. It may unlink or destroy any element, also one whose turn has
    /// not come, and add new ones, which are not visited. It does not walk this list itself.
    template <typename F>
    void for_each(F&& visit) {
        List waiting;
        waiting.splice_back(*this);
        while (T* item = waiting.pop_front()) {
            push_back(*item);
            visit(*item);
        }
    }

    /// Moves all of `other` behind this list's elements.
    void splice_back(List& other) {
        if (other.empty()) {
            return;
        }
        root_.prev_->next_ = other.root_.next_;
        other.root_.next_->prev_ = root_.prev_;
        root_.prev_ = other.root_.prev_;
        root_.prev_->next_ = &root_;
        other.reset();
    }

  private:
    void reset() {
        root_.next_ = &root_;
        root_.prev_ = &root_;
    }
    Hook root_;
};

template <typename T>
class Queue;

/// Base of what a Queue holds.
template <typename T>
class QueueHook {
  private:
    friend class Queue<T>;
    T* queue_next_ = nullptr;
};

/// Singly linked FIFO of T, which derives from QueueHook<T>. Moving it moves the whole chain.
template <typename T>
class Queue {
  public:
    Queue() = default;
    Queue(const Queue&) = delete;
    Queue& operator=(const Queue&) = delete;
    Queue(Queue&& other) noexcept { take(other); }
    Queue& operator=(Queue&& other) noexcept {
        if (this != &other) {
            DCHECK(empty());
            take(other);
        }
        return *this;
    }
    ~Queue() { DCHECK(empty()); }

    [[nodiscard]] bool empty() const { return head_ == nullptr; }
    [[nodiscard]] std::size_t size() const { return size_; }
    [[nodiscard]] T* front() const { return head_; }
    /// The one behind `item`, which is in this queue; null at the end.
    [[nodiscard]] T* next(const T& item) const { return item.QueueHook<T>::queue_next_; }

    void push_back(T& item) {
        item.QueueHook<T>::queue_next_ = nullptr;
        if (tail_ == nullptr) {
            head_ = &item;
        } else {
            tail_->QueueHook<T>::queue_next_ = &item;
        }
        tail_ = &item;
        ++size_;
    }

    void push_front(T& item) {
        item.QueueHook<T>::queue_next_ = head_;
        head_ = &item;
        if (tail_ == nullptr) {
            tail_ = &item;
        }
        ++size_;
    }

    T* pop_front() {
        T* item = head_;
        if (item != nullptr) {
            head_ = item->QueueHook<T>::queue_next_;
            item->QueueHook<T>::queue_next_ = nullptr;
            if (head_ == nullptr) {
                tail_ = nullptr;
            }
            --size_;
        }
        return item;
    }

    /// Moves all of `other` behind this queue's elements.
    void append(Queue& other) {
        if (other.empty()) {
            return;
        }
        if (tail_ == nullptr) {
            head_ = other.head_;
        } else {
            tail_->QueueHook<T>::queue_next_ = other.head_;
        }
        tail_ = other.tail_;
        size_ += other.size_;
        other.head_ = other.tail_ = nullptr;
        other.size_ = 0;
    }

    /// Calls `visit(T&)` for each without removing any.
    template <typename F>
    void for_each(F&& visit) const {
        for (T* at = head_; at != nullptr;) {
            T* next = at->QueueHook<T>::queue_next_;
            visit(*at);
            at = next;
        }
    }

  private:
    void take(Queue& other) {
        head_ = std::exchange(other.head_, nullptr);
        tail_ = std::exchange(other.tail_, nullptr);
        size_ = std::exchange(other.size_, 0);
    }
    T* head_ = nullptr;
    T* tail_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace remora::core
