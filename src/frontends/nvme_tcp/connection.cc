// SPDX-License-Identifier: Apache-2.0
// Connection: life cycle.
#include "frontends/nvme_tcp/connection.h"

#include <algorithm>
#include <cstring>
#include <initializer_list>

#include "core/log.h"
#include "frontends/nvme_tcp/association.h"
#include "frontends/nvme_tcp/replica.h"
#include "frontends/nvme_tcp/shard.h"

namespace remora::frontends::nvme_tcp {

using nvme::tcp::CommonHeader;
using nvme::tcp::TermReq;

Connection::Connection(Shard& shard,
                       std::uint64_t id,
                       std::unique_ptr<reactor::Stream> stream,
                       Endpoint listener)
    : shard_(shard),
      id_(id),
      stream_(std::move(stream)),
      listener_(std::move(listener)),
      timer_(*this) {
    stats_.id = id_;
    stats_.reactor = shard_.index();
    stats_.peer = stream_->peer();
    decoder_.new_rules().direction = nvme::tcp::Direction::ToController;
    // Every controller takes this much with a Connect (NVMe/TCP Transport Specification 1.0, ICReq
    // and admin queue in-capsule data).
    decoder_.new_rules().max_in_capsule = nvme::tcp::kAdminInCapsuleBytes;
    decoder_.new_rules().max_data = shard_.limits().max_h2c_data;
}

Connection::~Connection() {
    CHECK(closing() && in_flight_ == 0 && !connecting_ && out_.empty() && waiting_.empty());
    CHECK(held_bytes_ == 0 && read_bytes_ == 0 && loans_ == 0 && fenced_.empty());
    while (free_.pop_front() != nullptr) {
    }
}

void Connection::start() {
    stream_->set_handler(this);
    arm(shard_.limits().handshake);
}

void Connection::arm(Nanos delay) {
    shard_.reactor().arm(timer_, shard_.reactor().now() + delay);
}

void Connection::on_ready(reactor::Readiness readiness) {
    hangup_ = hangup_ || readiness.hangup;
    if (readiness.writable) {
        blocked_ = false;
        if (!out_.empty()) {
            shard_.reactor().flush_later(*this);
        }
    }
    if (!readiness.readable && !readiness.hangup) {
        return;
    }
    if (state_ == State::Terminating) {
        discard_input();
    } else if (!closing()) {
        receive();
    }
}

void Connection::run_later() {
    if (!static_cast<core::ListHook<reactor::Runnable>&>(*this).linked()) {
        shard_.reactor().run_soon(*this);
    }
}

void Connection::run() {
    if (closing()) {
        if (in_flight_ == 0 && !connecting_) {
            shard_.remove(*this);  // deletes this
        }
        return;
    }
    if (std::exchange(resume_, false)) {
        if (state_ == State::Terminating) {
            discard_input();
        } else {
            receive();
        }
    }
}

void Connection::on_timer(reactor::Timer& /*timer*/) {
    switch (state_) {
        case State::AwaitIcReq:
        case State::AwaitConnect:
        case State::Connecting:
            close("handshake timeout");
            break;
        case State::Live:
            watch_debts();
            break;
        case State::Terminating:
            close("protocol error");
            break;
        case State::Closing:
            break;
    }
}

void Connection::watch_debts() {
    ++looks_;
    watch_fused();
    if (peer_stalls()) {
        close("peer stalled");
        return;
    }
    arm(shard_.limits().stall);
}

/// A peer that owes us the rest of a PDU or of a write, or takes no answers, holds buffers. Each
/// debt has a deadline of its own, between one period of the watch and two, that nothing else the
/// peer does puts off: it remembers the look after which it began, so that no I/O asks the clock.
bool Connection::peer_stalls() const {
    const bool mid_pdu = incoming_.phase == Phase::Payload || incoming_.phase == Phase::Digest ||
                         (incoming_.phase == Phase::Header && incoming_.have > 0);
    if (mid_pdu && overdue(incoming_.since)) {
        return true;
    }
    if (!out_.empty() && overdue(out_.front()->since)) {
        return true;
    }
    if (awaited_bytes_ == 0) {
        return false;
    }
    return std::ranges::any_of(std::span(slots_.get(), depth_), [this](const Slot& slot) {
        return slot.state == SlotState::AwaitingData && overdue(slot.since);
    });
}

void Connection::peer_closed() {
    close("peer closed");
}

void Connection::close(const char* reason) {
    if (closing()) {
        return;
    }
    log::debug("nvme/tcp connection closed", log::kv("peer", stats_.peer),
               log::kv("cntlid", cntlid_), log::kv("qid", qid_), log::kv("reason", reason));
    if (association_ != nullptr && association_->replica() != nullptr) {
        log::info("controller disconnected", log::kv("subsystem", association_->replica()->nqn()),
                  log::kv("host", stats_.hostnqn), log::kv("cntlid", cntlid_),
                  log::kv("reason", reason));
    }
    log_unfinished(reason);
    state_ = State::Closing;
    timer_.cancel();
    stream_->set_handler(nullptr);
    static_cast<core::ListHook<reactor::Flushable>&>(*this).unlink();
    core::ListHook<>::unlink();
    if (association_ != nullptr) {
        std::exchange(association_, nullptr)->admin_closed();
    }
    drop_slots();
    run_later();
}

/// Where the commands of a queue stood when it ended: whose answer was missing.
void Connection::log_unfinished(const char* reason) const {
    const auto in = [slots = std::span(slots_.get(), slots_ == nullptr ? 0 : depth_)](
                        std::initializer_list<SlotState> states) {
        return std::ranges::count_if(slots, [states](const Slot& slot) {
            return std::ranges::find(states, slot.state) != states.end();
        });
    };
    const auto volume = in({SlotState::Executing, SlotState::Fenced, SlotState::Paired});
    const auto buffer = in({SlotState::WaitingBuffer});
    const auto data = in({SlotState::Receiving, SlotState::R2tQueued, SlotState::AwaitingData});
    const auto answer = in({SlotState::Answering});
    if (qid_ != 0 && volume + buffer + data + answer > 0) {
        log::info("nvme/tcp queue closed with commands unfinished", log::kv("peer", stats_.peer),
                  log::kv("cntlid", cntlid_), log::kv("qid", qid_), log::kv("reason", reason),
                  log::kv("in_the_volume", volume), log::kv("waiting_for_a_buffer", buffer),
                  log::kv("waiting_for_the_hosts_data", data), log::kv("answer_not_taken", answer));
    }
}

void Connection::drop_slots() {
    incoming_.slot = nullptr;
    incoming_.to = nullptr;
    while (out_.pop_front() != nullptr) {
    }
    while (waiting_.pop_front() != nullptr) {
    }
    while (fenced_.pop_front() != nullptr) {
    }
    second_expected_ = false;
    fused_first_ = nullptr;
    // What was gathered in this turn has not reached the block layer.
    while (block::Request* request = batch_.pop_front()) {
        auto& slot = static_cast<Slot&>(*request);
        slot.pop_frame();
        --in_flight_;
        slot.target->leave();
        slot.target = nullptr;
        release_slot(slot);
    }
    batch_target_ = nullptr;
    end_pending_slot(connect_slot_);
    for (std::uint32_t i = 0; slots_ != nullptr && i < depth_; ++i) {
        end_pending_slot(slots_[i]);
    }
}

void Connection::end_pending_slot(Slot& slot) {
    switch (slot.state) {
        case SlotState::Free:
        case SlotState::Executing:  // complete() releases it
            break;
        case SlotState::Receiving:
        case SlotState::WaitingBuffer:
        case SlotState::Paired:
        case SlotState::Fenced:
        case SlotState::R2tQueued:
        case SlotState::AwaitingData:
        case SlotState::Held:
        case SlotState::Answering:
            release_slot(slot);
            break;
    }
}

void Connection::fail(nvme::tcp::Fault fault, Bytes header) {
    if (!accepts_input()) {
        return;
    }
    shard_.count_protocol_error();
    log::info("nvme/tcp protocol error", log::kv("peer", stats_.peer), log::kv("qid", qid_),
              log::kv("fes", static_cast<std::uint16_t>(fault.status)),
              log::kv("fei", fault.information));
    // NVMe/TCP Transport Specification 1.0 §3.6.2, C2HTermReq: the header of the bad PDU follows.
    const std::size_t quoted = std::min(header.size(), nvme::tcp::kTermReqMaxData);
    TermReq pdu{};
    pdu.header = CommonHeader{static_cast<std::uint8_t>(nvme::tcp::PduType::C2hTermReq), 0,
                              static_cast<std::uint8_t>(sizeof(TermReq)), 0,
                              static_cast<std::uint32_t>(sizeof(TermReq) + quoted)};
    pdu.fes = static_cast<std::uint16_t>(fault.status);
    pdu.fei = fault.information;
    std::memcpy(term_req_bytes_.data(), &pdu, sizeof(pdu));
    std::memcpy(term_req_bytes_.data() + sizeof(pdu), header.data(), quoted);
    state_ = State::Terminating;
    core::ListHook<>::unlink();
    while (waiting_.pop_front() != nullptr) {
    }
    term_req_.clear();
    term_req_.append(std::span(term_req_bytes_).first(sizeof(pdu) + quoted));
    enqueue(term_req_);
    arm(shard_.limits().linger);
    resume_ = true;  // throw away what is still in the socket, so that it closes without a reset
    run_later();
}

void Connection::discard_input() {
    constexpr int kRounds = 64;
    for (int i = 0; i < kRounds; ++i) {
        const core::Segment into{shard_.reactor().staging().data(),
                                 shard_.reactor().staging().size()};
        const std::ptrdiff_t received = stream_->recv(std::span(&into, 1));
        if (received == -EAGAIN) {
            return;
        }
        if (received <= 0) {
            close("protocol error");
            return;
        }
    }
    close("protocol error");
}

}  // namespace remora::frontends::nvme_tcp
