// SPDX-License-Identifier: Apache-2.0
#include "backends/nvme_tcp/lane.h"

#include <algorithm>
#include <utility>

#include "core/prefetch.h"
#include "core/probe.h"
#include "nvme/spec/status.h"
#include "nvme/status_map.h"

namespace remora::backends::nvme_tcp {

using block::Request;
using block::RequestBatch;
using block::Status;
using core::ErrorKind;
using nvme::spec::StatusCode;

namespace {

/// Statuses that say "try again": a path or controller that is going or coming, and a namespace
/// that has just been taken away or is not back yet.
bool asks_for_retry(std::uint16_t status) {
    const auto code = static_cast<std::uint16_t>(status & nvme::spec::kStatusCodeMask);
    if (code == static_cast<std::uint16_t>(StatusCode::InvalidNamespace)) {
        return true;
    }
    if ((status & nvme::spec::kDoNotRetry) != 0) {
        return false;
    }
    constexpr std::uint16_t kPathRelated = 0x3;
    return code == static_cast<std::uint16_t>(StatusCode::AbortRequested) ||
           code == static_cast<std::uint16_t>(StatusCode::AbortedSqDeletion) ||
           code == static_cast<std::uint16_t>(StatusCode::NamespaceNotReady) ||
           code == static_cast<std::uint16_t>(StatusCode::TransientTransportError) ||
           code == static_cast<std::uint16_t>(StatusCode::CommandInterrupted) ||
           (code >> 8U) == kPathRelated;
}

}  // namespace

Lane::Lane(std::uint32_t index,
           const block::ReactorContext& context,
           reactor::Reactor& home,
           LaneOwner& owner,
           const Timing& timing)
    : index_(index),
      reactor_(context.reactor),
      home_(home),
      owner_(owner),
      timing_(timing),
      refused_(context.reactor),
      wait_timer_(*this),
      retry_timer_(*this),
      watch_timer_(*this),
      hold_timer_(*this),
      down_(*this),
      doubt_(*this, [](Lane& lane) { lane.owner_.on_ana_doubt(); }),
      overtaken_(*this, [](Lane& lane) {
          lane.owner_.on_overtaken(lane.overtaken_queue_, lane.overtaken_cid_);
      }) {}

Lane::~Lane() {
    CHECK(!queue_ && waiting_.empty() && retrying_.empty() && grouped_.empty());
}

void Lane::meet(std::span<const std::unique_ptr<Lane>> lanes) {
    for (const auto& lane : lanes) {
        couriers_.push_back(std::make_unique<Courier>(*this, *lane));
    }
}

void Lane::DownMessage::run() {
    lane.owner_.on_lane_down(lane.index_, reason);
}

void Lane::Word::say() {
    if (!posted) {
        posted = true;
        lane.home_.post(*this);
    }
}

void Lane::Word::run() {
    tell(lane);
    lane.reactor_.post(back);
}

Task<Result<void>> Lane::connect(QueuePairOptions options) {
    CHECK(!queue_ && !live_);
    down_.posted = false;
    gathered_.reserve(options.queue_size);
    QueuePairHandler& handler = *this;
    queue_ = std::make_unique<QueuePair>(reactor_, handler, std::move(options));
    auto opened = co_await queue_->open();
    co_return opened;
}

void Lane::go_live(const TransferLimits& limits, const Timing& timing, Lane* carrier) {
    timing_ = timing;
    limits_ = limits;
    carrier_ = carrier;
    live_ = carrier != nullptr || (queue_ && queue_->is_open());
    if (!live_) {
        return;
    }
    wait_timer_.cancel();
    told_overtaken_ = false;
    end_holds();
    if (queue_) {
        reactor_.arm(watch_timer_, reactor_.now() + timing_.io_timeout / 4);
    }
    pump();
    tell_grouped();
}

Task<> Lane::disconnect(Nanos linger, bool ended) {
    live_ = false;
    carrier_ = nullptr;
    draining_ = true;
    watch_timer_.cancel();
    hand_over_waiting(false, false);
    expire_waiting();
    const bool had_queue = queue_ != nullptr;
    if (had_queue) {
        const bool drained = co_await queue_->close(linger);
        ended |= drained;
        queue_.reset();
    }
    draining_ = false;
    if (ended || (!had_queue && !uncertain_)) {
        end_holds();
    } else if (!uncertain_) {
        REMORA_COVER("host: what a connection had outstanding may still be executed");
        uncertain_ = true;
        reactor_.arm(hold_timer_, reactor_.now() + timing_.resend_hold);
    }
    hand_over_waiting(true, !uncertain_);
    expire_waiting();
    tell_grouped();
}

/// Nothing of the last connection is executed any more.
void Lane::end_holds() {
    uncertain_ = false;
    hold_timer_.cancel();
    waiting_.for_each([](Request& request) { release_hold(progress_of(request)); });
}

void Lane::abort_connect(core::Error reason) {
    if (queue_) {
        queue_->fail(std::move(reason));
    }
}

void Lane::shut_down() {
    CHECK(!queue_);
    shut_down_ = true;
    waiting_.append(retrying_);
    end_holds();
    hand_over_waiting(true, true);
    while (Request* request = waiting_.pop_front()) {
        refuse(*request, Status::Aborted, 0);
    }
    wait_timer_.cancel();
    retry_timer_.cancel();
    watch_timer_.cancel();
}

bool Lane::couriers_idle() const {
    return !doubt_.posted && !overtaken_.posted &&
           std::ranges::all_of(couriers_, [](const auto& courier) { return courier->idle(); });
}

void Lane::submit(NamespaceView& view, RequestBatch& batch) {
    DCHECK(reactor_.is_current());
    while (Request* request = batch.pop_front()) {
        ++stats_.submitted;
        request->nvme_status = 0;
        Progress& progress = start_progress(*request);
        progress.origin = static_cast<std::uint16_t>(index_);
        progress.sequence = view.group != nullptr ? view.group->take_sequence() : next_sequence_++;
        progress.deadline_ns = (reactor_.now() + timing_.path_timeout).count();
        progress.view = &view;
        ++view.inside;
        const Status valid = block::validate(*request, view.limits());
        if (valid != Status::Ok || shut_down_) {
            refuse(*request, valid != Status::Ok ? valid : Status::Aborted, 0);
            continue;
        }
        enqueue(view, *request);
    }
    pump();
}

void Lane::enqueue(NamespaceView& view, Request& request) {
    Progress& progress = progress_of(request);
    progress.view = &view;
    progress.queued = true;
    waiting_.push_back(request);
    if (!live_ && !wait_timer_.armed()) {
        reactor_.arm(wait_timer_, Nanos(progress.deadline_ns));
    }
}

void Lane::on_courier(const Lane& from, RequestBatch& requests, RequestBatch& finished) {
    while (Request* request = requests.pop_front()) {
        Progress& progress = progress_of(*request);
        NamespaceView& view = progress.view->device->view(index_);
        ++view.inside;
        progress.view = &view;
        if (has_spare(progress) && !live_ && !draining_) {
            leave(*request);  // it was on its way when this lane's connection ended
        } else if (shut_down_) {
            refuse(*request, Status::Aborted, 0);
        } else {
            DCHECK(progress.origin == from.index_);
            enqueue(view, *request);
        }
    }
    pump();
    RequestBatch ours;
    while (Request* request = finished.pop_front()) {
        Progress& progress = progress_of(*request);
        if (progress.homeward) {
            come_home(*request);
            continue;
        }
        --progress.view->device->view(index_).inside;
        ++(request->status == Status::Ok ? stats_.completed : stats_.failed);
        ours.push_back(*request);
    }
    pump();
    give_back(ours);
}

/// Sends what is waiting as long as there is room for it.
void Lane::pump() {
    if (!live_) {
        return;
    }
    if (carrier_ != nullptr) {
        if (!waiting_.empty()) {
            REMORA_COVER("host: another reactor's queue carries a request");
            couriers_[carrier_->index_]->carry(waiting_);
        }
        return;
    }
    while (Request* request = waiting_.front()) {
        Progress& progress = progress_of(*request);
        note_absence(progress);
        if (!send_parts(*request, progress)) {
            return;
        }
        waiting_.pop_front();
        progress.queued = false;
        if (progress.outstanding == 0) {
            settle(*request);  // a part of it failed, or it must not be sent
        }
    }
}

/// Nothing (more) of a request is sent to a namespace that is away or another volume by now: it
/// ends as if a part of it had failed, once the parts that are under way are back.
void Lane::note_absence(Progress& progress) {
    if (progress.view->sendable() || progress.status != Status::Ok) {
        return;
    }
    if (progress.view->state != NamespaceState::Mismatch || progress.view->group_spares()) {
        REMORA_COVER("host: a request waits for its namespace");
        progress.retry = true;
        return;
    }
    progress.status = Status::IoError;
    progress.nvme_status = nvme::spec::status_field(StatusCode::InvalidNamespace, true);
}

/// False when the queue is full before all parts are sent.
bool Lane::send_parts(Request& request, Progress& progress) {
    if (progress.status != Status::Ok || progress.retry) {
        return true;
    }
    do {
        if (!queue_->has_room()) {
            REMORA_COVER("host: the queue is full before a request is sent");
            return false;
        }
        Command command;
        progress.next_block += build_part(request, progress, command);
        ++progress.outstanding;
        ++stats_.commands;
        command.token = reinterpret_cast<std::uintptr_t>(&request);
        queue_->submit(command);
    } while (progress.next_block < request.block_count);
    return true;
}

void Lane::on_completions(std::span<const Completion> completions) {
    RequestBatch finished;
    constexpr std::size_t kRequestBytes = 192;  // what a request of few stages uses
    for (std::size_t i = 0; i < completions.size(); ++i) {
        if (i + 1 < completions.size()) {
            core::prefetch_lines_to_write(reinterpret_cast<const void*>(completions[i + 1].token),
                                          kRequestBytes);
        }
        part_done(completions[i], finished);
    }
    pump();
    give_back(finished);
}

void Lane::part_done(const Completion& completion, RequestBatch& finished) {
    Request& request = *reinterpret_cast<Request*>(completion.token);
    Progress& progress = progress_of(request);
    CHECK(progress.outstanding > 0);
    --progress.outstanding;
    if (completion.status == 0 && completion.data == DataOutcome::Whole) [[likely]] {
        if (progress.outstanding == 0 && !progress.queued && progress.status == Status::Ok &&
            !progress.retry) [[likely]] {
            finish(request, finished);
            return;
        }
    } else {
        part_failed(completion, progress);
    }
    if (progress.outstanding == 0 && !progress.queued) {
        settle(request);
    }
}

void Lane::part_failed(const Completion& completion, Progress& progress) {
    if (completion.status != 0) {
        if (progress.nvme_status == 0) {
            progress.nvme_status = completion.status;
        }
        if (asks_for_retry(completion.status)) {
            progress.retry = true;
            note_ana(*progress.view, completion.status);
            return;
        }
        if (progress.status == Status::Ok) {
            progress.status = nvme::from_nvme(completion.status);
            progress.nvme_status = completion.status;
        }
        return;
    }
    // NVMe/TCP Transport 1.0 §3.3.2: data with a wrong digest fails its command here, with a
    // non-fatal transport error, even though the controller is content. The volume is well: the
    // command is sent again, as it is when the controller finds such an error in what we sent.
    const bool corrupt = completion.data == DataOutcome::Corrupt;
    if (corrupt) {
        REMORA_COVER("host: data that came is corrupt");
        progress.retry = true;
        progress.nvme_status = nvme::spec::status_field(StatusCode::TransientTransportError);
        return;
    }
    if (progress.status == Status::Ok) {
        progress.status = Status::IoError;
        progress.nvme_status = nvme::spec::status_field(StatusCode::DataTransferError);
    }
}

/// A request that failed in part or waits for its namespace, with nothing outstanding: gives it
/// back, or tries it again.
void Lane::settle(Request& request) {
    Progress& progress = progress_of(request);
    if (progress.status != Status::Ok) {
        refuse(request, progress.status, progress.nvme_status);
    } else if (progress.retry && reactor_.now().count() >= progress.deadline_ns) {
        const Status status =
            progress.nvme_status != 0 ? nvme::from_nvme(progress.nvme_status) : Status::PathError;
        refuse(request, status, progress.nvme_status);
    } else if (!progress.moved && has_spare(progress) &&
               progress.view->group->has_alternative(*progress.view)) {
        REMORA_COVER("host: a status sends a request to another path");
        progress.moved = true;
        leave(request);
    } else {
        ++stats_.retried;
        retry_later(request);
    }
}

void Lane::finish(Request& request, RequestBatch& finished) {
    request.status = Status::Ok;
    const Progress& progress = progress_of(request);
    --progress.view->inside;
    if (progress.origin != index_) {
        couriers_[progress.origin]->carry_finished(request);
        return;
    }
    ++stats_.completed;
    finished.push_back(request);
}

void Lane::give_back(RequestBatch& finished) {
    if (!finished.empty()) {
        block::complete_batch(finished);
    }
}

/// Fails a request, later in this turn: it may be the caller of submit() that is told.
void Lane::refuse(Request& request, Status status, std::uint16_t nvme_status) {
    request.nvme_status = nvme_status;
    Progress& progress = progress_of(request);
    --progress.view->inside;
    release_hold(progress);
    if (progress.origin != index_) {
        request.status = status;
        couriers_[progress.origin]->carry_finished(request);
        return;
    }
    ++stats_.failed;
    refused_.push(request, status);
}

void Lane::on_timer(reactor::Timer& timer) {
    if (&timer == &wait_timer_) {
        if (!live_) {
            expire_waiting();
        }
    } else if (&timer == &retry_timer_) {
        retry_due();
    } else if (&timer == &hold_timer_) {
        end_holds();
        hand_over_waiting(true, true);
        if (!live_) {
            expire_waiting();
        }
        tell_grouped();
    } else {
        watch();
    }
}

}  // namespace remora::backends::nvme_tcp
