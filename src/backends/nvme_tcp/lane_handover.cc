// SPDX-License-Identifier: Apache-2.0
// Lane, how its requests go to another path of their volume and come from one.
#include <algorithm>

#include "backends/nvme_tcp/lane.h"
#include "core/probe.h"
#include "nvme/spec/status.h"

namespace remora::backends::nvme_tcp {

using block::Request;
using block::RequestBatch;
using block::Status;
using nvme::spec::StatusCode;

void Lane::resume(NamespaceView& view, RequestBatch& batch) {
    RequestBatch incoming;
    while (Request* request = batch.pop_front()) {
        ++stats_.submitted;
        ++view.inside;
        Progress& progress = progress_of(*request);
        progress.view = &view;
        if (shut_down_) {
            refuse(*request, Status::Aborted, 0);
            continue;
        }
        progress.queued = true;
        incoming.push_back(*request);
    }
    merge_by_age(waiting_, incoming);
    if (!live_) {
        expire_waiting();
    }
    pump();
}

bool Lane::has_spare(const Progress& progress) {
    return progress.view->group_spares();
}

/// Gives the request back for another path: to the volume's view of this reactor, or first to the
/// lane that it was submitted to. Nothing of it is outstanding.
void Lane::leave(Request& request) {
    Progress& progress = progress_of(request);
    DCHECK(progress.outstanding == 0);
    release_hold(progress);
    progress.queued = false;
    --progress.view->inside;
    if (progress.origin != index_) {
        REMORA_COVER("host: a carried request goes home for another path");
        progress.homeward = true;
        couriers_[progress.origin]->carry_finished(request);
        return;
    }
    ++stats_.handed_on;
    progress.view->group->take_back(request);
}

/// What came back from its carrier: to be placed anew, or to wait for this path's next connection.
void Lane::come_home(Request& request) {
    Progress& progress = progress_of(request);
    progress.homeward = false;
    progress.view = &progress.view->device->view(index_);
    if (has_spare(progress)) {
        leave(request);
    } else if (shut_down_) {
        refuse(request, Status::Aborted, 0);
    } else {
        progress.next_block = 0;
        progress.status = Status::Ok;
        progress.retry = false;
        enqueue(*progress.view, request);
    }
}

/// Gives back what waits. Until the connection is closed that is not what another lane's courier
/// has brought, and until its commands have `ended` not what may still be carried out.
void Lane::hand_over_waiting(bool closed, bool ended) {
    RequestBatch kept;
    while (Request* request = waiting_.pop_front()) {
        Progress& progress = progress_of(*request);
        if (ended) {
            release_hold(progress);
        }
        const bool may_leave =
            progress.outstanding == 0 && !progress.held && (closed || progress.origin == index_);
        if (may_leave && has_spare(progress)) {
            leave(*request);
        } else {
            kept.push_back(*request);
        }
    }
    waiting_.append(kept);
}

void Lane::release(NamespaceView& view) {
    for (RequestBatch* queue : {&waiting_, &retrying_}) {
        RequestBatch kept;
        while (Request* request = queue->pop_front()) {
            const Progress& progress = progress_of(*request);
            if (progress.view == &view && progress.outstanding == 0 && !progress.held &&
                progress.origin == index_) {
                leave(*request);
            } else {
                kept.push_back(*request);
            }
        }
        queue->append(kept);
    }
}

void Lane::release_hold(Progress& progress) {
    if (progress.held) {
        progress.held = false;
        if (--progress.view->held == 0) {
            progress.view->group->path_changed();
        }
    }
}

bool Lane::holds_overlap(const NamespaceView& view, const Request& request) const {
    bool found = false;
    waiting_.for_each([&](Request& older) {
        const Progress& progress = progress_of(older);
        found |= progress.held && progress.view == &view &&
                 older.lba < request.lba + request.block_count &&
                 request.lba < older.lba + older.block_count;
    });
    return found;
}

/// A status of the ANA kind is news, from a controller that reports: this reactor obeys it at once,
/// and the controller is asked for all of it.
void Lane::note_ana(NamespaceView& view, std::uint16_t status) {
    const auto code = nvme::spec::status_code(status);
    AnaState state = AnaState::Change;
    if (code == StatusCode::AnaInaccessible) {
        state = AnaState::Inaccessible;
    } else if (code == StatusCode::AnaPersistentLoss) {
        state = AnaState::PersistentLoss;
    } else if (code != StatusCode::AnaTransition) {
        return;
    }
    if (!view.ana_reported) {
        return;
    }
    view.update_ana(state, true);
    doubt_.say();
}

void Lane::add_grouped(NamespaceView& view) {
    if (std::ranges::find(grouped_, &view) == grouped_.end()) {
        grouped_.push_back(&view);
    }
}

void Lane::tell_grouped() {
    for (NamespaceView* view : grouped_) {
        view->group->path_changed();
    }
}

}  // namespace remora::backends::nvme_tcp
