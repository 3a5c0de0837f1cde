// SPDX-License-Identifier: Apache-2.0
// QueuePair, the receiving half: bytes are received into the reactor's staging memory and parsed
// where they lie. Only a header that is cut by the end of a receive is kept aside. Payload is
// copied once, or received straight into the segments when much of it is still to come.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "backends/nvme_tcp/queue_pair.h"
#include "core/byte_reader.h"
#include "core/probe.h"
#include "nvme/tcp/digest.h"

namespace remora::backends::nvme_tcp {

using core::ErrorKind;
using core::Segment;
using nvme::tcp::CommonHeader;
using nvme::tcp::FatalError;
using nvme::tcp::PduType;

namespace {

constexpr std::size_t kDirectBytes = std::size_t{32} * 1024;
constexpr std::size_t kDirectSegments = 64;
static_assert(kDirectSegments < reactor::Reactor::kSegments);  // staging follows
// While long payloads are awaited, so much is received into staging at most: a long one's header
// and a little, so that the rest of it is received in place.
constexpr std::size_t kLookahead = std::size_t{16} * 1024;
// A connection's share of a turn; then the others have theirs.
constexpr int kReceivesPerTurn = 16;

}  // namespace

void QueuePair::on_ready(reactor::Readiness readiness) {
    if (readiness.writable && tx_blocked_) {
        tx_blocked_ = false;
        if (tx_count_ > 0) {
            reactor_.flush_later(*this);
        }
    }
    hangup_ |= readiness.hangup;
    if (readiness.readable || readiness.hangup) {
        run();
    }
}

void QueuePair::run() {
    if (state_ == State::Failed) {
        discard();
    } else {
        receive();
    }
}

void QueuePair::receive() {
    for (int i = 0; i < kReceivesPerTurn; ++i) {
        std::size_t direct = 0;
        std::size_t asked = 0;
        const std::ptrdiff_t got = receive_once(direct, asked);
        if (got == -EAGAIN) {
            return;
        }
        if (got <= 0) {
            end_of_stream_ = true;
            orderly_end_ = got == 0;
            fail(error_of(ErrorKind::Unavailable, got == 0 ? "the controller closed the connection"
                                                           : "the connection broke"));
            return;
        }
        ++stats_.receives;
        last_progress_ = reactor_.now();
        place(static_cast<std::size_t>(got));
        deliver();
        if (state_ != State::Handshake && state_ != State::Open) {
            discard();
            return;
        }
        // Nothing is left when fewer bytes came than were asked for; but the end of the stream may
        // hide behind them, and a guest that has cut its memory cuts what is received into it.
        const auto bytes = static_cast<std::size_t>(got);
        if (bytes > direct && bytes < asked && !hangup_) {
            return;
        }
    }
    if (!Runnable::linked()) {
        reactor_.run_soon(*this);
    }
}

/// After the end: nothing is believed any more, only the controller's end of it waited for.
void QueuePair::discard() {
    for (int i = 0; i < kReceivesPerTurn && !end_of_stream_; ++i) {
        const auto staging = reactor_.staging();
        const Segment segment{staging.data(), staging.size()};
        const std::ptrdiff_t got = stream_->recv(std::span(&segment, 1));
        if (got == -EAGAIN) {
            return;
        }
        if (got <= 0) {
            end_of_stream_ = true;
            orderly_end_ = got == 0;
            changed_.notify();
            return;
        }
    }
    if (!end_of_stream_ && !Runnable::linked()) {
        reactor_.run_soon(*this);
    }
}

/// One receive: into the segments first (`direct` bytes) when a long payload is under way, then
/// into staging.
std::ptrdiff_t QueuePair::receive_once(std::size_t& direct, std::size_t& asked) {
    const std::span<Segment> into = reactor_.segments();
    std::size_t count = 0;
    asked = 0;
    if (receiving_ == Receiving::Data && data_slot_ != nullptr && data_left_ >= kDirectBytes) {
        REMORA_COVER("host: a payload is received in its place");
        core::SegmentCursor cursor = data_slot_->cursor;
        while (count < kDirectSegments && asked < data_left_) {
            const Segment run = cursor.peek(data_left_ - asked);
            CHECK(run.size > 0);
            into[count++] = run;
            cursor.advance(run.size);
            asked += run.size;
        }
    }
    direct = asked;
    // Staging may follow only where the payload ends: the bytes are parsed in order.
    if (count == 0 || asked == data_left_) {
        auto staging = reactor_.staging();
        if (large_reads_ > 0) {
            staging = staging.first(kLookahead);
        }
        into[count++] = {staging.data(), staging.size()};
        asked += staging.size();
    }
    return stream_->recv(into.first(count));
}

/// Accounts for what receive_once got: the part that is in its place already, then staging.
void QueuePair::place(std::size_t bytes) {
    std::size_t direct = 0;
    if (receiving_ == Receiving::Data && data_slot_ != nullptr && data_left_ >= kDirectBytes) {
        core::SegmentCursor& cursor = data_slot_->cursor;
        for (std::size_t i = 0; i < kDirectSegments && direct < bytes && data_left_ > 0; ++i) {
            const Segment run = cursor.peek(std::min(data_left_, bytes - direct));
            if (decoder_.frame().data_digest) {
                data_crc_.update({run.data, run.size});
            }
            cursor.advance(run.size);
            data_left_ -= run.size;
            direct += run.size;
        }
        if (data_left_ == 0) {
            receiving_ = Receiving::DataDigest;
            if (!decoder_.frame().data_digest) {
                data_complete();
            }
        }
    }
    parse(reactor_.staging().first(bytes - direct));
}

void QueuePair::parse(std::span<const std::byte> bytes) {
    while (!bytes.empty() && (state_ == State::Open || state_ == State::Handshake)) {
        std::size_t taken = 0;
        switch (receiving_) {
            case Receiving::Header:
                taken = take_header(bytes);
                break;
            case Receiving::Data:
                taken = take_data(bytes);
                break;
            case Receiving::DataDigest:
                taken = take_data_digest(bytes);
                break;
        }
        bytes = bytes.subspan(taken);
    }
}

bool QueuePair::decode_common(const std::byte* bytes) {
    if (const auto good = decoder_.decode(bytes); !good) {
        std::memcpy(header_.data(), bytes, sizeof(CommonHeader));
        header_have_ = sizeof(CommonHeader);
        fail_with(error_of(ErrorKind::Unavailable, "it sent a malformed PDU header"),
                  &good.error());
        return false;
    }
    return true;
}

std::size_t QueuePair::take_header(std::span<const std::byte> bytes) {
    if (header_have_ == 0 && bytes.size() >= sizeof(CommonHeader)) {
        if (!decode_common(bytes.data())) {
            return bytes.size();
        }
        const std::size_t block = decoder_.frame().header_block;
        if (bytes.size() >= block) {
            header_complete(bytes.first(block));
            return block;
        }
    }
    REMORA_COVER("host: a PDU is cut inside its header");
    // Cut: gather the common header, then the rest, in the connection's own memory.
    const std::size_t wanted =
        header_have_ < sizeof(CommonHeader) ? sizeof(CommonHeader) : decoder_.frame().header_block;
    const std::size_t taken = std::min(bytes.size(), wanted - header_have_);
    std::memcpy(header_.data() + header_have_, bytes.data(), taken);
    header_have_ += taken;
    if (header_have_ < wanted) {
        return taken;
    }
    if (wanted == sizeof(CommonHeader)) {
        // Every header is longer than the common one, so there is more to gather.
        if (!decode_common(header_.data())) {
            return bytes.size();
        }
        return taken;
    }
    header_have_ = 0;
    header_complete(std::span<const std::byte>(header_).first(wanted));
    return taken;
}

void QueuePair::header_complete(std::span<const std::byte> block) {
    ++stats_.pdus_received;
    if (decoder_.frame().header_digest) {
        const auto good = nvme::tcp::check_header_digest(block, decoder_.frame().header_size);
        if (!good) {
            REMORA_COVER("host: a header digest is wrong");
            ++stats_.digest_errors;
            header_have_ = decoder_.frame().header_size;
            std::memmove(header_.data(), block.data(), header_have_);
            fail_with(error_of(ErrorKind::Unavailable, "a header digest does not match"),
                      &good.error());
            return;
        }
    }
    receiving_ = decoder_.frame().data_size > 0 ? Receiving::Data : Receiving::Header;
    data_slot_ = nullptr;
    data_left_ = decoder_.frame().data_size;
    data_crc_ = {};
    digest_have_ = 0;
    const bool handshake = state_ == State::Handshake;
    // The offending header goes into the TermReq, if one of these sends it.
    header_have_ = decoder_.frame().header_size;
    std::memmove(header_.data(), block.data(), header_have_);
    switch (decoder_.frame().type) {
        case PduType::IcResp:
            on_ic_resp(block);
            break;
        case PduType::CapsuleResp:
            handshake ? broken(FatalError::SequenceError, 0, "an answer before ICResp")
                      : on_capsule_resp(block);
            break;
        case PduType::C2hData:
            handshake ? broken(FatalError::SequenceError, 0, "data before ICResp") : on_data(block);
            break;
        case PduType::R2t:
            handshake ? broken(FatalError::SequenceError, 0, "R2T before ICResp") : on_r2t(block);
            break;
        case PduType::C2hTermReq:
            on_term_req(block);
            break;
        case PduType::IcReq:
        case PduType::H2cTermReq:
        case PduType::CapsuleCmd:
        case PduType::H2cData:
            CHECK(false);  // decode_frame() lets only PDUs to a host through
    }
    header_have_ = 0;
}

void QueuePair::deliver() {
    if (done_.empty() || delivering_) {
        return;
    }
    delivering_ = true;
    handler_.on_completions(done_);
    done_.clear();
    delivering_ = false;
}

/// One pass over the payload for the digest and the copy.
void QueuePair::copy_with_digest(std::span<const std::byte> bytes) {
    core::SegmentCursor& cursor = data_slot_->cursor;
    while (!bytes.empty()) {
        const Segment to = cursor.peek(bytes.size());
        CHECK(to.size > 0);  // data beyond the command's length was refused with its header
        data_crc_.update_and_copy(bytes.first(to.size), to.data);
        cursor.advance(to.size);
        bytes = bytes.subspan(to.size);
    }
}

std::size_t QueuePair::take_data(std::span<const std::byte> bytes) {
    const auto run = bytes.first(std::min(bytes.size(), data_left_));
    if (data_slot_ != nullptr) {
        if (decoder_.frame().data_digest) {
            copy_with_digest(run);
        } else {
            data_slot_->cursor.copy_in(run);
        }
    }
    data_left_ -= run.size();
    if (data_left_ == 0) {
        receiving_ = Receiving::DataDigest;
        if (!decoder_.frame().data_digest) {
            data_complete();
        }
    }
    return run.size();
}

std::size_t QueuePair::take_data_digest(std::span<const std::byte> bytes) {
    const std::size_t taken = std::min(bytes.size(), digest_.size() - digest_have_);
    std::memcpy(digest_.data() + digest_have_, bytes.data(), taken);
    digest_have_ += taken;
    if (digest_have_ == digest_.size()) {
        if (nvme::tcp::load_digest(digest_) != data_crc_.value()) {
            ++stats_.digest_errors;
            REMORA_COVER("host: a data digest is wrong");
            data_slot_->corrupt = true;
        }
        data_complete();
    }
    return taken;
}

void QueuePair::data_complete() {
    receiving_ = Receiving::Header;
    Slot* slot = std::exchange(data_slot_, nullptr);
    if (slot == nullptr) {
        return;
    }
    slot->moved += decoder_.frame().data_size;
    slot->last_data_seen = (decoder_.frame().flags & nvme::tcp::kLastPdu) != 0;
    if ((decoder_.frame().flags & nvme::tcp::kSuccess) != 0) {
        completed(*slot, nvme::spec::Completion{});
    }
}

}  // namespace remora::backends::nvme_tcp
