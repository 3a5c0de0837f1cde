// SPDX-License-Identifier: Apache-2.0
// Connection: one client's TCP connection, between the system and the HTTP library. The library has
// no bound on heads, nor on how slowly a client may send; this has. One thread of the server.
#pragma once

#include <atomic>
#include <cstdint>
#include <httplib.h>
#include <limits>
#include <string>
#include <string_view>

#include "rest/head.h"

namespace remora::rest {

/// A monotonic clock in milliseconds.
std::int64_t now_ms();

/// When the server is being stopped: the time by which every connection has ended.
using StopTime = std::atomic<std::int64_t>;
constexpr std::int64_t kNeverStops = std::numeric_limits<std::int64_t>::max();

class Connection final : public httplib::Stream {
  public:
    /// Owns the socket.
    Connection(int socket, const StopTime& stop_time);
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;
    ~Connection() override;

    /// Waits for the head of the next request. False: there is none (the client has gone, waits
    /// too long, or has sent nonsense, which is answered here); the connection is to be given up.
    bool next_request();
    [[nodiscard]] const Head& head() const { return head_; }
    /// Whether the request was read to its end, so that another one can follow.
    [[nodiscard]] bool consumed() const {
        return !head_.chunked && body_read_ == head_.content_length;
    }

    // What the library reads and writes: the head as parse_head leaves it, then the body.
    bool is_readable() const override;
    bool is_writable() const override;
    ssize_t read(char* into, std::size_t size) override;
    ssize_t write(const char* from, std::size_t size) override;
    void get_remote_ip_and_port(std::string& ip, int& port) const override;
    void get_local_ip_and_port(std::string& ip, int& port) const override;
    [[nodiscard]] socket_t socket() const override { return socket_; }

  private:
    bool wait(short events, std::int64_t deadline) const;
    bool receive_head();
    void refuse(int status, std::string_view message);
    void linger();
    ssize_t receive(char* into, std::size_t size);

    int socket_;
    const StopTime& stop_time_;
    Head head_;
    std::size_t head_read_ = 0;
    std::uint64_t body_read_ = 0;
    std::string buffer_;  ///< Received, not yet read.
    std::int64_t request_deadline_ = 0;
    std::int64_t response_deadline_ = 0;  ///< 0: nothing was written yet.
    bool lingers_ = false;
};

}  // namespace remora::rest
