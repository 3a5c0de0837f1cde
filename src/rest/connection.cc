// SPDX-License-Identifier: Apache-2.0
#include "rest/connection.h"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <cerrno>
#include <cstring>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <grpc/support/time.h>

#include "rest/answers.h"

namespace remora::rest {

namespace {

constexpr std::int64_t kStepMs = 100;        // How late the end of the server is noticed.
constexpr std::int64_t kIdleMs = 5'000;      // Between two requests.
constexpr std::int64_t kReadMs = 5'000;      // For a head, and between two pieces of a body.
constexpr std::int64_t kRequestMs = 30'000;  // For a whole request.
constexpr std::int64_t kWriteMs = 10'000;    // Between two pieces of an answer.
constexpr std::int64_t kResponseMs = 60'000;
constexpr std::int64_t kLingerMs = 1'000;
constexpr std::size_t kPiece = std::size_t{16} << 10U;
/// A chunked body comes with the sizes of its chunks.
constexpr std::uint64_t kLargestChunkedBody = 2 * kLargestBody;

}  // namespace

std::int64_t now_ms() {
    const gpr_timespec now = gpr_now(GPR_CLOCK_MONOTONIC);
    return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
}

Connection::Connection(int socket, const StopTime& stop_time)
    : socket_(socket), stop_time_(stop_time) {
    const int on = 1;
    // Without it an answer may be slower, no more.
    (void)setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

Connection::~Connection() {
    if (lingers_ || !consumed()) {
        linger();
    }
    (void)::shutdown(socket_, SHUT_RDWR);
    (void)::close(socket_);
}

bool Connection::wait(short events, std::int64_t deadline) const {
    for (;;) {
        const std::int64_t left = std::min(deadline, stop_time_.load()) - now_ms();
        if (left <= 0) {
            return false;
        }
        pollfd polled{socket_, events, 0};
        const int ready = ::poll(&polled, 1, static_cast<int>(std::min(left, kStepMs)));
        if (ready > 0) {
            return true;
        }
        if (ready < 0 && errno != EINTR) {
            return false;
        }
    }
}

ssize_t Connection::receive(char* into, std::size_t size) {
    for (;;) {
        const ssize_t got = ::recv(socket_, into, size, MSG_DONTWAIT);
        if (got >= 0 || (errno != EINTR && errno != EAGAIN)) {
            return got;
        }
        if (errno == EAGAIN && !wait(POLLIN, std::min(now_ms() + kReadMs, request_deadline_))) {
            return -1;
        }
    }
}

bool Connection::next_request() {
    head_ = {};
    head_read_ = 0;
    body_read_ = 0;
    response_deadline_ = 0;
    const std::int64_t idle_end = now_ms() + kIdleMs;
    while (buffer_.empty()) {
        // Nobody waits for an answer here, so a server that stops need not wait, either.
        if (stop_time_.load() != kNeverStops || now_ms() >= idle_end) {
            return false;
        }
        if (wait(POLLIN, std::min(now_ms() + kStepMs, idle_end))) {
            break;
        }
    }
    request_deadline_ = now_ms() + kReadMs;
    if (!receive_head()) {
        return false;
    }
    const std::size_t end = buffer_.find("\r\n\r\n") + 4;
    auto parsed = parse_head(std::string_view(buffer_).substr(0, end));
    if (!parsed) {
        refuse(parsed.error().status, parsed.error().message);
        return false;
    }
    head_ = std::move(*parsed);
    buffer_.erase(0, end);
    request_deadline_ = now_ms() + kRequestMs;
    return true;
}

bool Connection::receive_head() {
    std::array<char, 4096> piece{};
    while (buffer_.find("\r\n\r\n") >= kLargestHead) {
        if (buffer_.size() >= kLargestHead) {
            refuse(431,
                   "the request's head is larger than " + std::to_string(kLargestHead) + " bytes");
            return false;
        }
        const ssize_t got = receive(piece.data(), piece.size());
        if (got <= 0) {
            if (got < 0 && !buffer_.empty()) {
                refuse(408, "the request's head did not come in time");
            }
            return false;
        }
        buffer_.append(piece.data(), static_cast<std::size_t>(got));
    }
    return true;
}

void Connection::refuse(int status, std::string_view message) {
    const HttpAnswer answer = refusal(status, grpc::StatusCode::INVALID_ARGUMENT, message);
    const std::string text = "HTTP/1.1 " + std::to_string(status) +
                             " Refused\r\nContent-Type: application/json\r\n" +
                             "Content-Length: " + std::to_string(answer.body.size()) +
                             "\r\nConnection: close\r\n\r\n" + answer.body;
    std::size_t sent = 0;
    while (sent < text.size()) {
        const ssize_t wrote = write(text.data() + sent, text.size() - sent);
        if (wrote <= 0) {
            return;
        }
        sent += static_cast<std::size_t>(wrote);
    }
    lingers_ = true;
}

/// Closing with data unread resets the connection, and the client may lose the answer.
void Connection::linger() {
    (void)::shutdown(socket_, SHUT_WR);
    std::array<char, kPiece> piece{};
    std::uint64_t dropped = 0;
    const std::int64_t deadline = now_ms() + kLingerMs;
    while (dropped < kLargestChunkedBody && wait(POLLIN, deadline)) {
        const ssize_t got = ::recv(socket_, piece.data(), piece.size(), MSG_DONTWAIT);
        if (got <= 0) {
            return;
        }
        dropped += static_cast<std::uint64_t>(got);
    }
}

bool Connection::is_readable() const {
    return head_read_ < head_.text.size() || !buffer_.empty() ||
           wait(POLLIN, std::min(now_ms() + kReadMs, request_deadline_));
}

bool Connection::is_writable() const {
    return wait(POLLOUT, now_ms() + kWriteMs);
}

ssize_t Connection::read(char* into, std::size_t size) {
    if (head_read_ < head_.text.size()) {
        const std::size_t copied = head_.text.copy(into, size, head_read_);
        head_read_ += copied;
        return static_cast<ssize_t>(copied);
    }
    const std::uint64_t end = head_.chunked ? kLargestChunkedBody : head_.content_length;
    const std::size_t wanted = std::min<std::uint64_t>(size, end - body_read_);
    if (wanted == 0) {
        return head_.chunked ? -1 : 0;
    }
    ssize_t got = 0;
    if (!buffer_.empty()) {
        got = static_cast<ssize_t>(buffer_.copy(into, wanted));
        buffer_.erase(0, static_cast<std::size_t>(got));
    } else {
        got = receive(into, wanted);
    }
    body_read_ += got > 0 ? static_cast<std::uint64_t>(got) : 0;
    return got;
}

ssize_t Connection::write(const char* from, std::size_t size) {
    if (response_deadline_ == 0) {
        response_deadline_ = now_ms() + kResponseMs;
    }
    for (;;) {
        const ssize_t sent = ::send(socket_, from, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent >= 0 || (errno != EINTR && errno != EAGAIN)) {
            return sent;
        }
        if (errno == EAGAIN && !wait(POLLOUT, std::min(now_ms() + kWriteMs, response_deadline_))) {
            return -1;
        }
    }
}

void Connection::get_remote_ip_and_port(std::string& ip, int& port) const {
    ip.clear();
    port = 0;
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (::getpeername(socket_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
        return;
    }
    if (address.ss_family == AF_INET) {
        sockaddr_in in{};
        std::memcpy(&in, &address, sizeof in);
        (void)inet_ntop(AF_INET, &in.sin_addr, text.data(), text.size());
        ip = text.data();
        port = ntohs(in.sin_port);
    } else if (address.ss_family == AF_INET6) {
        sockaddr_in6 in{};
        std::memcpy(&in, &address, sizeof in);
        (void)inet_ntop(AF_INET6, &in.sin6_addr, text.data(), text.size());
        ip = '[' + std::string(text.data()) + ']';
        port = ntohs(in.sin6_port);
    }
}

void Connection::get_local_ip_and_port(std::string& ip, int& port) const {
    ip.clear();  // Nobody asks for it here.
    port = 0;
}

}  // namespace remora::rest
