// SPDX-License-Identifier: Apache-2.0
#include "platform/qmp_client.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/log.h"
#include "core/segment.h"
#include "reactor/connect.h"
#include "reactor/reactor.h"

namespace remora::platform {

using core::ErrorKind;
using core::fail;
using core::Nanos;
using core::Result;
using reactor::Reactor;
using reactor::Task;

namespace {

/// The longest line taken. `query-pci` of a machine with 64 disks is about 150 KiB.
constexpr std::size_t kLongestLine = std::size_t{4} * 1024 * 1024;

/// Values in each other in one line. QEMU's own need some twenty; a copy of one takes stack for
/// each.
constexpr int kDeepestValue = 256;

/// The line's value; discarded when it is no JSON, or too deep.
nlohmann::json parse_line(std::string_view line) {
    using Json = nlohmann::json;
    bool too_deep = false;
    const auto watch = [&too_deep](int depth, Json::parse_event_t /*event*/, Json& /*value*/) {
        too_deep = too_deep || depth > kDeepestValue;
        return !too_deep;
    };
    Json value = Json::parse(line, watch, /*allow_exceptions=*/false);
    return too_deep ? Json(Json::value_t::discarded) : value;
}

/// The member as text; empty when it is missing or something else.
std::string text_of(const nlohmann::json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

int number_of(const nlohmann::json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_number_integer() ? found->get<int>() : 0;
}

QmpVersion version_of(const nlohmann::json& greeting) {
    const auto version = greeting.find("version");
    if (version == greeting.end() || !version->is_object()) {
        return {};
    }
    const auto qemu = version->find("qemu");
    if (qemu == version->end() || !qemu->is_object()) {
        return {};
    }
    return {number_of(*qemu, "major"), number_of(*qemu, "minor")};
}

Result<nlohmann::json> answer_of(const nlohmann::json& message) {
    if (const auto value = message.find("return"); value != message.end()) {
        return *value;
    }
    const auto error = message.find("error");
    if (error == message.end() || !error->is_object()) {
        return fail(ErrorKind::Unavailable, "QEMU sent an answer that is neither return nor error");
    }
    const auto kind = text_of(*error, "class") == "DeviceNotFound" ? ErrorKind::NotFound
                                                                   : ErrorKind::FailedPrecondition;
    return fail(kind, "QEMU says: " + text_of(*error, "desc"));
}

}  // namespace

QmpClient::DeletedWaiter::DeletedWaiter(QmpClient& client, std::string device)
    : client_(client), device_(std::move(device)) {
    client_.deleted_waiters_.push_back(this);
}

QmpClient::DeletedWaiter::~DeletedWaiter() {
    client_.deleted_waiters_.remove(this);
}

Task<QmpClient::DeletedWaiter::Outcome> QmpClient::DeletedWaiter::wait(Nanos deadline) {
    if (!outcome_ && client_.open_) {
        changed_.reset();
        co_await changed_.wait_until(deadline);
    }
    if (outcome_) {
        const Outcome outcome = *outcome_;
        outcome_.reset();
        co_return outcome;
    }
    co_return client_.open_ ? Outcome::TimedOut : Outcome::ConnectionLost;
}

QmpClient::~QmpClient() {
    CHECK(pending_.empty());
    CHECK(deleted_waiters_.empty());
}

Task<Result<void>> QmpClient::open(reactor::Endpoint endpoint, Nanos deadline) {
    CHECK(stream_ == nullptr);
    auto stream = co_await reactor::connect(endpoint, deadline);
    if (!stream) {
        co_return fail("QEMU's monitor at " + endpoint.text(), stream.error());
    }
    stream_ = std::move(*stream);
    reached_ = true;
    open_ = true;
    stream_->set_handler(this);
    if (!greeted_) {
        co_await greeting_.wait_until(deadline);
    }
    if (open_ && !greeted_) {
        close("QEMU's monitor at " + endpoint.text() +
              " sent no greeting in time; another client may hold it");
    }
    if (!open_) {
        co_return fail(ErrorKind::Unavailable, why_closed_);
    }
    auto negotiated = co_await execute("qmp_capabilities", Json::object(), deadline);
    if (!negotiated) {
        close("QEMU refused to negotiate: " + negotiated.error().message);
        co_return fail(ErrorKind::Unavailable, why_closed_);
    }
    co_return Result<void>();
}

Task<Result<QmpClient::Json>> QmpClient::execute(std::string command,
                                                 Json arguments,
                                                 Nanos deadline) {
    if (!open_) {
        co_return fail(ErrorKind::Unavailable, why_closed_);
    }
    const std::uint64_t id = next_id_++;
    Json message{{"execute", command}, {"id", id}};
    if (!arguments.empty()) {
        message["arguments"] = std::move(arguments);
    }
    Pending pending;
    pending_.emplace(id, &pending);
    // Bytes that are no UTF-8 are replaced, not thrown about: names may come from an operator.
    output_ += message.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
    send_pending_output();
    if (!pending.answer) {
        co_await pending.answered.wait_until(deadline);
    }
    pending_.erase(id);
    if (!pending.answer) {
        co_return fail(ErrorKind::DeadlineExceeded, "QEMU did not answer " + command + " in time");
    }
    co_return std::move(*pending.answer);
}

void QmpClient::on_ready(reactor::Readiness readiness) {
    if (readiness.writable) {
        send_pending_output();
    }
    if (readiness.readable || readiness.hangup) {
        while (open_ && receive_some()) {
        }
    }
}

bool QmpClient::receive_some() {
    const auto staging = Reactor::current().staging();
    const core::Segment into{staging.data(), staging.size()};
    const auto got = stream_->recv({&into, 1});
    if (got == -EAGAIN || got == -EWOULDBLOCK || got == -EINTR) {
        return got == -EINTR;
    }
    if (got <= 0) {
        close(got == 0
                  ? "QEMU closed its monitor"
                  : "QEMU's monitor: " + std::string(core::errno_text(static_cast<int>(-got))));
        return false;
    }
    input_.append(reinterpret_cast<const char*>(staging.data()), static_cast<std::size_t>(got));
    take_lines();
    return open_;
}

void QmpClient::take_lines() {
    std::size_t start = 0;
    while (open_) {
        const std::size_t end = input_.find('\n', start);
        if (end == std::string::npos) {
            break;
        }
        const std::string_view line = std::string_view(input_).substr(start, end - start);
        start = end + 1;
        if (line.find_first_not_of(" \t\r") == std::string_view::npos) {
            continue;
        }
        const Json message = parse_line(line);
        if (message.is_discarded() || !message.is_object()) {
            close("QEMU's monitor sent a line that is no JSON object");
            break;
        }
        take_message(message);
    }
    input_.erase(0, start);
    if (input_.size() > kLongestLine) {
        close("QEMU's monitor sent a line that does not end");
    }
}

void QmpClient::take_message(const Json& message) {
    if (!greeted_) {
        const auto greeting = message.find("QMP");
        if (greeting == message.end() || !greeting->is_object()) {
            close("what answers is not QEMU's monitor: it sent no QMP greeting");
            return;
        }
        version_ = version_of(*greeting);
        greeted_ = true;
        greeting_.notify();
        return;
    }
    if (message.contains("event")) {
        take_event(message);
        return;
    }
    const auto id = message.find("id");
    if (id == message.end() || !id->is_number_unsigned()) {
        close("QEMU's monitor sent an answer without our id");
        return;
    }
    const auto found = pending_.find(id->get<std::uint64_t>());
    if (found == pending_.end()) {
        return;  // The asker's deadline has passed; a late answer is nobody's.
    }
    if (!found->second->answer) {
        found->second->answer = answer_of(message);
        found->second->answered.notify();
    }
}

void QmpClient::take_event(const Json& message) {
    using Outcome = DeletedWaiter::Outcome;
    const std::string name = text_of(message, "event");
    Outcome outcome = Outcome::Deleted;
    if (name == "DEVICE_UNPLUG_GUEST_ERROR") {
        outcome = Outcome::Refused;
    } else if (name != "DEVICE_DELETED") {
        return;
    }
    const auto data = message.find("data");
    if (data == message.end() || !data->is_object()) {
        return;
    }
    const std::string device = text_of(*data, "device");
    bool awaited = false;
    for (DeletedWaiter* waiter : deleted_waiters_) {
        if (waiter->device_ == device) {
            waiter->outcome_ = outcome;
            waiter->changed_.notify();
            awaited = true;
        }
    }
    // Parts of a device go with events of their own, without a name.
    if (outcome == Outcome::Deleted && !awaited && !device.empty()) {
        ++departures_;
    }
}

void QmpClient::send_pending_output() {
    while (open_ && !output_.empty()) {
        const core::Segment from{reinterpret_cast<std::byte*>(output_.data()), output_.size()};
        const auto sent = stream_->send({&from, 1});
        if (sent == -EAGAIN || sent == -EWOULDBLOCK) {
            return;  // A `writable` event follows.
        }
        if (sent < 0) {
            close("QEMU's monitor: " + std::string(core::errno_text(static_cast<int>(-sent))));
            return;
        }
        output_.erase(0, static_cast<std::size_t>(sent));
    }
}

void QmpClient::close(std::string why) {
    if (!open_) {
        return;
    }
    open_ = false;
    why_closed_ = std::move(why);
    stream_->set_handler(nullptr);
    log::info("monitor connection ended", log::kv("reason", why_closed_));
    greeting_.notify();
    for (auto& [id, pending] : pending_) {
        if (!pending->answer) {
            pending->answer = fail(ErrorKind::Unavailable, why_closed_);
            pending->answered.notify();
        }
    }
    for (DeletedWaiter* waiter : deleted_waiters_) {
        waiter->changed_.notify();
    }
}

}  // namespace remora::platform
