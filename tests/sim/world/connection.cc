// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/world/connection.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "tests/sim/world/world.h"

namespace remora::sim {

namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr Nanos kNoticeLimit = std::chrono::seconds(8);
// A connection stays until its requests are back from the volume. On layers over a slow disk, one
// may take eight operations of up to 4 s one after the other.
constexpr Nanos kSlowDiskLimit = kNoticeLimit + std::chrono::seconds(32);
constexpr std::uint64_t kDelayOneIn = 40;
constexpr std::uint64_t kResetOneIn = 400;
constexpr std::uint64_t kFlipOneIn = 150;
constexpr std::uint64_t kHalfCloseOneIn = 1500;
constexpr std::uint64_t kShortSendOneIn = 20;
// ICReq and ICResp travel before digests are agreed on; nothing could catch a flip there
// (NVMe/TCP Transport 1.0 §3.6.2.2, .3: 128 bytes, DGST in byte 11: bit 0 header, bit 1 data).
constexpr std::uint64_t kUnprotectedBytes = 128;
constexpr std::size_t kDigestByte = 11;
constexpr std::uint8_t kBothDigests = 3;

}  // namespace

Connection::Connection(World& world, Options options)
    : world_(world), options_(std::move(options)), prng_(world.fork_prng()) {
    world_.register_connection(*this);
}

Connection::~Connection() {
    world_.unregister_connection(*this);
}

Nanos Connection::delay() {
    if (!options_.tcp) {
        return Nanos{500 + prng_.below(3000)};
    }
    Nanos delay = microseconds(5) + Nanos{prng_.below(30'000)};
    Faults& faults = world_.faults();
    if (faults.strikes(Fault::Delay, kDelayOneIn)) {
        // Mostly a hiccup, now and then a time that a user would notice.
        const std::uint64_t most = faults.pick(Fault::Delay, 8) == 0 ? 2'000'000 : 20'000;
        delay += microseconds(faults.pick(Fault::Delay, most));
    }
    return delay;
}

std::size_t Connection::piece(std::size_t left) {
    Faults& faults = world_.faults();
    if (left < 2 || !faults.strikes(Fault::Split, 6)) {
        return left;
    }
    // Single bytes for a while, small pieces, or one cut anywhere.
    switch (faults.pick(Fault::Split, 3)) {
        case 0:
            return 1;
        case 1:
            return 1 + faults.pick(Fault::Split, std::min<std::size_t>(left, 32) - 1);
        default:
            return 1 + faults.pick(Fault::Split, left - 1);
    }
}

bool Connection::maybe_flip(std::size_t side, std::vector<std::byte>& bytes) {
    Faults& faults = world_.faults();
    const bool caught = digests_[0] == kBothDigests && digests_[1] == kBothDigests;
    if (!caught || pipes_[side].sent < kUnprotectedBytes ||
        !faults.strikes(Fault::BitFlip, kFlipOneIn)) {
        return false;
    }
    const std::size_t at = faults.pick(Fault::BitFlip, bytes.size());
    bytes[at] ^= static_cast<std::byte>(1U << faults.pick(Fault::BitFlip, 8));
    world_.trace().note("bit flipped", options_.names[side], options_.id, pipes_[side].sent + at);
    return true;
}

std::ptrdiff_t Connection::send(std::size_t side,
                                std::span<const core::Segment> from,
                                std::vector<ObjectRef> handles) {
    Pipe& pipe = pipes_[side];
    if (reset_) {
        reset_told_[side] = true;
        return -ECONNRESET;
    }
    if (pipe.end_sent || (!options_.tcp && closed_[1 - side])) {
        return -EPIPE;
    }
    const std::uint64_t total = core::total_size(from);
    std::size_t room = options_.window - std::min(options_.window, pipe.unread);
    if (room == 0) {
        pipe.sender_waits = true;
        return -EAGAIN;
    }
    room = std::min<std::uint64_t>(room, total);
    if (room > 1 && world_.faults().strikes(Fault::Split, kShortSendOneIn)) {
        room = 1 + world_.faults().pick(Fault::Split, room - 1);
    }
    std::vector<std::byte> bytes(room);
    core::SegmentCursor(from).copy_out(bytes);
    if (pipe.cut || lost_[1 - side] || lost_[side]) {
        return static_cast<std::ptrdiff_t>(room);
    }
    if (options_.tcp && pipe.sent <= kDigestByte && pipe.sent + room > kDigestByte) {
        digests_[side] = static_cast<std::uint8_t>(bytes[kDigestByte - pipe.sent]);
    }
    if (options_.tcp && world_.faults().strikes(Fault::Reset, kResetOneIn)) {
        pipe.reset_at = pipe.sent + world_.faults().pick(Fault::Reset, room + 1);
    }
    push_pieces(side, bytes, std::move(handles));
    pipe.sent += room;
    pipe.unread += room;
    if (options_.tcp && world_.faults().strikes(Fault::HalfClose, kHalfCloseOneIn)) {
        world_.trace().note("half-close", options_.names[side], options_.id);
        Pipe::Chunk chunk;
        chunk.end = true;
        push(side, std::move(chunk));
        pipe.cut = true;
    }
    return static_cast<std::ptrdiff_t>(room);
}

void Connection::push_pieces(std::size_t side,
                             std::span<const std::byte> bytes,
                             std::vector<ObjectRef> handles) {
    while (!bytes.empty()) {
        const std::size_t size = piece(bytes.size());
        Pipe::Chunk chunk;
        chunk.bytes.assign(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
        chunk.handles = std::exchange(handles, {});
        chunk.flipped = maybe_flip(side, chunk.bytes);
        push(side, std::move(chunk));
        bytes = bytes.subspan(size);
    }
}

void Connection::push(std::size_t side, Pipe::Chunk chunk) {
    Pipe& pipe = pipes_[side];
    const Nanos before = pipe.travelling.empty() ? world_.now() : pipe.travelling.back().arrives;
    chunk.arrives = std::max(before, world_.now() + delay());
    pipe.travelling.push_back(std::move(chunk));
    schedule(side);
}

void Connection::schedule(std::size_t side) {
    Pipe& pipe = pipes_[side];
    if (pipe.scheduled || pipe.travelling.empty()) {
        return;
    }
    pipe.scheduled = true;
    world_.events().at(pipe.travelling.front().arrives, [self = shared_from_this(), side] {
        self->pipes_[side].scheduled = false;
        self->deliver(side);
    });
}

void Connection::deliver(std::size_t side) {
    Pipe& pipe = pipes_[side];
    if (reset_ || lost_[1 - side]) {
        pipe.travelling.clear();
        return;
    }
    if (options_.tcp && !world_.link_up(*options_.machines[0], *options_.machines[1])) {
        return;  // resume() goes on
    }
    bool news = false;
    while (!pipe.travelling.empty() && pipe.travelling.front().arrives <= world_.now()) {
        Pipe::Chunk chunk = std::move(pipe.travelling.front());
        pipe.travelling.pop_front();
        if (chunk.reset) {
            reset();
            return;
        }
        if (pipe.delivered + chunk.bytes.size() > pipe.reset_at) {
            chunk.bytes.resize(pipe.reset_at - pipe.delivered);
            pipe.arrived.push_back(std::move(chunk));
            reset();
            world_.network().broke(*this);
            return;
        }
        pipe.delivered += chunk.bytes.size();
        pipe.end_arrived |= chunk.end;
        if (closed_[1 - side]) {
            // Bytes for an end that is gone: its machine answers with a reset.
            if (options_.tcp && !chunk.bytes.empty()) {
                reset();
                return;
            }
            continue;
        }
        news = true;
        if (!chunk.bytes.empty() || !chunk.handles.empty()) {
            pipe.arrived.push_back(std::move(chunk));
        }
    }
    schedule(side);
    if (news && owners_[1 - side] != nullptr) {
        owners_[1 - side]->on_arrival();
        if (options_.tcp && pipe.end_arrived && !std::exchange(pipe.end_watched, true)) {
            watch_end(1 - side);
        }
    }
}

/// Who has been told of the end of its peer has to close its own: there is nothing to wait for.
void Connection::watch_end(std::size_t side) {
    Faults& faults = world_.faults();
    if (faults.drawn(Fault::Stall) || faults.drawn(Fault::SmallPool)) {
        return;  // it may be kept from looking
    }
    const Nanos limit = faults.drawn(Fault::DiskSlow) ? kSlowDiskLimit : kNoticeLimit;
    world_.events().after(limit, [self = shared_from_this(), side] {
        if (!self->closed_[side] && !self->reset_ && !self->lost_[side]) {
            self->world_.violation(self->options_.names[side] + " has not noticed that " +
                                   self->options_.names[1 - side] + " has ended connection " +
                                   std::to_string(self->options_.id));
        }
    });
}

void Connection::resume() {
    for (std::size_t side = 0; side < 2; ++side) {
        // What was on its way is sent again, in order, soon after the link is back.
        for (Pipe::Chunk& chunk : pipes_[side].travelling) {
            chunk.arrives = std::max(chunk.arrives, world_.now() + microseconds(options_.id));
        }
        schedule(side);
    }
}

bool Connection::has_input(std::size_t side) const {
    const Pipe& pipe = pipes_[1 - side];
    return !pipe.arrived.empty() || pipe.end_arrived || reset_;
}

std::ptrdiff_t Connection::recv(std::size_t side,
                                std::span<const core::Segment> into,
                                std::vector<ObjectRef>& handles) {
    Pipe& pipe = pipes_[1 - side];
    std::ptrdiff_t taken = 0;
    core::SegmentCursor cursor(into);
    std::uint64_t room = core::total_size(into);
    while (!pipe.arrived.empty() && room > 0) {
        Pipe::Chunk& chunk = pipe.arrived.front();
        // As the kernel: handles may come with bytes that were sent before them, but end the
        // receive, so that those of two messages are never joined.
        const bool carried = !chunk.handles.empty();
        for (ObjectRef& object : chunk.handles) {
            handles.push_back(std::move(object));
        }
        chunk.handles.clear();
        const std::size_t size = std::min<std::uint64_t>(room, chunk.bytes.size() - pipe.read_at);
        const auto run = std::span<const std::byte>(chunk.bytes).subspan(pipe.read_at, size);
        if (sniffer_ != nullptr) {
            if (std::exchange(chunk.flipped, false)) {
                sniffer_->on_flip(1 - side);
            }
            sniffer_->on_bytes(1 - side, run);
        }
        cursor.copy_in(run);
        pipe.read_at += size;
        taken += static_cast<std::ptrdiff_t>(size);
        room -= size;
        if (pipe.read_at == chunk.bytes.size()) {
            pipe.arrived.pop_front();
            pipe.read_at = 0;
        }
        if (carried) {
            break;
        }
    }
    if (taken > 0) {
        pipe.unread -= static_cast<std::size_t>(taken);
        if (pipe.sender_waits && owners_[1 - side] != nullptr) {
            pipe.sender_waits = false;
            owners_[1 - side]->on_space();
        }
        return taken;
    }
    if (reset_) {
        return std::exchange(reset_told_[side], true) ? 0 : -ECONNRESET;
    }
    return pipe.end_arrived ? 0 : -EAGAIN;
}

void Connection::shutdown_send(std::size_t side) {
    if (reset_ || std::exchange(pipes_[side].end_sent, true)) {
        return;
    }
    Pipe::Chunk chunk;
    chunk.end = true;
    push(side, std::move(chunk));
}

void Connection::close(std::size_t side) {
    if (std::exchange(closed_[side], true)) {
        return;
    }
    owners_[side] = nullptr;
    if (sniffer_ != nullptr) {
        sniffer_->on_closed();
    }
    // What was sent into a unix socket is there at once, whenever it is shown to its reader here.
    Pipe& input = pipes_[1 - side];
    const bool unread = options_.tcp ? !input.arrived.empty() : input.unread > 0;
    input.arrived.clear();  // and with it the handles that came along
    if (reset_ || lost_[side]) {
        return;
    }
    if (unread) {
        // Closing with unread input resets (RFC 1122, 4.2.2.13; unix sockets do the same), behind
        // what was sent.
        Pipe::Chunk chunk;
        chunk.reset = true;
        push(side, std::move(chunk));
        return;
    }
    shutdown_send(side);
    if (pipes_[1 - side].sender_waits && owners_[1 - side] != nullptr) {
        owners_[1 - side]->on_space();
    }
}

void Connection::reset() {
    if (std::exchange(reset_, true)) {
        return;
    }
    world_.trace().note("reset", options_.names[0], options_.id);
    if (sniffer_ != nullptr) {
        sniffer_->on_closed();
    }
    for (std::size_t side = 0; side < 2; ++side) {
        pipes_[side].travelling.clear();
        if (owners_[side] != nullptr && !lost_[side]) {
            owners_[side]->on_arrival();
            owners_[side]->on_space();
        }
    }
}

}  // namespace remora::sim
