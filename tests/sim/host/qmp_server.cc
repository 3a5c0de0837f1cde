// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/host/qmp_server.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace remora::sim {

using Json = QmpServer::Json;
using RunHook = core::ListHook<reactor::Runnable>;

core::Result<void> QmpServer::listen(const std::string& path, int major, int minor) {
    greeting_ = {
        {"QMP",
         {{"version",
           {{"qemu", {{"micro", 0}, {"minor", minor}, {"major", major}}}, {"package", ""}}},
          {"capabilities", Json::array({"oob"})}}}};
    auto acceptor = reactor_.io().listen(reactor::Endpoint::unix_path(path), *this);
    if (!acceptor) {
        return std::unexpected(acceptor.error());
    }
    acceptor_ = std::move(*acceptor);
    return {};
}

void QmpServer::close() {
    closed_ = true;
    acceptor_.reset();
    hang_up();
    changed_.notify();
}

void QmpServer::drop_connection() {
    hang_up();
}

void QmpServer::hang_up() {
    RunHook::unlink();
    stream_.reset();
    hanging_up_ = false;
    input_.clear();
    output_.clear();
    commands_.clear();  // QEMU forgets what a client that left has asked for
}

void QmpServer::hang_up_soon() {
    if (stream_ != nullptr && !hanging_up_) {
        hanging_up_ = true;
        stream_->set_handler(nullptr);
        reactor_.run_soon(*this);
    }
}

void QmpServer::on_accept(reactor::Handle connection) {
    hang_up();
    auto stream = reactor_.io().adopt_stream(connection);
    if (!stream || closed_) {
        return;
    }
    stream_ = std::move(*stream);
    ++connection_;
    negotiated_ = false;
    input_left_ = output_left_ = kNoDrop;
    if (prng_.below(1000) < drop_per_mille_) {
        (prng_.below(2) == 0 ? input_left_ : output_left_) = prng_.below(kDropWithin);
    }
    stream_->set_handler(this);
    send(greeting_);
}

void QmpServer::on_ready(reactor::Readiness readiness) {
    if (readiness.writable) {
        flush();
    }
    if (readiness.readable || readiness.hangup) {
        while (stream_ != nullptr && !hanging_up_ && read_some()) {
        }
    }
}

bool QmpServer::read_some() {
    std::array<std::byte, 4096> bytes;
    const core::Segment into{bytes.data(), bytes.size()};
    const auto got = stream_->recv({&into, 1});
    if (got == -EAGAIN || got == -EWOULDBLOCK) {
        return false;
    }
    if (got <= 0) {
        hang_up_soon();
        return false;
    }
    const auto size = static_cast<std::size_t>(
        std::min<std::uint64_t>(static_cast<std::uint64_t>(got), input_left_));
    input_.append(reinterpret_cast<const char*>(bytes.data()), size);
    if (input_left_ != kNoDrop) {
        input_left_ -= size;
    }
    take_lines();
    if (input_left_ == 0 || input_.size() > kLongestLine) {
        hang_up_soon();
    }
    return true;
}

void QmpServer::take_lines() {
    for (auto end = input_.find('\n'); end != std::string::npos; end = input_.find('\n')) {
        const std::string line = input_.substr(0, end);
        input_.erase(0, end + 1);
        if (line.find_first_not_of(" \t\r") != std::string::npos) {
            take(line);
        }
    }
}

void QmpServer::take(const std::string& line) {
    const Json message = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    Command command;
    command.connection = connection_;
    if (!message.is_object() || !message.contains("execute") ||
        !message.at("execute").is_string()) {
        error(command, "GenericError", "Invalid JSON syntax or no command in it");
        return;
    }
    command.name = message.at("execute").get<std::string>();
    command.id = message.value("id", Json());
    command.arguments = message.value("arguments", Json::object());
    if (command.name == "qmp_capabilities") {
        if (negotiated_) {
            error(command, "CommandNotFound",
                  "Capabilities negotiation is already complete, command ignored");
            return;
        }
        negotiated_ = true;
        answer(command, Json::object());
        return;
    }
    if (!negotiated_) {
        error(command, "CommandNotFound",
              "Expecting capabilities negotiation with 'qmp_capabilities'");
        return;
    }
    commands_.push_back(std::move(command));
    changed_.notify();
}

reactor::Task<std::optional<QmpServer::Command>> QmpServer::next() {
    while (commands_.empty() && !closed_) {
        co_await changed_.wait_until(core::kNever);  // close() ends it
    }
    if (commands_.empty()) {
        co_return std::nullopt;
    }
    std::optional<Command> command(std::move(commands_.front()));
    commands_.pop_front();
    co_return command;
}

void QmpServer::answer(const Command& command, Json value) {
    reply(command, Json{{"return", std::move(value)}});
}

void QmpServer::error(const Command& command, const std::string& kind, const std::string& text) {
    reply(command, Json{{"error", {{"class", kind}, {"desc", text}}}});
}

void QmpServer::reply(const Command& command, Json message) {
    if (command.connection != connection_ || stream_ == nullptr) {
        return;
    }
    if (!command.id.is_null()) {
        message["id"] = command.id;
    }
    send(message);
}

void QmpServer::event(const std::string& name, Json data) {
    if (!negotiated_ || stream_ == nullptr) {
        return;
    }
    const auto micros =
        std::chrono::duration_cast<std::chrono::microseconds>(reactor_.now()).count();
    send({{"event", name},
          {"data", std::move(data)},
          {"timestamp", {{"seconds", micros / 1'000'000}, {"microseconds", micros % 1'000'000}}}});
}

void QmpServer::send(const Json& message) {
    if (hanging_up_) {
        return;
    }
    std::string text = message.dump() + "\r\n";
    if (text.size() >= output_left_) {
        text.resize(static_cast<std::size_t>(output_left_));
        output_left_ = 0;
    } else if (output_left_ != kNoDrop) {
        output_left_ -= text.size();
    }
    output_ += text;
    flush();
    if (output_left_ == 0) {
        hang_up_soon();
    }
}

void QmpServer::flush() {
    while (stream_ != nullptr && !output_.empty()) {
        const core::Segment from{reinterpret_cast<std::byte*>(output_.data()), output_.size()};
        const auto sent = stream_->send({&from, 1});
        if (sent <= 0) {
            return;  // It goes on when it can; an end is seen when reading.
        }
        output_.erase(0, static_cast<std::size_t>(sent));
    }
}

}  // namespace remora::sim
