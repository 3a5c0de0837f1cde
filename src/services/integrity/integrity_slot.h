// SPDX-License-Identifier: Apache-2.0
// Slot: a request on its way through an IntegrityChannel, one part at a time: blocks that have
// their checksums in one page.
//
// A slot is its channel's, and on that reactor. While it waits in a list of a page or of a set
// (under the set's lock), whoever ends the wait, on whichever reactor, takes it off and sends it
// back as a message.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "block/request.h"
#include "core/intrusive_list.h"
#include "core/segment.h"
#include "reactor/mailbox.h"
#include "services/integrity/entry_bits.h"

namespace remora::services::integrity {

class CachedPage;
class IntegrityChannel;

enum class Stage : std::uint8_t {
    Begin,    ///< A part is chosen; a write's is copied.
    Claim,    ///< The part's page is to be there, its blocks to be this slot's, if it locks them.
    Evict,    ///< Another page is written, to make room for its own.
    Zero,     ///< The part was never written: it is filled with zeros.
    Commit,   ///< The page with what comes is written.
    Check,    ///< A read's bytes are here.
    Note,     ///< A write's outcome is to be noted.
    Release,  ///< The part has ended.
};

/// What a slot is there for.
enum class Work : std::uint8_t { Read, Scrub, Write, WriteZeroes, Discard };

struct Slot final : core::QueueHook<Slot>, reactor::Message {
    static constexpr std::uint32_t kPartBlocks = 256;
    static constexpr std::size_t kPieces = 16;

    explicit Slot(IntegrityChannel& owner) : channel(owner) {}
    void run() override;  // on the channel's reactor: its wait is over

    [[nodiscard]] bool reads() const { return work == Work::Read || work == Work::Scrub; }
    /// Whether the part's blocks are to be nobody else's.
    [[nodiscard]] bool locks() const { return !reads() || exact; }
    [[nodiscard]] EntryRange range() const { return {entry, blocks}; }

    IntegrityChannel& channel;

    // The request, as it came.
    block::Request* request = nullptr;
    Work work = Work::Read;
    bool takes_in_place = false;
    std::span<const core::Segment> data;
    std::uint64_t lba = 0;
    std::uint32_t block_count = 0;

    std::uint32_t done = 0;  ///< Blocks of the parts that have ended.
    block::Status status = block::Status::Ok;
    std::uint16_t nvme_status = 0;
    core::SegmentCursor position;  ///< Of the part.
    std::span<std::byte> buffer;   ///< Of a write, or of a read that is exact.

    // The part.
    Stage stage = Stage::Begin;
    bool exact = false;       ///< Read again, alone with its blocks and into the buffer.
    bool summed = false;      ///< `sums` are those of the bytes.
    bool durable = false;     ///< Its page has to be, before it goes on.
    std::uint32_t entry = 0;  ///< In its page.
    std::uint32_t blocks = 0;
    std::uint64_t page_number = 0;
    CachedPage* page = nullptr;      ///< Pinned.
    bool holds = false;              ///< The blocks are its own.
    std::uint64_t flush_needed = 0;  ///< Before its blocks may be written again, or 0.
    CachedPage* writing = nullptr;   ///< What is written for it: `page`, or what it evicts.
    bool leads = false;              ///< It is to begin that write.
    std::array<std::uint32_t, kPartBlocks> sums{};
    std::array<core::Segment, kPieces> pieces;
    std::size_t piece_count = 0;
};

}  // namespace remora::services::integrity
