// SPDX-License-Identifier: Apache-2.0
// QueuePair, what each PDU of a controller means: it is checked against the command that it names
// and the state that one is in; what does not fit ends the connection (H2CTermReq).
#include <cstring>

#include "backends/nvme_tcp/queue_pair.h"
#include "nvme/spec/fabrics.h"

namespace remora::backends::nvme_tcp {

using core::ErrorKind;
using nvme::tcp::CommonHeader;
using nvme::tcp::FatalError;

namespace {

template <typename T>
T header_of(std::span<const std::byte> block) {
    T header;
    std::memcpy(&header, block.first(sizeof(T)).data(), sizeof(T));
    return header;
}

}  // namespace

void QueuePair::on_ic_resp(std::span<const std::byte> block) {
    if (state_ != State::Handshake) {
        broken(FatalError::SequenceError, 0, "a second ICResp");
        return;
    }
    const auto response = header_of<nvme::tcp::IcResp>(block);
    const unsigned asked = (options_.header_digest ? nvme::tcp::kDgstHeader : 0U) |
                           (options_.data_digest ? nvme::tcp::kDgstData : 0U);
    const auto good = nvme::tcp::check_ic_resp(response, static_cast<std::uint8_t>(asked));
    if (!good) {
        fail_with(error_of(ErrorKind::Unavailable, "its ICResp makes no sense"), &good.error());
        return;
    }
    decoder_.new_rules().header_digest = (response.dgst & nvme::tcp::kDgstHeader) != 0;
    decoder_.new_rules().data_digest = (response.dgst & nvme::tcp::kDgstData) != 0;
    max_h2c_data_ = response.maxh2cdata;
    data_alignment_ = (response.cpda + 1U) * 4U;
    state_ = State::Open;
    changed_.notify();
}

Slot* QueuePair::find(std::uint16_t cid) {
    const std::size_t index = cid & kSlotMask;
    if (index >= slot_count_ || !slots_[index].busy || slots_[index].cid != cid) {
        return nullptr;
    }
    return &slots_[index];
}

void QueuePair::broken(FatalError status, std::size_t information, const char* what) {
    const nvme::tcp::Fault fault{status, static_cast<std::uint32_t>(information)};
    fail_with(error_of(ErrorKind::Unavailable, std::string("it broke the protocol: ") + what),
              &fault);
}

// NVMe/TCP Transport 1.0 §3.6.2.7.
void QueuePair::on_capsule_resp(std::span<const std::byte> block) {
    const auto entry = header_of<nvme::tcp::CapsuleResp>(block).completion;
    constexpr std::size_t kCidOffset =
        offsetof(nvme::tcp::CapsuleResp, completion) + offsetof(nvme::spec::Completion, cid);
    Slot* slot = find(entry.cid);
    if (slot == nullptr) {
        broken(FatalError::InvalidHeaderField, kCidOffset, "an answer to no command");
        return;
    }
    // SQHD says how far the controller has taken commands off the queue; as never more than fit
    // are outstanding, it is only checked. FFFFh in Connect's answer: flow control is off, as
    // Connect asked for.
    constexpr std::size_t kHeadOffset =
        offsetof(nvme::tcp::CapsuleResp, completion) + offsetof(nvme::spec::Completion, sqhd);
    if (!connected_ && entry.sqhd == nvme::spec::kFlowControlOff) {
        flow_control_off_ = true;
    } else if (!flow_control_off_ && entry.sqhd >= options_.queue_size) {
        broken(FatalError::InvalidHeaderField, kHeadOffset, "a queue head outside of the queue");
        return;
    }
    completed(*slot, entry);
}

/// The command has its completion entry, from a CapsuleResp or a SUCCESS flag.
void QueuePair::completed(Slot& slot, const nvme::spec::Completion& entry) {
    slot.status = entry.status();
    slot.dw0 = entry.dw0;
    slot.dw1 = entry.dw1;
    if (slot.queued) {
        // Answered before all of the command, or of the data it asked for, was sent: that is legal
        // only for a failure, and only when its beginning is on the way.
        const bool begun = queued_first(slot) && slot.partly_sent();
        if ((!slot.capsule_sent && !begun) || slot.status == 0) {
            broken(FatalError::SequenceError, 0, "an answer before the command was sent");
            return;
        }
        if (begun) {
            slot.answered = true;  // finished when this PDU is out
            return;
        }
        unqueue(slot);
        slot.queued = false;
    }
    finish(slot);
}

void QueuePair::finish(Slot& slot) {
    const bool no_data = slot.transfer == Transfer::None || slot.length == 0;
    DataOutcome outcome = DataOutcome::Whole;
    if (slot.corrupt) {
        outcome = DataOutcome::Corrupt;
    } else if (!no_data && slot.exact && slot.moved != slot.length) {
        outcome = DataOutcome::Short;
    }
    slot.busy = false;
    large_reads_ -= slot.large_read() ? 1U : 0U;
    if (slot.call != nullptr) {
        if (slot.status == 0 && outcome != DataOutcome::Whole) {
            slot.call->result = std::unexpected(
                error_of(ErrorKind::Unavailable, outcome == DataOutcome::Corrupt
                                                     ? "a data digest does not match"
                                                     : "it sent less data than it should"));
        } else {
            slot.call->result = CommandResult{slot.status, slot.dw0, slot.dw1};
        }
        slot.call->done.notify();
        slot.call = nullptr;
    } else {
        done_.push_back({slot.token, slot.status, outcome});
    }
    // The next command of this slot has another identifier.
    const auto next = static_cast<std::uint16_t>(slot.cid + (1U << kSlotBits));
    slot.cid = next;
    free_.push_back(next & kSlotMask);
}

// NVMe/TCP Transport 1.0 §3.6.2.9. Data comes in order; each byte belongs to the command.
void QueuePair::on_data(std::span<const std::byte> block) {
    const auto pdu = header_of<nvme::tcp::DataPdu>(block);
    if (const auto good = nvme::tcp::check_data_pdu(pdu, decoder_.frame()); !good) {
        fail_with(error_of(ErrorKind::Unavailable, "DATAL is not what its C2HData carries"),
                  &good.error());
        return;
    }
    Slot* slot = find(pdu.cccid);
    if (slot == nullptr) {
        broken(FatalError::InvalidHeaderField, offsetof(nvme::tcp::DataPdu, cccid),
               "data for no command");
        return;
    }
    if (slot->transfer != Transfer::FromController || !slot->capsule_sent || slot->last_data_seen) {
        broken(FatalError::SequenceError, 0, "data that no command asked for");
        return;
    }
    if (pdu.datao != slot->moved || decoder_.frame().data_size > slot->length - slot->moved) {
        broken(FatalError::DataOutOfRange, 0, "data outside of the command's range");
        return;
    }
    // SUCCESS stands for the answer, so it comes with the last data. It may be used where SQ flow
    // control is off; we always ask for that and need no SQHD, so it is taken in any case.
    if ((decoder_.frame().flags & nvme::tcp::kSuccess) != 0 &&
        (decoder_.frame().flags & nvme::tcp::kLastPdu) == 0) {
        broken(FatalError::InvalidHeaderField, offsetof(CommonHeader, flags),
               "a SUCCESS flag where none may be");
        return;
    }
    data_slot_ = slot;
}

// NVMe/TCP Transport 1.0 §3.6.2.10; one R2T at a time as ICReq's MAXR2T said (§3.4.1.1).
void QueuePair::on_r2t(std::span<const std::byte> block) {
    const auto pdu = header_of<nvme::tcp::R2t>(block);
    Slot* slot = find(pdu.cccid);
    if (slot == nullptr) {
        broken(FatalError::InvalidHeaderField, offsetof(nvme::tcp::R2t, cccid),
               "R2T for no command");
        return;
    }
    if (slot->transfer != Transfer::ToController || slot->in_capsule || !slot->capsule_sent ||
        slot->answered) {
        broken(FatalError::SequenceError, 0, "R2T for a command without data to send");
        return;
    }
    if (slot->queued || slot->moved != slot->asked_end) {
        broken(FatalError::DataLimitExceeded, 0, "a second R2T before the first one's data");
        return;
    }
    if (pdu.r2to != slot->asked_end || pdu.r2tl == 0 || pdu.r2tl > slot->length - slot->asked_end) {
        broken(FatalError::DataOutOfRange, 0, "R2T outside of the command's range");
        return;
    }
    slot->ttag = pdu.ttag;
    slot->asked_end += pdu.r2tl;
    next_data_pdu(*slot);
}

void QueuePair::on_term_req(std::span<const std::byte> block) {
    const auto pdu = header_of<nvme::tcp::TermReq>(block);
    fail(error_of(ErrorKind::Unavailable,
                  "the controller ended the connection, fatal error status " +
                      std::to_string(pdu.fes.get()) + ", information " +
                      std::to_string(pdu.fei.get())));
}

}  // namespace remora::backends::nvme_tcp
