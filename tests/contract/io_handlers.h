// SPDX-License-Identifier: Apache-2.0
// Handlers of reactor::Io for tests, which remember what they were told.
#pragma once

#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "core/segment.h"
#include "reactor/io.h"

namespace remora::test {

using core::ErrorKind;
using core::Segment;
using reactor::Endpoint;
using reactor::Handle;
using reactor::HandleBox;
using reactor::Stream;

/// Sends from `text` once.
inline std::ptrdiff_t send(Stream& stream,
                           std::string_view text,
                           std::span<const Handle> handles = {}) {
    const Segment from{reinterpret_cast<std::byte*>(const_cast<char*>(text.data())), text.size()};
    return stream.send(std::span(&from, 1), handles);
}

/// Receives once; what came is added to `heard`.
inline std::ptrdiff_t receive(Stream& stream,
                              std::string& heard,
                              std::size_t most,
                              HandleBox* box = nullptr) {
    std::string into(most, '\0');
    const Segment segment{reinterpret_cast<std::byte*>(into.data()), into.size()};
    const std::ptrdiff_t got = stream.recv(std::span(&segment, 1), box);
    heard.append(into, 0, got > 0 ? static_cast<std::size_t>(got) : 0);
    return got;
}

/// Does nothing but remember.
class Listening final : public reactor::ReadyHandler {
  public:
    void on_ready(reactor::Readiness readiness) override {
        ++events;
        readable |= readiness.readable;
        writable |= readiness.writable;
        hangup |= readiness.hangup;
        if (then) {
            then();
        }
    }
    int events = 0;
    bool readable = false;
    bool writable = false;
    bool hangup = false;
    std::function<void()> then;
};

/// Keeps to the contract: says what it has to say whenever there is room, and after an event
/// receives until the stream would block.
class Talker final : public reactor::ReadyHandler {
  public:
    explicit Talker(Stream& stream, std::size_t piece = 7000) : stream_(stream), piece_(piece) {
        stream_.set_handler(this);
    }
    void say(std::string text) {
        left_ += text;
        pump();
    }
    [[nodiscard]] bool said() const { return left_.empty(); }
    void on_ready(reactor::Readiness readiness) override {
        hangup |= readiness.hangup;
        if (readiness.readable || readiness.hangup) {
            drain();
        }
        if (readiness.writable) {
            pump();
        }
    }
    std::string heard;
    bool hangup = false;
    std::optional<std::ptrdiff_t> ended;  ///< What the last receive returned.

  private:
    void drain() {
        while (!ended) {
            const std::ptrdiff_t got = receive(stream_, heard, piece_);
            if (got == -EAGAIN) {
                return;
            }
            if (got <= 0) {
                ended = got;
            }
        }
    }
    void pump() {
        while (!left_.empty()) {
            const std::ptrdiff_t sent = send(stream_, std::string_view(left_).substr(0, piece_));
            if (sent < 0) {
                EXPECT_EQ(sent, -EAGAIN);
                return;
            }
            left_.erase(0, static_cast<std::size_t>(sent));
        }
    }
    Stream& stream_;
    std::size_t piece_;
    std::string left_;
};

class Accepting final : public reactor::AcceptHandler {
  public:
    void on_accept(Handle connection) override {
        connections.push_back(connection);
        if (then) {
            then();
        }
    }
    std::vector<Handle> connections;
    std::function<void()> then;
};

class Waiting final : public reactor::ConnectHandler {
  public:
    void on_connected(core::Result<std::unique_ptr<Stream>> stream) override {
        ++calls;
        result = std::move(stream);
    }
    int calls = 0;
    std::optional<core::Result<std::unique_ptr<Stream>>> result;
};

class Counting final : public reactor::EventHandler {
  public:
    void on_event() override { ++calls; }
    int calls = 0;
};

}  // namespace remora::test
