// SPDX-License-Identifier: Apache-2.0
// QueuePair, the sending half: PDUs of many commands gathered into one send at the turn's end.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "backends/nvme_tcp/queue_pair.h"
#include "core/byte_reader.h"
#include "core/prefetch.h"
#include "nvme/tcp/digest.h"
#include "nvme/tcp/send_size.h"

namespace remora::backends::nvme_tcp {

using core::Segment;
using nvme::tcp::CommonHeader;
using nvme::tcp::DataPdu;
using nvme::tcp::PduType;

namespace {

// All headers, with their digest or without, are multiples of it.
constexpr std::uint32_t kHeaderAlignment = 4;

std::uint32_t digest_of(core::SegmentCursor cursor, std::size_t bytes) {
    core::Crc32c crc;
    while (bytes > 0) {
        const Segment run = cursor.peek(bytes);
        CHECK(run.size > 0);
        crc.update({run.data, run.size});
        cursor.advance(run.size);
        bytes -= run.size;
    }
    return crc.value();
}

}  // namespace

struct QueuePair::Gathered {
    std::span<Segment> segments;
    std::size_t count = 0;
    std::size_t bytes = 0;

    bool add(const std::byte* data, std::size_t size) {
        if (count == segments.size() || bytes >= nvme::tcp::kBytesPerSend) {
            return false;
        }
        // sendmsg only reads; Segment is laid out for both directions.
        segments[count++] = {const_cast<std::byte*>(data), size};
        bytes += size;
        return true;
    }
};

void QueuePair::queue(Slot& slot) {
    DCHECK(!slot.queued && tx_count_ < slot_count_);
    slot.queued = true;
    tx_[tx_place(tx_count_)] = slot.cid & kSlotMask;
    ++tx_count_;
    if (!tx_blocked_) {
        reactor_.flush_later(*this);
    }
}

bool QueuePair::queued_first(const Slot& slot) const {
    return tx_count_ > 0 && tx_[tx_first_] == (slot.cid & kSlotMask);
}

/// Takes a slot of which nothing is sent yet off the ring. Rare: the order of the rest is kept.
void QueuePair::unqueue(const Slot& slot) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < tx_count_; ++i) {
        const std::uint16_t at = tx_[tx_place(i)];
        if (at != (slot.cid & kSlotMask)) {
            tx_[tx_place(kept)] = at;
            ++kept;
        }
    }
    tx_count_ = kept;
}

/// Completes the header that lies in the slot: lengths, flags, digests; the PDU is then unsent.
void QueuePair::seal(Slot& slot, std::size_t header_size, std::uint32_t data_size) {
    CommonHeader common;
    std::memcpy(&common, slot.header.data(), sizeof(common));
    std::size_t block = header_size;
    unsigned flags = common.flags;
    if (decoder_.rules().header_digest) {
        flags |= nvme::tcp::kHeaderDigest;
        block += nvme::tcp::kDigestBytes;
    }
    slot.digest_size = 0;
    common.pdo = 0;
    if (data_size > 0) {
        // NVMe/TCP Transport 1.0 §3.6.1, PDO: the controller asked for this alignment (CPDA).
        // Mostly 4 bytes, as all headers are.
        if (data_alignment_ != kHeaderAlignment) {
            const std::size_t padded =
                (block + data_alignment_ - 1) / data_alignment_ * data_alignment_;
            std::memset(slot.header.data() + block, 0, padded - block);
            block = padded;
        }
        common.pdo = static_cast<std::uint8_t>(block);
        if (decoder_.rules().data_digest) {
            flags |= nvme::tcp::kDataDigest;
            slot.digest_size = nvme::tcp::kDigestBytes;
            nvme::tcp::store_digest(slot.digest, digest_of(slot.cursor, data_size));
        }
    }
    common.flags = static_cast<std::uint8_t>(flags);
    common.hlen = static_cast<std::uint8_t>(header_size);
    common.plen = static_cast<std::uint32_t>(block + data_size + slot.digest_size);
    std::memcpy(slot.header.data(), &common, sizeof(common));
    if (decoder_.rules().header_digest) {
        nvme::tcp::seal_header(slot.header, header_size);
    }
    slot.header_size = static_cast<std::uint8_t>(block);
    slot.header_sent = 0;
    slot.data_left = data_size;
    slot.digest_sent = 0;
}

// NVMe/TCP Transport 1.0 §3.6.2.8: data that an R2T asked for, at most MAXH2CDATA in a PDU, one
// PDU of a command on the ring at a time so that commands take turns.
void QueuePair::next_data_pdu(Slot& slot) {
    const std::uint32_t size = std::min(slot.asked_end - slot.moved, max_h2c_data_);
    DataPdu pdu;
    pdu.header.type = static_cast<std::uint8_t>(PduType::H2cData);
    pdu.header.flags = slot.moved + size == slot.asked_end ? nvme::tcp::kLastPdu : std::uint8_t{0};
    pdu.cccid = slot.cid;
    pdu.ttag = slot.ttag;
    pdu.datao = slot.moved;
    pdu.datal = size;
    std::memcpy(slot.header.data(), &pdu, sizeof(pdu));
    seal(slot, sizeof(pdu), size);
    queue(slot);
}

/// Appends what is unsent of the slot's PDU. False when there is no room for all of it.
bool QueuePair::gather_slot(const Slot& slot, Gathered& out) {
    if (slot.header_sent < slot.header_size &&
        !out.add(slot.header.data() + slot.header_sent,
                 std::size_t{slot.header_size} - slot.header_sent)) {
        return false;
    }
    core::SegmentCursor cursor = slot.cursor;
    for (std::size_t left = slot.data_left; left > 0;) {
        const Segment run = cursor.peek(left);
        CHECK(run.size > 0);  // the owner's segments are as long as it said
        if (!out.add(run.data, run.size)) {
            return false;
        }
        cursor.advance(run.size);
        left -= run.size;
    }
    return slot.digest_sent == slot.digest_size ||
           out.add(slot.digest.data() + slot.digest_sent,
                   std::size_t{slot.digest_size} - slot.digest_sent);
}

void QueuePair::gather(Gathered& out) const {
    const std::size_t pdus = std::min(tx_count_, nvme::tcp::kPdusPerSend);
    for (std::size_t i = 0; i < pdus; ++i) {
        prefetch_queued(i + 1);
        if (!gather_slot(slots_[tx_[tx_place(i)]], out)) {
            return;
        }
    }
}

void QueuePair::flush() {
    while (tx_count_ > 0) {
        Gathered out{.segments = reactor_.segments()};
        gather(out);
        const std::ptrdiff_t sent_bytes = stream_->send(out.segments.first(out.count));
        ++stats_.sends;
        if (sent_bytes == -EAGAIN) {
            tx_blocked_ = true;
            return;
        }
        if (sent_bytes <= 0) {
            fail(error_of(core::ErrorKind::Unavailable, "the connection broke while sending"));
            return;
        }
        consume(static_cast<std::size_t>(sent_bytes));
    }
    deliver();
}

/// What the kernel copied for a send has taken the caches: slots come back one ahead.
void QueuePair::prefetch_queued(std::size_t behind_first) const {
    if (behind_first < tx_count_) {
        const Slot& slot = slots_[tx_[tx_place(behind_first)]];
        core::prefetch_to_write(&slot);
        __builtin_prefetch(&slot.cursor);
    }
}

void QueuePair::consume(std::size_t bytes) {
    while (bytes > 0) {
        prefetch_queued(1);
        Slot& slot = slots_[tx_[tx_first_]];
        const std::size_t unsent = slot.unsent();
        if (bytes < unsent) {
            consume_part(slot, bytes);
            return;
        }
        bytes -= unsent;
        slot.moved += slot.data_left;
        if (slot.moved < slot.length) {
            slot.cursor.advance(slot.data_left);
        }
        slot.data_left = 0;
        tx_first_ = tx_place(1);
        --tx_count_;
        slot.queued = false;
        sent(slot);
    }
}

/// The socket took only the first bytes of what the slot still has to send.
void QueuePair::consume_part(Slot& slot, std::size_t bytes) {
    const std::size_t header = std::min(bytes, std::size_t{slot.header_size} - slot.header_sent);
    slot.header_sent = static_cast<std::uint8_t>(slot.header_sent + header);
    bytes -= header;
    const std::size_t data = std::min<std::size_t>(bytes, slot.data_left);
    slot.data_left -= static_cast<std::uint32_t>(data);
    slot.moved += static_cast<std::uint32_t>(data);
    slot.cursor.advance(data);
    slot.digest_sent = static_cast<std::uint8_t>(slot.digest_sent + bytes - data);
}

/// The slot's PDU is with the socket, whole.
void QueuePair::sent(Slot& slot) {
    slot.header_sent = 0;
    slot.capsule_sent = true;
    if (slot.answered) {
        finish(slot);
    } else if (slot.moved < slot.asked_end) {
        next_data_pdu(slot);
    }
}

// NVMe/TCP Transport 1.0 §3.6.2.4. Best effort: behind half a PDU it could not be told apart from
// that one's data, and nobody waits for a full socket.
void QueuePair::send_term_req(const nvme::tcp::Fault& fault) {
    if (tx_count_ > 0 && slots_[tx_[tx_first_]].partly_sent()) {
        return;
    }
    struct Pdu {
        nvme::tcp::TermReq request;
        std::array<std::byte, nvme::tcp::kTermReqMaxData> data{};
    } pdu;
    const std::size_t data_size = std::min(header_have_, pdu.data.size());
    pdu.request.header.type = static_cast<std::uint8_t>(PduType::H2cTermReq);
    pdu.request.header.hlen = sizeof(pdu.request);
    pdu.request.header.plen = static_cast<std::uint32_t>(sizeof(pdu.request) + data_size);
    pdu.request.fes = static_cast<std::uint16_t>(fault.status);
    pdu.request.fei = fault.information;
    std::memcpy(pdu.data.data(), header_.data(), data_size);
    const auto bytes = core::as_writable_bytes_of(pdu);
    const Segment segment{bytes.data(), sizeof(pdu.request) + data_size};
    static_cast<void>(stream_->send(std::span(&segment, 1)));
}

}  // namespace remora::backends::nvme_tcp
