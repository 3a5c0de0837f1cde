// SPDX-License-Identifier: Apache-2.0
// Connection: PDUs in. A streaming parser over whatever cuts the socket makes.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/probe.h"
#include "frontends/nvme_tcp/connection.h"
#include "frontends/nvme_tcp/shard.h"
#include "nvme/tcp/digest.h"

namespace remora::frontends::nvme_tcp {

using nvme::spec::StatusCode;
using nvme::tcp::CommonHeader;
using nvme::tcp::FatalError;
using nvme::tcp::Fault;
using nvme::tcp::PduType;

namespace {

/// From this much on the rest of a payload is received straight into its buffer.
constexpr std::uint32_t kDirectBytes = 32 * 1024;

template <typename T>
T load(std::span<const std::byte> from) {
    CHECK(from.size() >= sizeof(T));
    T out;
    std::memcpy(&out, from.data(), sizeof(T));
    return out;
}

}  // namespace

void Connection::receive() {
    constexpr int kRounds = 4;  // then the others of this reactor have their chance
    bool more = true;
    for (int i = 0; more && i < kRounds; ++i) {
        more = accepts_input() && incoming_.phase != Phase::AwaitBuffer && receive_once();
    }
    submit_batch();
    if (more && accepts_input() && incoming_.phase != Phase::AwaitBuffer) {
        resume_ = true;
        run_later();
    }
}

/// Whether there may be more to receive.
bool Connection::receive_once() {
    const std::span<std::byte> staging = shard_.reactor().staging();
    std::array<core::Segment, 2> into{};
    std::size_t count = 0;
    std::size_t direct = 0;
    if (incoming_.phase == Phase::Payload && incoming_.to != nullptr &&
        incoming_.payload >= kDirectBytes) {
        direct = incoming_.payload;
        into[count++] = {incoming_.to, direct};
    }
    into[count++] = {staging.data(), staging.size()};
    const std::ptrdiff_t received = stream_->recv(std::span(into).first(count));
    if (received == -EAGAIN) {
        return false;
    }
    ++stats_.recv_calls;
    if (received <= 0) {
        peer_closed();
        return false;
    }
    const auto bytes = static_cast<std::size_t>(received);
    stats_.recv_bytes += bytes;
    const std::size_t placed = std::min(bytes, direct);
    if (placed > 0) {
        REMORA_COVER("target: a payload is received in its place");
        payload_received({incoming_.to, placed});
        incoming_.to += placed;
        incoming_.payload -= static_cast<std::uint32_t>(placed);
        if (incoming_.payload == 0) {
            (void)take_payload({});
        }
    }
    consume(staging.first(bytes - placed));
    // A short receive has drained the socket, but the end of the stream may hide behind it.
    return hangup_ || bytes == direct + staging.size();
}

void Connection::consume(Bytes in) {
    while (!in.empty() && accepts_input()) {
        switch (incoming_.phase) {
            case Phase::Header:
                in = take_header(in);
                break;
            case Phase::Payload:
                in = take_payload(in);
                break;
            case Phase::Digest:
                in = take_digest(in);
                break;
            case Phase::AwaitBuffer:
                stash(in);
                return;
        }
    }
}

bool Connection::decode(const std::byte* header) {
    if (const auto good = decoder_.decode(header); !good) {
        fail(good.error(), {header, sizeof(CommonHeader)});
        return false;
    }
    return true;
}

Connection::Bytes Connection::take_header(Bytes in) {
    Incoming& at = incoming_;
    if (at.have == 0) {
        at.since = looks_;
    }
    if (at.have == 0 && in.size() >= sizeof(CommonHeader)) {
        if (!decode(in.data())) {
            return {};
        }
        if (in.size() >= decoder_.frame().header_block) {
            const Bytes block = in.first(decoder_.frame().header_block);
            begin_pdu(block);
            return in.subspan(block.size());
        }
    }
    REMORA_COVER("target: a PDU is cut inside its header");
    // The PDU is cut inside its header: collect it.
    const auto collect = [&at, &in](std::uint32_t until) {
        const std::size_t step = std::min<std::size_t>(until - at.have, in.size());
        std::memcpy(at.header.data() + at.have, in.data(), step);
        at.have += static_cast<std::uint32_t>(step);
        in = in.subspan(step);
        return at.have == until;
    };
    if (at.have < sizeof(CommonHeader)) {
        if (!collect(sizeof(CommonHeader))) {
            return in;
        }
        if (!decode(at.header.data())) {
            return {};
        }
    }
    if (!collect(decoder_.frame().header_block)) {
        return in;
    }
    at.have = 0;
    begin_pdu(Bytes(at.header).first(decoder_.frame().header_block));
    return in;
}

void Connection::begin_pdu(Bytes block) {
    Incoming& at = incoming_;
    if (decoder_.frame().header_digest) {
        if (const auto good = nvme::tcp::check_header_digest(block, decoder_.frame().header_size);
            !good) {
            fail(good.error(), block.first(decoder_.frame().header_size));
            return;
        }
    }
    at.slot = nullptr;
    at.to = nullptr;
    const bool first = state_ == State::AwaitIcReq;
    if (decoder_.frame().type == PduType::H2cTermReq) {
        close("host terminated");
        return;
    }
    // ICReq comes first and once; data comes to queues only.
    if (first != (decoder_.frame().type == PduType::IcReq) ||
        (decoder_.frame().type == PduType::H2cData && state_ != State::Live)) {
        fail({FatalError::SequenceError, 0}, block.first(decoder_.frame().header_size));
        return;
    }
    if (decoder_.frame().type == PduType::IcReq) {
        on_ic_req(block);
    } else if (decoder_.frame().type == PduType::H2cData) {
        on_h2c_data(block);
    } else {
        on_capsule(block);
    }
    if (!accepts_input()) {
        return;
    }
    if (decoder_.frame().data_size == 0) {
        ++stats_.recv_pdus;
        return;
    }
    at.payload = decoder_.frame().data_size;
    at.crc = {};
    if (at.phase != Phase::AwaitBuffer) {
        at.phase = Phase::Payload;
    }
}

void Connection::payload_received(Bytes bytes) {
    if (decoder_.frame().data_digest) {
        incoming_.crc.update(bytes);
    }
}

Connection::Bytes Connection::take_payload(Bytes in) {
    Incoming& at = incoming_;
    const Bytes part = in.first(std::min<std::size_t>(at.payload, in.size()));
    if (at.to == nullptr || part.empty()) {
        payload_received(part);
    } else {
        if (decoder_.frame().data_digest) {
            at.crc.update_and_copy(part, at.to);
        } else {
            std::memcpy(at.to, part.data(), part.size());
        }
        at.to += part.size();
    }
    at.payload -= static_cast<std::uint32_t>(part.size());
    if (at.payload == 0) {
        if (decoder_.frame().data_digest) {
            at.phase = Phase::Digest;
            at.payload = nvme::tcp::kDigestBytes;
        } else {
            end_pdu();
        }
    }
    return in.subspan(part.size());
}

Connection::Bytes Connection::take_digest(Bytes in) {
    Incoming& at = incoming_;
    const Bytes part = in.first(std::min<std::size_t>(at.payload, in.size()));
    std::memcpy(at.digest.data() + (nvme::tcp::kDigestBytes - at.payload), part.data(),
                part.size());
    at.payload -= static_cast<std::uint32_t>(part.size());
    if (at.payload == 0) {
        // A wrong data digest is the command's failure, not the connection's (NVMe/TCP Transport
        // Specification 1.0, data digest errors).
        if (nvme::tcp::load_digest(at.digest) != at.crc.value() && at.slot != nullptr) {
            REMORA_COVER("target: a data digest is wrong");
            at.slot->failure = nvme::spec::status_field(StatusCode::TransientTransportError);
        }
        end_pdu();
    }
    return in.subspan(part.size());
}

void Connection::end_pdu() {
    Incoming& at = incoming_;
    ++stats_.recv_pdus;
    Slot* slot = std::exchange(at.slot, nullptr);
    at.to = nullptr;
    at.phase = Phase::Header;
    if (slot == nullptr) {
        return;  // data of a command that was refused
    }
    if (slot == &connect_slot_) {
        run_connect(*slot);
        return;
    }
    if (slot->state == SlotState::AwaitingData) {
        slot->received += decoder_.frame().data_size;
        if (slot->received < slot->plan.bytes) {
            return;
        }
        awaited_bytes_ -= slot->footprint();
        shard_.buffer_released();  // another command may ask for its data now
    }
    data_complete(*slot);
}

void Connection::on_ic_req(Bytes block) {
    const auto request = load<nvme::tcp::IcReq>(block);
    if (const auto good = nvme::tcp::check_ic_req(request); !good) {
        fail(good.error(), block);
        return;
    }
    decoder_.new_rules().header_digest = (request.dgst & nvme::tcp::kDgstHeader) != 0;
    decoder_.new_rules().data_digest = (request.dgst & nvme::tcp::kDgstData) != 0;
    // HPDA counts dwords from 0: 31 is 128 bytes, as much as a slot's header holds.
    const std::uint32_t alignment = (request.hpda + 1U) * 4;
    const std::uint32_t header =
        static_cast<std::uint32_t>(sizeof(nvme::tcp::DataPdu)) +
        (decoder_.rules().header_digest ? static_cast<std::uint32_t>(nvme::tcp::kDigestBytes) : 0U);
    c2h_header_block_ = (header + alignment - 1) / alignment * alignment;
    CHECK(c2h_header_block_ <= Slot::kHeaderBytes);
    state_ = State::AwaitConnect;
    send_ic_resp(request);
    arm(shard_.limits().handshake);
}

void Connection::on_capsule(Bytes block) {
    Slot* slot = take_slot();
    if (slot == nullptr) {
        // More commands than the queue has entries.
        fail({FatalError::SequenceError, 0}, block.first(decoder_.frame().header_size));
        return;
    }
    slot->command = load<nvme::tcp::CapsuleCmd>(block).command;
    ++stats_.commands;
    if (state_ == State::Live) {
        start_command(*slot, decoder_.frame().data_size);
    } else {
        start_connect(*slot, decoder_.frame().data_size);
    }
}

void Connection::on_h2c_data(Bytes block) {
    using nvme::tcp::DataPdu;
    const nvme::tcp::Frame& frame = decoder_.frame();
    const Bytes header = block.first(frame.header_size);
    const auto pdu = load<DataPdu>(block);
    const auto bad_field = [this, header](std::size_t offset) {
        fail({FatalError::InvalidHeaderField, static_cast<std::uint32_t>(offset)}, header);
    };
    if (const auto good = nvme::tcp::check_data_pdu(pdu, frame); !good) {
        fail(good.error(), header);
        return;
    }
    const std::uint16_t index = pdu.ttag & (Slot::kMaxSlots - 1);
    if (index >= depth_ || slots_[index].state != SlotState::AwaitingData ||
        slots_[index].transfer_tag() != pdu.ttag) {
        bad_field(offsetof(DataPdu, ttag));
        return;
    }
    Slot& slot = slots_[index];
    if (pdu.cccid != slot.command.cid) {
        bad_field(offsetof(DataPdu, cccid));
        return;
    }
    const std::uint32_t left = slot.plan.bytes - slot.received;
    if (pdu.datao != slot.received || frame.data_size > left) {
        fail({FatalError::DataOutOfRange, 0}, header);
        return;
    }
    // LAST_PDU marks the end of what the R2T asked for, no sooner and no later.
    if (((frame.flags & nvme::tcp::kLastPdu) != 0) != (frame.data_size == left)) {
        bad_field(offsetof(CommonHeader, flags));
        return;
    }
    receive_into(slot, slot.buffer.data() + slot.received);
}

void Connection::receive_into(Slot& slot, std::byte* to) {
    incoming_.slot = &slot;
    incoming_.to = to;
}

void Connection::stash(Bytes rest) {
    if (stashed_ == nullptr) {
        stashed_ = std::make_unique<std::byte[]>(reactor::Reactor::kStagingBytes);
    }
    CHECK(rest.size() <= reactor::Reactor::kStagingBytes);
    std::memmove(stashed_.get(), rest.data(), rest.size());  // may lie in the stash itself
    stashed_bytes_ = rest.size();
}

void Connection::resume_stashed() {
    const std::size_t bytes = std::exchange(stashed_bytes_, 0);
    if (bytes > 0) {
        consume({stashed_.get(), bytes});
    }
}

}  // namespace remora::frontends::nvme_tcp
