// SPDX-License-Identifier: Apache-2.0
// Lane, what it does when things go wrong: retries, lost connections, deadlines.
#include <algorithm>
#include <utility>

#include "backends/nvme_tcp/lane.h"
#include "core/probe.h"

namespace remora::backends::nvme_tcp {

using block::Request;
using block::RequestBatch;
using block::Status;
using core::ErrorKind;

namespace {

// A command that others overtake for one io_timeout is to be aborted, and sent again when it is;
// for so many it is lost with its connection.
constexpr int kLostAfterTimeouts = 3;

/// Sequences compare among one volume's requests of one lane.
bool is_before(Request& a, Request& b) {
    const Progress& first = progress_of(a);
    const Progress& second = progress_of(b);
    if (first.view != second.view) {
        return first.view->nsid < second.view->nsid;
    }
    return first.origin != second.origin ? first.origin < second.origin
                                         : is_older(first.sequence, second.sequence);
}

}  // namespace

void Lane::retry_later(Request& request) {
    Progress& progress = progress_of(request);
    DCHECK(progress.outstanding == 0 && !progress.queued);
    REMORA_COVER("host: a request is tried again later");
    progress.next_block = 0;
    progress.status = Status::Ok;
    progress.retry = false;
    retrying_.push_back(request);
    if (!retry_timer_.armed()) {
        reactor_.arm(retry_timer_, reactor_.now() + timing_.retry_delay);
    }
}

/// Puts what has waited for its next try in front of what came later.
void Lane::retry_due() {
    RequestBatch due;
    const std::int64_t now = reactor_.now().count();
    while (Request* request = retrying_.pop_front()) {
        Progress& progress = progress_of(*request);
        if (progress.deadline_ns <= now) {
            refuse(*request, Status::PathError, progress.nvme_status);
            continue;
        }
        progress.moved = false;
        if (has_spare(progress)) {
            leave(*request);
            continue;
        }
        progress.queued = true;
        due.push_back(*request);
    }
    due.append(waiting_);
    waiting_.append(due);
    if (live_) {
        pump();
    } else {
        expire_waiting();
    }
}

void Lane::on_down(const core::Error& reason) {
    live_ = false;
    draining_ = true;
    watch_timer_.cancel();
    requeue_outstanding();
    hand_over_waiting(false, false);
    expire_waiting();
    if (!down_.posted) {
        down_.posted = true;
        down_.reason = reason;
        home_.post(down_);
    }
}

/// The requests whose commands died with the connection go to the front, in their old order. One
/// that was sent in part begins anew, also when its parts had all been answered: what it finds
/// behind the next connection may be another volume.
void Lane::requeue_outstanding() {
    gathered_.clear();
    queue_->visit_outstanding([this](std::uint64_t token) {
        Request& request = *reinterpret_cast<Request*>(token);
        Progress& progress = progress_of(request);
        if (!progress.marked) {
            progress.marked = true;
            gathered_.push_back(&request);
        }
    });
    std::ranges::sort(gathered_, [](Request* a, Request* b) { return is_before(*a, *b); });
    waiting_.for_each([](Request& request) { progress_of(request).next_block = 0; });
    RequestBatch front;
    for (Request* request : gathered_) {
        Progress& progress = progress_of(*request);
        progress.marked = false;
        progress.next_block = 0;
        progress.outstanding = 0;
        progress.status = Status::Ok;
        progress.retry = false;
        if (changes_blocks(*request) && progress.view->group != nullptr && !progress.held) {
            progress.held = true;
            ++progress.view->held;
        }
        ++stats_.resent;
        // One that was half sent is on the waiting queue already: its first.
        if (!progress.queued) {
            REMORA_COVER("host: a request is sent again on the next connection");
            progress.queued = true;
            front.push_back(*request);
        }
    }
    front.append(waiting_);
    waiting_.append(front);
}

/// Without a path: fails what has waited too long and sets the timer for the next one. What may
/// still be executed does not fail before it cannot be any more: its guest would write the blocks
/// anew, on another path, and the first copy undo that.
void Lane::expire_waiting() {
    const std::int64_t now = reactor_.now().count();
    std::int64_t next = core::kNever.count();
    RequestBatch kept;
    while (Request* request = waiting_.pop_front()) {
        Progress& progress = progress_of(*request);
        if (progress.held) {
            kept.push_back(*request);
            continue;
        }
        if (progress.deadline_ns <= now && progress.outstanding == 0) {
            REMORA_COVER("host: a request has waited too long for a path");
            progress.queued = false;
            refuse(*request, Status::PathError, progress.nvme_status);
            continue;
        }
        next = std::min(next, progress.deadline_ns);
        kept.push_back(*request);
    }
    waiting_.append(kept);
    if (next != core::kNever.count()) {
        reactor_.arm(wait_timer_, Nanos(next));
    }
}

/// Looks now and then whether the connection still moves.
void Lane::watch() {
    if (!live_ || !queue_) {
        return;
    }
    const Nanos now = reactor_.now();
    const bool any = queue_->outstanding() > 0;
    const QueuePair::Oldest oldest = any ? queue_->oldest() : QueuePair::Oldest{now, 0};
    if (any && (now - queue_->last_progress() > timing_.io_timeout ||
                now - oldest.submitted > timing_.io_timeout * kLostAfterTimeouts)) {
        REMORA_COVER("host: I/O is not answered within its time limit");
        queue_->fail({ErrorKind::DeadlineExceeded,
                      queue_->name() + ": no answer to I/O within its time limit"});
        return;
    }
    if (now - oldest.submitted > timing_.io_timeout) {
        ask_abort(oldest.cid);
    }
    reactor_.arm(watch_timer_, now + timing_.io_timeout / 4);
}

/// Once for a command. Nothing depends on the controller's answer to it: a command that it does
/// abort ends with a status that asks for a retry (NVMe Base 2.0, Abort).
void Lane::ask_abort(std::uint16_t cid) {
    if (overtaken_.posted || (told_overtaken_ && overtaken_cid_ == cid)) {
        return;
    }
    told_overtaken_ = true;
    overtaken_queue_ = queue_->queue_id();
    overtaken_cid_ = cid;
    overtaken_.say();
}

}  // namespace remora::backends::nvme_tcp
