// SPDX-License-Identifier: Apache-2.0
// Progress: what a Lane knows of a request while it has it. It lies in the frame above the
// request's top one: a leaf pushes no frame, so the space is free until it completes the request.
#pragma once

#include <cstdint>
#include <new>

#include "block/request.h"
#include "core/check.h"
#include "core/units.h"

namespace remora::backends::nvme_tcp {

struct NamespaceView;

struct Progress {
    NamespaceView* view = nullptr;  ///< The namespace, of the lane that has the request.
    std::int64_t deadline_ns = 0;   ///< On the reactor's clock: the end of waiting for a path.
    std::uint32_t next_block = 0;   ///< Blocks handed to the queue pair so far.
    std::uint32_t sequence = 0;     ///< Order of submission on the lane; wraps.
    std::uint16_t outstanding = 0;  ///< Commands at the controller.
    std::uint16_t nvme_status = 0;  ///< Of the part that failed first.
    std::uint16_t origin = 0;       ///< Index of the lane it was submitted to.
    block::Status status = block::Status::Ok;
    bool queued : 1 = false;    ///< On the lane's waiting queue.
    bool retry : 1 = false;     ///< A part got a status that asks for another try.
    bool marked : 1 = false;    ///< Gathered already (while a connection's table is walked).
    bool held : 1 = false;      ///< Waits until the connection that it was sent on is drained.
    bool moved : 1 = false;     ///< Left `view` after a status: another path first.
    bool homeward : 1 = false;  ///< On the way back to its lane, to be placed anew.
};

static_assert(sizeof(Progress) == sizeof(block::Frame::scratch));
static_assert(alignof(Progress) <= alignof(std::uint64_t));

inline Progress& start_progress(block::Request& request) {
    CHECK(request.depth < block::Request::kMaxStages);
    return *new (request.frames[request.depth].scratch.data()) Progress{};
}

inline Progress& progress_of(block::Request& request) {
    return *std::launder(reinterpret_cast<Progress*>(request.frames[request.depth].scratch.data()));
}

/// Whether sending the request twice, with another one in between, could be seen.
inline bool changes_blocks(const block::Request& request) {
    return request.opcode == block::Opcode::Write || request.opcode == block::Opcode::WriteZeroes ||
           request.opcode == block::Opcode::Discard;
}

/// Order of submission; of one volume's requests on one lane.
inline bool is_older(std::uint32_t a, std::uint32_t b) {
    return static_cast<std::int32_t>(a - b) < 0;
}

/// Moves all of `from` into `queue`, both oldest first.
inline void merge_by_age(block::RequestBatch& queue, block::RequestBatch& from) {
    if (from.empty()) {
        return;
    }
    block::RequestBatch merged;
    while (!queue.empty() && !from.empty()) {
        const bool first =
            is_older(progress_of(*from.front()).sequence, progress_of(*queue.front()).sequence);
        merged.push_back(*(first ? from : queue).pop_front());
    }
    merged.append(queue);
    merged.append(from);
    queue.append(merged);
}

}  // namespace remora::backends::nvme_tcp
