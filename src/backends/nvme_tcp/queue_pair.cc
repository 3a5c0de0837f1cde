// SPDX-License-Identifier: Apache-2.0
#include "backends/nvme_tcp/queue_pair.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "backends/nvme_tcp/fabrics.h"
#include "core/byte_reader.h"
#include "core/prefetch.h"
#include "core/probe.h"
#include "nvme/tcp/digest.h"
#include "reactor/connect.h"

namespace remora::backends::nvme_tcp {

using core::ErrorKind;
using nvme::tcp::CapsuleCmd;
using nvme::tcp::PduType;

QueuePair::QueuePair(reactor::Reactor& reactor, QueuePairHandler& handler, QueuePairOptions options)
    : reactor_(reactor),
      handler_(handler),
      options_(std::move(options)),
      slot_count_(options_.queue_size - 1),
      slots_(std::make_unique<Slot[]>(slot_count_)),
      tx_(slot_count_) {
    CHECK(options_.queue_size >= 2 && options_.queue_size <= kMaxQueueSize);
    free_.reserve(slot_count_);
    done_.reserve(slot_count_);
    for (std::size_t i = slot_count_; i-- > 0;) {
        slots_[i].cid = static_cast<std::uint16_t>(i);
        free_.push_back(static_cast<std::uint16_t>(i));
    }
    decoder_.new_rules().direction = nvme::tcp::Direction::ToHost;
    // How much is right depends on the command: on_data() checks the range.
    decoder_.new_rules().max_data = ~0U;
}

QueuePair::~QueuePair() {
    CHECK(state_ == State::Idle || state_ == State::Closed);
}

std::string QueuePair::name() const {
    return (options_.queue_id == 0 ? "admin queue"
                                   : "I/O queue " + std::to_string(options_.queue_id)) +
           " of " + options_.endpoint.text();
}

core::Error QueuePair::error_of(ErrorKind kind, const std::string& what) const {
    return {kind, name() + ": " + what};
}

Task<Result<void>> QueuePair::open() {
    CHECK(state_ == State::Idle);
    const Nanos deadline = reactor_.now() + options_.connect_timeout;
    auto stream = co_await reactor::connect(options_.endpoint, deadline);
    if (!stream || state_ != State::Idle) {
        const core::Error reason = stream ? reason_ : stream.error();  // given up meanwhile?
        state_ = State::Closed;
        co_return std::unexpected(reason);
    }
    stream_ = std::move(*stream);
    state_ = State::Handshake;
    stream_->set_handler(this);
    auto done = co_await handshake(reactor_.now() + options_.connect_timeout);
    if (done) {
        done = co_await connect_queue();
    }
    if (!done) {
        fail(done.error());
    }
    co_return done;
}

// NVMe/TCP Transport 1.0 §3.1: ICReq is the first PDU of a connection, ICResp its answer.
Task<Result<void>> QueuePair::handshake(Nanos deadline) {
    nvme::tcp::IcReq request;
    request.header.type = static_cast<std::uint8_t>(PduType::IcReq);
    request.header.hlen = sizeof(request);
    request.header.plen = std::uint32_t{sizeof(request)};
    request.dgst =
        static_cast<std::uint8_t>((options_.header_digest ? nvme::tcp::kDgstHeader : 0U) |
                                  (options_.data_digest ? nvme::tcp::kDgstData : 0U));
    // HPDA 0: no alignment needed. MAXR2T 0: one R2T at a time for a command.
    const auto bytes = core::as_writable_bytes_of(request);
    const core::Segment segment{bytes.data(), bytes.size()};
    if (stream_->send(std::span(&segment, 1)) != static_cast<std::ptrdiff_t>(sizeof(request))) {
        co_return std::unexpected(error_of(ErrorKind::Unavailable, "it does not take an ICReq"));
    }
    while (state_ == State::Handshake) {
        const bool notified = co_await changed_.wait_until(deadline);
        if (!notified && state_ == State::Handshake) {
            co_return std::unexpected(
                error_of(ErrorKind::DeadlineExceeded, "no answer to ICReq in time"));
        }
    }
    if (state_ != State::Open) {
        co_return std::unexpected(reason_);
    }
    co_return Result<void>{};
}

Task<Result<void>> QueuePair::connect_queue() {
    nvme::spec::ConnectData data = connect_data(options_);
    const auto bytes = core::as_writable_bytes_of(data);
    const core::Segment segment{bytes.data(), bytes.size()};
    Command command;
    command.entry = connect_command(options_);
    command.transfer = Transfer::ToController;
    command.segments = std::span(&segment, 1);
    command.length = std::uint32_t{sizeof(data)};
    const Nanos deadline = reactor_.now() + options_.connect_timeout;
    const Result<CommandResult> answer = co_await execute(command, deadline);
    if (!answer) {
        co_return std::unexpected(answer.error());
    }
    if (answer->status != 0) {
        co_return std::unexpected(connect_refusal(options_, *answer));
    }
    options_.cntlid = static_cast<std::uint16_t>(answer->dw0 & 0xffffU);
    connected_ = true;
    co_return Result<void>{};
}

void QueuePair::submit(const Command& command) {
    CHECK(has_room());
    if (outstanding() == 0) {
        last_progress_ = reactor_.now();
    }
    Slot& slot = slots_[free_.back()];
    free_.pop_back();
    if (!free_.empty()) {
        core::prefetch_lines_to_write(&slots_[free_.back()], Slot::kHotBytes);
    }
    DCHECK(!slot.busy && !slot.queued);
    slot.busy = true;
    slot.capsule_sent = false;
    slot.exact = command.exact;
    slot.corrupt = false;
    slot.last_data_seen = false;
    slot.answered = false;
    slot.transfer = command.transfer;
    slot.length = command.length;
    slot.moved = 0;
    slot.asked_end = 0;
    slot.token = command.token;
    slot.call = command.call;
    slot.submitted = reactor_.now();
    if (command.has_small) {
        slot.small = command.small;
        slot.small_segment = {slot.small.data(), slot.small.size()};
        slot.cursor = core::SegmentCursor(std::span(&slot.small_segment, 1));
    } else {
        slot.cursor = core::SegmentCursor(command.segments);
        slot.cursor.advance(command.offset);
    }
    large_reads_ += slot.large_read() ? 1U : 0U;
    build_capsule(slot, command);
    ++stats_.commands;
    queue(slot);
}

// NVMe/TCP Transport 1.0 §3.6.2.6 (Command Capsule PDU); NVMe Base 2.0, SGLs: data in the capsule
// by an offset descriptor, any other by a transport descriptor.
void QueuePair::build_capsule(Slot& slot, const Command& command) {
    const bool fabrics = command.entry.opcode == nvme::spec::kFabricsOpcode;
    const std::uint32_t in_capsule_limit =
        fabrics || options_.queue_id == 0 ? nvme::tcp::kAdminInCapsuleBytes : options_.in_capsule;
    slot.in_capsule = command.transfer == Transfer::ToController && command.length > 0 &&
                      command.length <= in_capsule_limit;
    // Built where it is sent from: a copy would be read back before it is written.
    static_assert(sizeof(CapsuleCmd) <= sizeof(slot.header) && alignof(CapsuleCmd) == 1);
    CapsuleCmd& pdu = *new (slot.header.data()) CapsuleCmd;
    pdu.command = command.entry;
    pdu.command.cid = slot.cid;
    pdu.command.flags = nvme::spec::kFlagsSgl;
    pdu.command.sgl = {};
    pdu.command.sgl.length = command.length;
    pdu.command.sgl.identifier =
        slot.in_capsule ? nvme::spec::kSglInCapsule : nvme::spec::kSglTransport;
    pdu.header.type = static_cast<std::uint8_t>(PduType::CapsuleCmd);
    seal(slot, sizeof(pdu), slot.in_capsule ? command.length : 0);
}

Task<Result<CommandResult>> QueuePair::execute(Command command, Nanos deadline) {
    if (state_ != State::Open) {
        co_return std::unexpected(reason_);
    }
    if (free_.empty()) {
        co_return std::unexpected(
            error_of(ErrorKind::ResourceExhausted, "as many commands as it takes are outstanding"));
    }
    Call call;
    command.call = &call;
    submit(command);
    while (!call.result) {
        const bool notified = co_await call.done.wait_until(deadline);
        if (!notified && !call.result) {
            fail(error_of(ErrorKind::DeadlineExceeded, "a command was not answered in time"));
        }
    }
    co_return std::move(*call.result);
}

void QueuePair::fail(core::Error reason) {
    fail_with(std::move(reason), nullptr);
}

void QueuePair::fail_with(core::Error reason, const nvme::tcp::Fault* fault) {
    if (state_ == State::Idle) {
        state_ = State::Closed;
        reason_ = std::move(reason);
        return;
    }
    if (state_ != State::Handshake && state_ != State::Open) {
        return;
    }
    state_ = State::Failed;
    reason_ = std::move(reason);
    if (fault != nullptr) {
        send_term_req(*fault);
    }
    tx_count_ = 0;
    if (tx_blocked_) {
        REMORA_COVER("host: a connection ends with its socket full");
        tx_blocked_ = false;
    }
    Flushable::unlink();
    receiving_ = Receiving::Header;
    data_slot_ = nullptr;
    changed_.notify();
    // What had been completed before counts.
    deliver();
    end_calls();
    handler_.on_down(reason_);
    release_all();
}

void QueuePair::end_calls() {
    for (std::size_t i = 0; i < slot_count_; ++i) {
        if (slots_[i].busy && slots_[i].call != nullptr) {
            slots_[i].call->result = std::unexpected(reason_);
            slots_[i].call->done.notify();
        }
    }
}

void QueuePair::release_all() {
    free_.clear();
    large_reads_ = 0;
    for (std::size_t i = slot_count_; i-- > 0;) {
        slots_[i].busy = false;
        slots_[i].queued = false;
        slots_[i].call = nullptr;
        free_.push_back(static_cast<std::uint16_t>(i));
    }
}

Task<bool> QueuePair::close(Nanos linger) {
    fail(error_of(ErrorKind::Aborted, "closed by this host"));
    // An end that was there before we asked for it, or that is none of good order, may come from a
    // network or a system that knows nothing of what the controller still executes.
    const bool asked = stream_ && !end_of_stream_;
    if (stream_) {
        if (!end_of_stream_) {
            stream_->shutdown_send();
        }
        const Nanos deadline = reactor_.now() + linger;
        while (!end_of_stream_) {
            const bool notified = co_await changed_.wait_until(deadline);
            if (!notified) {
                break;
            }
        }
        stream_->set_handler(nullptr);
        stream_.reset();
    }
    Runnable::unlink();
    Flushable::unlink();
    state_ = State::Closed;
    const bool answered = asked && orderly_end_;
    co_return answered;
}

QueuePair::Oldest QueuePair::oldest() const {
    Oldest oldest;
    for (std::size_t i = 0; i < slot_count_; ++i) {
        if (slots_[i].busy && slots_[i].submitted < oldest.submitted) {
            oldest = {slots_[i].submitted, slots_[i].cid};
        }
    }
    return oldest;
}

}  // namespace remora::backends::nvme_tcp
