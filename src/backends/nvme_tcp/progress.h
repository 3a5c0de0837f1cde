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
    bool queued : 1 = false;  ///< On the lane's waiting queue.
    bool retry : 1 = false;   ///< A part got a status that asks for another try.
    bool marked : 1 = false;  ///< Gathered already (while a connection's table is walked).
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

}  // namespace remora::backends::nvme_tcp
