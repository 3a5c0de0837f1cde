// SPDX-License-Identifier: Apache-2.0
// Slot: one command of a queue from its capsule to its answer. A connection has a fixed array of
// them, as many as the queue has entries, so what a host can have under way is bounded.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "block/request.h"
#include "core/intrusive_list.h"
#include "core/prefetch.h"
#include "core/segment.h"
#include "memory/buffer_pool.h"
#include "nvme/commands.h"
#include "nvme/spec/command.h"
#include "reactor/signal.h"

namespace remora::frontends::nvme_tcp {

struct OpenNamespace;
struct Slot;

/// What one sendmsg takes whole or in parts: header, data, tail. Queued on its connection.
struct OutPdu : core::QueueHook<OutPdu> {
    std::array<core::Segment, 3> parts{};
    std::uint8_t part_count = 0;
    std::uint8_t pdu_count = 1;
    std::uint32_t since = 0;  ///< Look of the watch after which it was queued; an R2T: sent.
    Slot* slot = nullptr;     ///< Null for ICResp and TermReq.

    void clear() {
        part_count = 0;
        pdu_count = 1;
    }
    /// They are only read: Segment is laid out for both directions.
    void append(std::span<const std::byte> bytes) {
        parts[part_count++] = {const_cast<std::byte*>(bytes.data()), bytes.size()};
    }
    [[nodiscard]] std::size_t bytes() const {
        return core::total_size(std::span(parts).first(part_count));
    }
};

enum class SlotState : std::uint8_t {
    Free,
    Receiving,      ///< Its in-capsule data is arriving, or waits for a buffer.
    WaitingBuffer,  ///< On the connection's list of those that wait for the pool.
    R2tQueued,      ///< Its R2T is in the out queue: the host cannot know it yet.
    AwaitingData,   ///< The R2T is sent; H2CData PDUs fill the buffer.
    Paired,         ///< Of a fused pair, with its data here: the other one is missing.
    Fenced,         ///< A write that waits for the end of somebody's time with its blocks.
    Executing,      ///< In the block layer, or a Connect under way.
    Held,           ///< An Asynchronous Event Request that waits for an event.
    Answering,      ///< Its answer is in the out queue.
};

struct Slot : block::Request, OutPdu, core::QueueHook<Slot> {
    static constexpr unsigned kIndexBits = 10;
    static constexpr std::size_t kMaxSlots = std::size_t{1} << kIndexBits;
    /// PDU header, digest and the pad a host may ask for (HPDA).
    static constexpr std::size_t kHeaderBytes = 128;
    /// Data digest, then a CapsuleResp with its digest.
    static constexpr std::size_t kTailBytes = 4 + 24 + 4;

    SlotState state = SlotState::Free;
    bool marked = false;   ///< A change of a reservation waits for its end.
    bool reserve = false;  ///< `buffer` is the connection's reserve, not the pool's.
    std::uint16_t index = 0;
    std::uint16_t generation = 0;  ///< Part of the transfer tag: old tags never match.
    std::uint16_t failure = 0;     ///< Status field found out while data was still to come.
    nvme::spec::Command command;
    nvme::IoPlan plan;
    OpenNamespace* target = nullptr;  ///< Counted in flight there, while Executing or lent to.
    std::uint32_t nsid = 0;
    std::uint64_t incarnation = 0;  ///< Of the namespace the command was checked against.
    std::span<std::byte> buffer;
    core::Segment segment;
    std::uint32_t received = 0;       ///< Bytes of H2CData.
    std::size_t range_index = 0;      ///< Discard, Copy: next range.
    Slot* partner = nullptr;          ///< The other one of a fused pair that has not ended.
    reactor::Signal* done = nullptr;  ///< A coroutine waits: told when the request has ended.
    // Of commands that are carried out piece by piece (execute_pieces.cc).
    std::span<std::byte> scratch;   ///< Of the pool: what is read.
    std::uint64_t piece_lba = 0;    ///< Copy: where the next piece goes.
    std::uint64_t blocks_done = 0;  ///< Of the command; Copy: of the range.
    // Zero behind what is written: the pad goes out as it is.
    std::array<std::byte, kHeaderBytes> header{};
    std::array<std::byte, kTailBytes> tail{};

    /// Fetches what a small command uses: what the kernel copied for the last send has taken the
    /// first cache.
    void prefetch() const {
        core::prefetch_lines_to_write(static_cast<const block::Request*>(this), 128);
        core::prefetch_lines_to_write(static_cast<const OutPdu*>(this), 320);
        core::prefetch_to_write(&header);
    }
    /// What a buffer for its data takes of the pool.
    [[nodiscard]] std::size_t footprint() const {
        return std::bit_ceil(std::max<std::size_t>(plan.bytes, memory::BufferPool::kMinBytes));
    }
    [[nodiscard]] std::uint16_t transfer_tag() const {
        return static_cast<std::uint16_t>((generation << kIndexBits) | index);
    }
};

}  // namespace remora::frontends::nvme_tcp
