// SPDX-License-Identifier: Apache-2.0
// Connection: PDUs out. Answers gather in a queue and leave in few large sends.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/probe.h"
#include "frontends/nvme_tcp/connection.h"
#include "frontends/nvme_tcp/replica.h"
#include "frontends/nvme_tcp/shard.h"
#include "nvme/tcp/digest.h"
#include "nvme/tcp/send_size.h"

namespace remora::frontends::nvme_tcp {

using nvme::tcp::CapsuleResp;
using nvme::tcp::CommonHeader;
using nvme::tcp::DataPdu;
using nvme::tcp::kDigestBytes;
using nvme::tcp::PduType;

namespace {

constexpr std::size_t kMaxSegments = reactor::Reactor::kSegments;

static_assert(sizeof(DataPdu) + kDigestBytes <= Slot::kHeaderBytes);
static_assert(kDigestBytes + sizeof(CapsuleResp) + kDigestBytes == Slot::kTailBytes);

CommonHeader make_header(
    PduType type, std::uint8_t flags, std::size_t hlen, std::size_t pdo, std::size_t plen) {
    return {static_cast<std::uint8_t>(type), flags, static_cast<std::uint8_t>(hlen),
            static_cast<std::uint8_t>(pdo), static_cast<std::uint32_t>(plen)};
}

}  // namespace

std::uint16_t Connection::next_sqhd() {
    // With flow control off SQHD is reserved (NVM Express Base 2.0, Connect).
    if (flow_control_off_ || depth_ == 0) {
        return 0;
    }
    sq_head_ = static_cast<std::uint16_t>(sq_head_ + 1U == depth_ ? 0 : sq_head_ + 1);
    return sq_head_;
}

/// Writes a CapsuleResp, with its digest if negotiated; returns its bytes.
std::span<std::byte> Connection::write_response(std::span<std::byte> to,
                                                const Slot& slot,
                                                std::uint16_t status,
                                                std::uint32_t dw0,
                                                std::uint32_t dw1) {
    const std::size_t size =
        sizeof(CapsuleResp) + (decoder_.rules().header_digest ? kDigestBytes : std::size_t{0});
    CapsuleResp pdu{};
    pdu.header =
        make_header(PduType::CapsuleResp,
                    decoder_.rules().header_digest ? nvme::tcp::kHeaderDigest : std::uint8_t{0},
                    sizeof(CapsuleResp), 0, size);
    pdu.completion.dw0 = dw0;
    pdu.completion.dw1 = dw1;
    pdu.completion.sqhd =
        &slot == &connect_slot_ && flow_control_off_ ? nvme::spec::kFlowControlOff : next_sqhd();
    pdu.completion.sqid = qid_;
    pdu.completion.cid = slot.command.cid;
    pdu.completion.set_status(status);
    std::memcpy(to.data(), &pdu, sizeof(pdu));
    if (decoder_.rules().header_digest) {
        nvme::tcp::seal_header(to, sizeof(pdu));
    }
    return to.first(size);
}

void Connection::answer(Slot& slot, std::uint16_t status, std::uint32_t dw0, std::uint32_t dw1) {
    slot.state = SlotState::Answering;
    slot.OutPdu::clear();
    release_scratch(slot);
    if (status != 0) {
        ++stats_.failed_commands;
        note_error(slot, status);
    } else if (slot.plan.transfer == nvme::Transfer::ToHost && slot.plan.bytes > 0) {
        answer_data(slot, dw0, dw1);
        return;
    }
    release_buffer(slot);
    slot.OutPdu::append(write_response(slot.header, slot, status, dw0, dw1));
    enqueue(slot);
}

void Connection::answer_data(Slot& slot, std::uint32_t dw0, std::uint32_t dw1) {
    // NVMe/TCP Transport Specification 1.0 §3.6.2, C2HData: SUCCESS stands for the completion, when
    // the host needs no SQHD.
    const bool success = flow_control_off_ && dw0 == 0 && dw1 == 0;
    std::uint8_t flags = nvme::tcp::kLastPdu;
    flags |= success ? nvme::tcp::kSuccess : std::uint8_t{0};
    flags |= decoder_.rules().header_digest ? nvme::tcp::kHeaderDigest : std::uint8_t{0};
    flags |= decoder_.rules().data_digest ? nvme::tcp::kDataDigest : std::uint8_t{0};
    std::span<const std::byte> data = slot.buffer;
    if (slot.is_hole) {
        data = memory::BufferPool::zeros(data.size());
        release_buffer(slot);
    } else if (slot.loan) {
        data = {slot.loan.data(), data.size()};
    }
    DataPdu pdu{};
    pdu.header = make_header(
        PduType::C2hData, flags, sizeof(pdu), c2h_header_block_,
        c2h_header_block_ + data.size() + (decoder_.rules().data_digest ? kDigestBytes : 0));
    pdu.cccid = slot.command.cid;
    pdu.datal = static_cast<std::uint32_t>(data.size());
    const std::span<std::byte> header = slot.header;
    std::ranges::fill(header.subspan(sizeof(pdu), kDigestBytes), std::byte{0});
    std::memcpy(header.data(), &pdu, sizeof(pdu));
    if (decoder_.rules().header_digest) {
        nvme::tcp::seal_header(header, sizeof(pdu));
    }
    slot.OutPdu::append(header.first(c2h_header_block_));
    slot.OutPdu::append(data);
    std::size_t tail = 0;
    if (decoder_.rules().data_digest) {
        nvme::tcp::store_digest(slot.tail, core::crc32c(data));
        tail += kDigestBytes;
    }
    if (!success) {
        tail += write_response(std::span(slot.tail).subspan(tail), slot, 0, dw0, dw1).size();
        slot.pdu_count = 2;
    }
    if (tail > 0) {
        slot.OutPdu::append(std::span(slot.tail).first(tail));
    }
    enqueue(slot);
}

void Connection::send_r2t(Slot& slot) {
    slot.state = SlotState::R2tQueued;
    slot.received = 0;
    constexpr unsigned kGenerations = 1U << (16 - Slot::kIndexBits);
    slot.generation = static_cast<std::uint16_t>((slot.generation + 1U) % kGenerations);
    awaited_bytes_ += slot.footprint();
    const std::size_t size =
        sizeof(nvme::tcp::R2t) + (decoder_.rules().header_digest ? kDigestBytes : std::size_t{0});
    nvme::tcp::R2t pdu{};
    pdu.header = make_header(
        PduType::R2t, decoder_.rules().header_digest ? nvme::tcp::kHeaderDigest : std::uint8_t{0},
        sizeof(pdu), 0, size);
    pdu.cccid = slot.command.cid;
    pdu.ttag = slot.transfer_tag();
    pdu.r2tl = slot.plan.bytes;
    std::memcpy(slot.header.data(), &pdu, sizeof(pdu));
    if (decoder_.rules().header_digest) {
        nvme::tcp::seal_header(slot.header, sizeof(pdu));
    }
    slot.OutPdu::clear();
    slot.OutPdu::append(std::span(slot.header).first(size));
    enqueue(slot);
}

void Connection::send_ic_resp(const nvme::tcp::IcReq& request) {
    nvme::tcp::IcResp pdu{};
    pdu.header = make_header(PduType::IcResp, 0, sizeof(pdu), 0, sizeof(pdu));
    pdu.dgst = request.dgst & (nvme::tcp::kDgstHeader | nvme::tcp::kDgstData);
    pdu.maxh2cdata = shard_.limits().max_h2c_data;
    std::memcpy(ic_resp_bytes_.data(), &pdu, sizeof(pdu));
    ic_resp_.append(ic_resp_bytes_);
    enqueue(ic_resp_);
}

void Connection::enqueue(OutPdu& out) {
    out.since = looks_;
    out_.push_back(out);
    shard_.reactor().flush_later(*this);
}

void Connection::flush() {
    constexpr int kRounds = 16;
    for (int i = 0; i < kRounds && !out_.empty() && !closing() && !blocked_; ++i) {
        flush_once();
    }
    if (loans_ > 0) {
        copy_loans();
    }
    if (!out_.empty() && !closing() && !blocked_) {
        shard_.reactor().flush_later(*this);
    }
}

/// What the socket has not taken in this turn: writers do not wait for a slow host.
void Connection::copy_loans() {
    REMORA_COVER("target: a loan outlives its turn as a copy");
    for (OutPdu* out = out_.front(); out != nullptr; out = out_.next(*out)) {
        if (out->slot == nullptr || !out->slot->loan) {
            continue;
        }
        core::Segment& data = out->parts[1];  // behind the header
        std::memcpy(out->slot->buffer.data(), data.data, data.size);
        data.data = out->slot->buffer.data();
        give_back(*out->slot);
    }
}

/// Until then the namespace, and with it the volume, cannot go.
void Connection::give_back(Slot& slot) {
    if (slot.loan) {
        slot.loan.give_back();
        --loans_;
        std::exchange(slot.target, nullptr)->leave();
    }
}

/// One send.
void Connection::flush_once() {
    const std::span<core::Segment> segments = shard_.reactor().segments();
    std::size_t count = 0;
    std::size_t pdus = 0;
    std::size_t bytes = 0;
    std::size_t skip = out_offset_;
    for (OutPdu* out = out_.front();
         out != nullptr && pdus < nvme::tcp::kPdusPerSend &&
         count + out->part_count <= kMaxSegments && bytes < nvme::tcp::kBytesPerSend;
         out = out_.next(*out)) {
        for (const core::Segment& part : std::span(out->parts).first(out->part_count)) {
            const std::size_t cut = std::min(skip, part.size);
            skip -= cut;
            if (cut < part.size) {
                segments[count++] = {part.data + cut, part.size - cut};
                bytes += part.size - cut;
            }
        }
        ++pdus;
    }
    const std::ptrdiff_t taken = stream_->send(segments.first(count));
    ++stats_.send_calls;
    if (taken == -EAGAIN) {
        REMORA_COVER("target: the socket takes no more");
        blocked_ = true;
    } else if (taken < 0) {
        close("send failed");
    } else {
        sent(static_cast<std::size_t>(taken));
    }
}

void Connection::sent(std::size_t bytes) {
    stats_.send_bytes += bytes;
    out_offset_ += bytes;
    while (OutPdu* first = out_.front()) {
        const std::size_t size = first->bytes();
        if (out_offset_ < size) {
            REMORA_COVER("target: a send is cut inside a PDU");
            break;
        }
        out_offset_ -= size;
        out_.pop_front();
        sent_whole(*first);
    }
}

void Connection::sent_whole(OutPdu& out) {
    stats_.send_pdus += out.pdu_count;
    if (&out == &term_req_) {
        stream_->shutdown_send();
        return;
    }
    if (out.slot == nullptr) {
        return;
    }
    Slot& slot = *out.slot;
    if (slot.state == SlotState::R2tQueued) {
        slot.state = SlotState::AwaitingData;
        slot.since = looks_;
    } else {
        CHECK(slot.state == SlotState::Answering);
        release_slot(slot);
    }
}

}  // namespace remora::frontends::nvme_tcp
