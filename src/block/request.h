// SPDX-License-Identifier: Apache-2.0
// Request: one I/O on its way down the chain of channels and back up.
//
//   front end ── submit(batch) ─► service ── submit(batch) ─► back end
//             ◄─ complete(batch) ─        ◄─ complete(batch) ─
//
// Whoever makes a request owns it, its segments and their bytes until its Completer gets it back,
// exactly once. Each stage on the way pushes a Frame (who to complete to, and 32 bytes of its own)
// and pops it when the request comes back, so no stage allocates. A request lives on one reactor.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "block/loan.h"
#include "block/status.h"
#include "core/check.h"
#include "core/intrusive_list.h"
#include "core/segment.h"
#include "core/units.h"

namespace remora::block {

using core::Nanos;
using core::Segment;

enum class Opcode : std::uint8_t {
    Read,
    Write,
    Flush,        ///< All completed writes are durable. No range, no data.
    WriteZeroes,  ///< The range reads as zeros. No data.
    Discard,      ///< The range's content may be given up: it is unwritten then. No data.
};

struct Request;
using RequestBatch = core::Queue<Request>;

/// One verb up. Called on the request's reactor, never from within submit().
class Completer {
  public:
    /// Takes back a batch of requests that were submitted with this completer, in any order.
    virtual void complete(RequestBatch& batch) = 0;

  protected:
    ~Completer() = default;
};

struct Frame {
    Completer* completer = nullptr;
    std::array<std::uint64_t, 4> scratch{};
};

struct Request : core::QueueHook<Request> {
    static constexpr std::size_t kMaxStages = 8;

    Opcode opcode = Opcode::Read;
    bool force_unit_access = false;  ///< Write, WriteZeroes: durable before completion.
    /// Read, on the way down: who made it can do without a copy in its segments, if the bytes are
    /// all zeros (`is_hole`) or the volume has them in memory (`loan`). A stage that looks at the
    /// bytes takes this away.
    bool takes_in_place = false;
    /// Read, on the way up: all its bytes are zeros, and its segments were left as they are.
    bool is_hole = false;
    /// On the way down: has had its turn among those that compete for the volume's back end, as
    /// part of something larger, so the volume's own stage does not make it wait for one again.
    bool turn_taken = false;
    Status status = Status::Ok;  ///< Set by whoever fails it; Ok otherwise.
    std::uint16_t nvme_status =
        0;                   ///< Status field (SCT and SC, DNR) a remote controller gave, or 0.
    std::uint8_t depth = 0;  ///< Frames in use.
    std::uint32_t block_count = 0;  ///< Blocks of the device's block size; 0 for Flush.
    std::uint64_t lba = 0;          ///< First block.
    std::span<const Segment> data;  ///< Read: filled. Write: source. Sum = block_count x size.
    /// Read, on the way up, if not empty: all its bytes, and its segments were left as they are. No
    /// stage keeps such a request. Who made it gives the loan back in the turn in which it came,
    /// since writers wait for that.
    Loan loan;
    std::array<Frame, kMaxStages> frames;

    Frame& push_frame(Completer& completer) {
        CHECK(depth < kMaxStages);
        Frame& frame = frames[depth++];
        frame.completer = &completer;
        return frame;
    }
    Frame& top_frame() {
        DCHECK(depth > 0);
        return frames[depth - 1U];
    }
    void pop_frame() {
        DCHECK(depth > 0);
        --depth;
    }
};

/// Gives each request back to its top frame's completer, whole runs of one completer at a time.
void complete_batch(RequestBatch& batch);

}  // namespace remora::block
