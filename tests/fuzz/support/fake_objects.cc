// SPDX-License-Identifier: Apache-2.0
// The two directions of a FakeStream.
#include "tests/fuzz/support/fake_objects.h"

#include <algorithm>
#include <cerrno>

namespace remora::fuzz::detail {

std::ptrdiff_t FakeStream::recv(std::span<const core::Segment> into, HandleBox* box) {
    if (end_->broken) {
        return -ECONNRESET;
    }
    if (end_->arrived.empty()) {
        return at_end() ? 0 : -EAGAIN;
    }
    core::SegmentCursor cursor(into);
    std::size_t done = 0;
    for (bool first = true; !end_->arrived.empty(); first = false) {
        Chunk& chunk = end_->arrived.front();
        if (!chunk.handles.empty() && !first) {
            break;
        }
        const bool had_handles = !chunk.handles.empty();
        take_handles(chunk, box);
        const std::size_t step = cursor.copy_in(std::span(chunk.bytes).subspan(chunk.taken));
        chunk.taken += step;
        done += step;
        if (chunk.taken < chunk.bytes.size()) {
            break;
        }
        end_->arrived.pop_front();
        if (had_handles) {
            break;
        }
    }
    end_->bytes -= done;
    if (const auto peer = end_->peer.lock();
        peer != nullptr && end_->wants_room && end_->bytes < io_.window) {
        end_->wants_room = false;
        wake_writer(*peer);
    }
    return static_cast<std::ptrdiff_t>(done);
}

std::ptrdiff_t FakeStream::send(std::span<const core::Segment> from,
                                std::span<const Handle> handles) {
    const auto peer = end_->peer.lock();
    if (end_->broken) {
        return -ECONNRESET;
    }
    if (peer == nullptr || peer->gone || peer->ended) {
        return -EPIPE;
    }
    const std::size_t room = io_.window - std::min(io_.window, peer->bytes);
    const std::size_t size = std::min(core::total_size(from), room);
    if (size == 0) {
        peer->wants_room = true;
        return -EAGAIN;
    }
    Chunk chunk;
    chunk.bytes.resize(size);
    core::SegmentCursor cursor(from);
    cursor.copy_out(chunk.bytes);
    for (const Handle handle : handles) {
        chunk.handles.push_back(io_.add(io_.at(handle)));
    }
    peer->coming.push_back(std::move(chunk));
    peer->bytes += size;
    if (size < core::total_size(from)) {
        peer->wants_room = true;
    }
    return static_cast<std::ptrdiff_t>(size);
}

}  // namespace remora::fuzz::detail
