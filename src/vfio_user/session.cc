// SPDX-License-Identifier: Apache-2.0
// The session's life: messages in and answers out, requests drained, the end.
#include "vfio_user/session.h"

#include <utility>

#include "core/check.h"
#include "core/log.h"
#include "core/probe.h"

namespace remora::vfio_user {

using log::kv;

Session::Session(reactor::Reactor& reactor,
                 std::unique_ptr<reactor::Stream> stream,
                 SessionDevice& device,
                 const IrqCounts& irqs,
                 std::string name)
    : reactor_(reactor),
      device_(device),
      name_(std::move(name)),
      memory_(reactor.io()),
      irqs_(reactor.io(), irqs, *this),
      migration_(device),
      connection_(reactor.io(), std::move(stream), *this) {}

Session::~Session() {
    CHECK(state_ == State::Closed && idle_);
    unlink();
}

bool Session::on_message(Message& message) {
    if (state_ != State::Greeting && state_ != State::Open) {
        return false;  // shutting down: the message stays unanswered and the stream closes
    }
    if (state_ == State::Greeting && message.command() != Command::Version) {
        close("a command before the version was agreed on");
        return true;
    }
    return settle(message, handle(message));
}

/// With the bytes and the handle of one that is Done, or with the errno of one that is not.
void Session::reply(const Header& to, const Outcome& outcome) {
    const bool done = outcome.kind == Outcome::Kind::Done;
    Header header = to;
    header.size = static_cast<std::uint32_t>(sizeof(Header) + outcome.bytes);
    header.flags = done ? header_flags::kReply : header_flags::kReply | header_flags::kError;
    header.error = static_cast<std::uint32_t>(outcome.error);
    connection_.reply(header, outcome.bytes, outcome.handle);
}

// Answers a handled message. Returns whether it is dealt with.
bool Session::settle(const Message& message, const Outcome& outcome) {
    switch (outcome.kind) {
        case Outcome::Kind::Wait:
            return false;
        case Outcome::Kind::Done:
            if (message.needs_reply()) {
                reply(message.header, outcome);
            }
            return true;
        case Outcome::Kind::Refused:
            // Said once: a client may ask for the same thing for ever.
            if (refusals_++ == 0) {
                log::warn("vfio-user message refused", kv("device", name_),
                          kv("message", to_string(message.command())),
                          kv("reason", core::errno_text(outcome.error)));
            }
            if (message.needs_reply()) {
                reply(message.header, outcome);
            }
            return true;
        case Outcome::Kind::Fatal:
            close(std::string(to_string(message.command())) + ": " + outcome.reason);
            return true;
    }
    return true;
}

void Session::resume(const Outcome& outcome) {
    if (state_ != State::Open) {
        return;  // nobody waits for the answer any more
    }
    if (settle(connection_.message(), outcome) && connection_.open()) {
        connection_.finish_message();
    }
}

void Session::on_memory_idle() {
    CHECK(waiting_ == Waiting::Unmap || waiting_ == Waiting::UnmapAll);
    memory_.release();
    if (std::exchange(waiting_, Waiting::No) == Waiting::UnmapAll) {
        resume(unmap_all());
        return;
    }
    resume(answer_unmap());
}

void Session::on_reset_done() {
    CHECK(std::exchange(waiting_, Waiting::No) == Waiting::Reset);
    irqs_.reset();
    migration_.reset();
    resume(done());
}

void Session::on_connection_lost(std::string reason) {
    close(reason);
}

void Session::fail_soon(std::string reason) {
    if (state_ != State::Closed && !failing_) {
        failing_ = true;
        failure_ = std::move(reason);
        if (!linked()) {
            reactor_.run_soon(*this);
        }
    }
}

void Session::shut_down() {
    if (state_ != State::Open && state_ != State::Greeting) {
        return;
    }
    state_ = State::Stopping;
    if (device_.stop(true)) {
        close("");
    }
}

SessionState Session::freeze() {
    CHECK(can_freeze());
    return {.connection = connection_.freeze(), .memory = memory_.save(), .irqs = irqs_.freeze()};
}

std::expected<void, int> Session::restore(const SessionState& from) {
    CHECK(state_ == State::Greeting);
    state_ = State::Open;
    std::expected<void, int> outcome;
    for (const MemoryState& entry : from.memory) {
        reactor::Handle handle = entry.handle;
        auto added = memory_.add(entry.request, handle);
        if (handle != reactor::kNoHandle) {
            reactor_.io().close(handle);
        }
        if (!added && outcome) {
            outcome = added;
        }
    }
    irqs_.restore(from.irqs);
    connection_.restore(from.connection);
    return outcome;
}

// Ends the connection at once; requests under way are given up.
void Session::close(const std::string& reason) {
    if (state_ == State::Closed) {
        return;
    }
    state_ = State::Closed;
    if (reason.empty()) {
        log::info("vfio-user session closed", kv("device", name_));
    } else {
        log::warn("vfio-user session failed", kv("device", name_), kv("reason", reason));
    }
    connection_.close();
    if (device_.stop(false)) {
        end_soon();
    } else {
        REMORA_COVER("vfio-user: the client is gone with requests under way");
    }
}

void Session::on_stopped() {
    CHECK(state_ == State::Stopping || state_ == State::Closed);
    if (state_ == State::Stopping) {
        close("");
    } else {
        end_soon();
    }
}

void Session::end_soon() {
    idle_ = true;
    if (!linked()) {
        reactor_.run_soon(*this);
    }
}

void Session::run() {
    if (state_ != State::Closed) {
        if (std::exchange(failing_, false)) {
            close(failure_);
        }
        return;
    }
    if (idle_) {
        memory_.clear();
        device_.on_session_ended();  // may have destroyed this session
    }
}

}  // namespace remora::vfio_user
