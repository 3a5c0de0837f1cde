// SPDX-License-Identifier: Apache-2.0
#include "reactor/linux/ring.h"

#include <cerrno>
#include <cstring>
#include <new>
#include <poll.h>
#include <utility>

#include "core/check.h"
#include "core/log.h"

namespace remora::reactor {

Watch::~Watch() {
    unlink();
    --ring_.live_;
}

void Watch::arm() {
    io_uring_sqe* entry = ring_.entry();
    if (repeat_) {
        io_uring_prep_poll_multishot(entry, fd_, events_);
    } else {
        io_uring_prep_poll_add(entry, fd_, events_);
    }
    io_uring_sqe_set_data(entry, static_cast<Completion*>(this));
    armed_ = true;
}

void Watch::on_completion(int result, bool more) {
    armed_ = more;
    if (owner_ == nullptr) {
        if (armed_) {
            ring_.cancel(*this);  // the event overtook the cancellation
        } else {
            ring_.release(*this);
        }
        return;
    }
    // A multishot poll ends when the completion queue overflowed; a new one reports what is ready.
    if (!armed_ && repeat_ && result >= 0) {
        arm();
    }
    owner_->on_poll(tag_, result >= 0 ? static_cast<unsigned>(result) : unsigned{POLLERR});
}

void Watch::drop() {
    owner_ = nullptr;
    if (!armed_) {
        ring_.release(*this);
        return;
    }
    ring_.cancel(*this);
}

Doorbell::~Doorbell() {
    unlink();
    --ring_.live_;
}

void Doorbell::signal() {
    if (writing_) {
        again_ = true;
    } else {
        write();
    }
}

void Doorbell::write() {
    static const std::uint64_t one = 1;
    io_uring_sqe* entry = ring_.entry();
    io_uring_prep_write(entry, fd_, &one, sizeof one, 0);
    io_uring_sqe_set_data(entry, static_cast<Completion*>(this));
    writing_ = true;
}

// A full counter (EAGAIN) is no failure: the other side is woken already.
void Doorbell::on_completion(int /*result*/, bool /*more*/) {
    writing_ = false;
    if (dropped_) {
        delete this;
    } else if (std::exchange(again_, false)) {
        write();
    }
}

void Doorbell::drop() {
    dropped_ = true;
    if (!writing_) {
        delete this;
        return;
    }
    // The write names the descriptor by its number: it must reach the kernel before that is closed.
    // One that waits there (the counter is full) is ended.
    ring_.submit();
    ring_.cancel(*this);
}

core::Result<std::unique_ptr<Ring>> Ring::create() {
    std::unique_ptr<Ring> ring(new Ring);
    io_uring_params params{};
    params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                   IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_CQSIZE;
    params.cq_entries = 4 * kEntries;
    int result = io_uring_queue_init_params(kEntries, &ring->ring_, &params);
    if (result == -EINVAL) {  // before Linux 6.1
        params = {};
        params.flags = IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_CQSIZE;
        params.cq_entries = 4 * kEntries;
        result = io_uring_queue_init_params(kEntries, &ring->ring_, &params);
    }
    if (result < 0) {
        return core::fail_errno(
            "io_uring (Linux 5.19 or newer, not forbidden by seccomp or "
            "kernel.io_uring_disabled, is needed)",
            -result);
    }
    ring->ready_ = true;
    ring->spares_.reserve(kSpares);
    return ring;
}

Ring::~Ring() {
    if (ready_) {
        io_uring_queue_exit(&ring_);
    }
    while (Watch* watch = watches_.pop_front()) {
        release(*watch);
    }
    for (void* memory : spares_) {
        ::operator delete(memory);
    }
    while (Doorbell* doorbell = doorbells_.pop_front()) {
        delete doorbell;
    }
}

Watch* Ring::watch(WatchOwner& owner, unsigned tag, int fd, unsigned events, bool repeat) {
    void* memory = nullptr;
    if (spares_.empty()) {
        memory = ::operator new(sizeof(Watch));
    } else {
        memory = spares_.back();
        spares_.pop_back();
    }
    auto* watch = new (memory) Watch(*this, owner, tag, fd, events, repeat);
    watches_.push_back(*watch);
    ++live_;
    watch->arm();
    return watch;
}

void Ring::release(Watch& watch) {
    watch.~Watch();
    if (spares_.size() < kSpares) {
        spares_.push_back(&watch);
    } else {
        ::operator delete(&watch);
    }
}

Doorbell* Ring::doorbell(int fd) {
    auto* doorbell = new Doorbell(*this, fd);
    doorbells_.push_back(*doorbell);
    ++live_;
    return doorbell;
}

void Ring::cancel(Completion& of) {
    io_uring_sqe* entry = this->entry();
    const auto data = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(&of));
    io_uring_prep_cancel64(entry, data, 0);
    io_uring_sqe_set_data(entry, nullptr);
}

void Ring::submit() {
    while (io_uring_sq_ready(&ring_) > 0) {
        const int submitted = io_uring_submit(&ring_);
        CHECK(submitted > 0 || submitted == -EBUSY || submitted == -EAGAIN);
    }
}

io_uring_sqe* Ring::entry() {
    io_uring_sqe* entry = io_uring_get_sqe(&ring_);
    while (entry == nullptr) {
        const int submitted = io_uring_submit(&ring_);
        CHECK(submitted > 0 || submitted == -EBUSY || submitted == -EAGAIN);
        entry = io_uring_get_sqe(&ring_);
    }
    return entry;
}

bool Ring::reap() {
    const unsigned flags = __atomic_load_n(ring_.sq.kflags, __ATOMIC_RELAXED);
    if ((flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0) {
        io_uring_submit_and_get_events(&ring_);
    } else if (io_uring_sq_ready(&ring_) > 0) {
        io_uring_submit(&ring_);
    }
    constexpr unsigned kBatch = 64;
    io_uring_cqe* entries[kBatch];
    bool any = false;
    // Bounded: what completes meanwhile is for the next turn.
    for (unsigned round = 0; round < 16; ++round) {
        const unsigned count = io_uring_peek_batch_cqe(&ring_, entries, kBatch);
        if (count == 0) {
            break;
        }
        any = true;
        struct Done {
            Completion* to;
            int result;
            bool more;
        } done[kBatch];
        for (unsigned i = 0; i < count; ++i) {
            done[i] = {static_cast<Completion*>(io_uring_cqe_get_data(entries[i])), entries[i]->res,
                       (entries[i]->flags & IORING_CQE_F_MORE) != 0};
        }
        io_uring_cq_advance(&ring_, count);
        for (unsigned i = 0; i < count; ++i) {
            if (done[i].to != nullptr) {
                done[i].to->on_completion(done[i].result, done[i].more);
            }
        }
    }
    return any;
}

bool Ring::wait(Nanos timeout) {
    if (timeout == kNever) {
        io_uring_submit_and_wait(&ring_, 1);
        return true;
    }
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(timeout);
    __kernel_timespec limit{};
    limit.tv_sec = seconds.count();
    limit.tv_nsec = (timeout - seconds).count();
    io_uring_cqe* entry = nullptr;
    return io_uring_submit_and_wait_timeout(&ring_, &entry, 1, &limit, nullptr) != -ETIME;
}

}  // namespace remora::reactor
