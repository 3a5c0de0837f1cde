// SPDX-License-Identifier: Apache-2.0
// A command on its way through a QueuePair: what the owner hands in, the slot that it has while it
// is outstanding, and what comes back.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "core/result.h"
#include "core/segment.h"
#include "core/units.h"
#include "nvme/spec/command.h"
#include "nvme/tcp/pdu.h"
#include "reactor/signal.h"

namespace remora::backends::nvme_tcp {

enum class Transfer : std::uint8_t { None, ToController, FromController };

/// A completion as the owner of a coroutine gets it.
struct CommandResult {
    std::uint16_t status = 0;  ///< 15-bit status field; 0 is success.
    std::uint32_t dw0 = 0;
    std::uint32_t dw1 = 0;
};

/// A coroutine that waits for its command.
struct Call {
    reactor::Signal done;
    std::optional<core::Result<CommandResult>> result;
};

/// What the owner hands in. Segments and their bytes stay until the completion.
struct Command {
    nvme::spec::Command entry;  ///< cid, flags and data pointer are the queue pair's to fill in.
    Transfer transfer = Transfer::None;
    std::span<const core::Segment> segments;
    std::uint64_t offset = 0;  ///< Of the command's first byte in the segments.
    std::uint32_t length = 0;  ///< Bytes.
    bool exact = true;         ///< A success that moved fewer bytes than `length` is a failure.
    /// Data that the slot keeps itself, instead of segments; 16 bytes with `length` 16.
    std::array<std::byte, 16> small{};
    bool has_small = false;
    std::uint64_t token = 0;  ///< Comes back with the completion.
    Call* call = nullptr;     ///< Gets the completion instead of the handler.
};

/// What became of the data, beside the status.
enum class DataOutcome : std::uint8_t {
    Whole,
    Short,    ///< Success, but not all bytes were moved.
    Corrupt,  ///< Success, but a data digest did not match.
};

struct Completion {
    std::uint64_t token = 0;
    std::uint16_t status = 0;  ///< 15-bit status field.
    DataOutcome data = DataOutcome::Whole;
};

/// One entry of the command table. What a small command needs from its submission to its answer is
/// in the first two cache lines and in the header's.
struct alignas(64) Slot {
    // Header, its digest and the pad up to the greatest alignment a controller may ask for.
    static constexpr std::size_t kHeaderBytes = 128;

    /// What a small command uses, from the slot's beginning.
    static constexpr std::size_t kHotBytes = 256;

    static constexpr std::uint32_t kLargeRead = 128 * 1024;

    std::uint16_t cid = 0;  ///< Generation and slot number.
    bool busy = false;
    bool capsule_sent = false;
    bool in_capsule = false;
    bool exact = true;
    bool queued = false;          ///< On the tx ring.
    bool corrupt = false;         ///< A data digest did not match.
    bool last_data_seen = false;  ///< C2HData with LAST_PDU came.
    bool answered = false;        ///< Completed while a PDU of it is half sent.
    Transfer transfer = Transfer::None;
    // Of the PDU that is being sent, which also has the first `data_left` bytes at the cursor.
    std::uint8_t header_size = 0;  ///< With digest and pad.
    std::uint8_t header_sent = 0;
    std::uint8_t digest_size = 0;
    std::uint8_t digest_sent = 0;
    std::uint32_t data_left = 0;

    std::uint32_t length = 0;
    std::uint32_t moved = 0;      ///< Data bytes received, or handed to the socket.
    std::uint32_t asked_end = 0;  ///< End of the range the controller has asked for by R2T.
    std::uint32_t dw0 = 0;
    std::uint32_t dw1 = 0;
    std::uint16_t status = 0;
    std::uint16_t ttag = 0;
    std::uint64_t token = 0;
    Call* call = nullptr;

    core::SegmentCursor cursor;  ///< At the next data byte to move.
    core::Nanos submitted{};
    std::array<std::byte, nvme::tcp::kDigestBytes> digest{};

    alignas(64) std::array<std::byte, kHeaderBytes> header{};

    core::Segment small_segment;
    std::array<std::byte, 16> small{};

    /// A read whose data is worth receiving in place.
    [[nodiscard]] bool large_read() const {
        return transfer == Transfer::FromController && length >= kLargeRead;
    }
    [[nodiscard]] bool partly_sent() const { return header_sent > 0; }
    /// Bytes of the PDU that are not with the socket yet.
    [[nodiscard]] std::size_t unsent() const {
        return std::size_t{header_size} - header_sent + data_left + digest_size - digest_sent;
    }
};
static_assert(offsetof(Slot, cursor) == 64, "one more line for every look at a slot");

constexpr unsigned kSlotBits = 10;
constexpr std::uint16_t kSlotMask = (1U << kSlotBits) - 1U;
static_assert(sizeof(nvme::tcp::CapsuleCmd) + nvme::tcp::kDigestBytes <= Slot::kHeaderBytes);

}  // namespace remora::backends::nvme_tcp
