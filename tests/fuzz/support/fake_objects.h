// SPDX-License-Identifier: Apache-2.0
// What a FakeIo gives out: streams, events, acceptors, connects, mappings, and what is behind them.
// Only FakeIo makes them.
#pragma once

#include <cerrno>
#include <cstring>
#include <deque>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "core/check.h"
#include "tests/fuzz/support/fake_io.h"

namespace remora::fuzz {

using core::ErrorKind;
using reactor::Endpoint;
using reactor::HandleBox;
using reactor::Readiness;

namespace detail {

struct Chunk {
    std::vector<std::byte> bytes;
    std::size_t taken = 0;
    std::vector<Handle> handles;
};

/// One side of a connection: what has been sent to it.
struct End {
    std::deque<Chunk> coming;   ///< One arrives a poll.
    std::deque<Chunk> arrived;  ///< What recv() takes from.
    std::size_t bytes = 0;      ///< Of both.
    bool ended = false;         ///< No more is sent to it.
    bool broken = false;        ///< It gets a reset.
    bool gone = false;          ///< Nobody receives here any more.
    bool wants_room = false;    ///< The other side found it full.
    std::weak_ptr<End> peer;
    FakeStream* stream = nullptr;
};

struct Counter {
    std::uint64_t value = 0;
};

struct Memory {
    explicit Memory(std::size_t bytes)
        : data(static_cast<std::byte*>(::operator new(bytes, kAlignment))), size(bytes) {
        std::memset(data, 0, bytes);
    }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    ~Memory() { ::operator delete(data, kAlignment); }
    static constexpr std::align_val_t kAlignment{4096};
    std::byte* data;
    std::size_t size;
    bool poisoned = false;
};

class FakeStream final : public reactor::Stream {
  public:
    FakeStream(FakeIo& io, std::shared_ptr<End> end)
        : io_(io), id_(io.next_id_++), end_(std::move(end)) {
        ++io_.objects_;
        io_.streams_.emplace(id_, this);
        end_->stream = this;
    }
    FakeStream(const FakeStream&) = delete;
    FakeStream& operator=(const FakeStream&) = delete;
    ~FakeStream() override {
        shutdown_send();
        end_->gone = true;
        end_->stream = nullptr;
        drop(end_->coming);
        drop(end_->arrived);
        if (const auto peer = end_->peer.lock(); peer != nullptr && end_->wants_room) {
            end_->wants_room = false;
            wake_writer(*peer);
        }
        io_.streams_.erase(id_);
        --io_.objects_;
    }

    void set_handler(reactor::ReadyHandler* handler) override {
        handler_ = handler;
        ready_.readable = !end_->arrived.empty() || at_end();
        ready_.hangup = end_->ended && end_->coming.empty();
    }
    std::ptrdiff_t recv(std::span<const core::Segment> into, HandleBox* box) override;
    std::ptrdiff_t send(std::span<const core::Segment> from,
                        std::span<const Handle> handles) override;
    void shutdown_send() override {
        if (const auto peer = end_->peer.lock(); peer != nullptr && !peer->ended) {
            peer->ended = true;
            if (peer->stream != nullptr && peer->coming.empty()) {
                peer->stream->ready_.readable = peer->stream->ready_.hangup = true;
            }
        }
    }
    [[nodiscard]] std::string peer() const override { return "fake"; }

    void break_peer() {
        if (const auto peer = end_->peer.lock(); peer != nullptr) {
            peer->broken = peer->ended = true;
            if (peer->stream != nullptr) {
                peer->stream->ready_ = {.readable = true, .writable = true, .hangup = true};
            }
        }
    }
    [[nodiscard]] bool busy() const {
        return !end_->coming.empty() ||
               (handler_ != nullptr && (ready_.readable || ready_.writable || ready_.hangup));
    }
    /// One poll's worth. Returns whether a handler was called.
    bool step() {
        if (!end_->coming.empty()) {
            end_->arrived.push_back(std::move(end_->coming.front()));
            end_->coming.pop_front();
            ready_.readable = true;
            ready_.hangup = ready_.hangup || (end_->ended && end_->coming.empty());
        }
        if (handler_ == nullptr || !(ready_.readable || ready_.writable || ready_.hangup)) {
            return false;
        }
        handler_->on_ready(std::exchange(ready_, Readiness{}));
        return true;
    }

  private:
    [[nodiscard]] bool at_end() const { return end_->ended && end_->coming.empty(); }
    static void wake_writer(End& writer) {
        if (writer.stream != nullptr) {
            writer.stream->ready_.writable = true;
        }
    }
    void drop(std::deque<Chunk>& chunks) {
        for (const Chunk& chunk : chunks) {
            for (const Handle handle : chunk.handles) {
                io_.close(handle);
            }
        }
        chunks.clear();
    }
    void take_handles(Chunk& chunk, HandleBox* box) {
        for (const Handle handle : std::exchange(chunk.handles, {})) {
            if (box != nullptr && box->count < HandleBox::kMax) {
                box->handles[box->count++] = handle;
            } else {
                io_.close(handle);
            }
        }
    }

    FakeIo& io_;
    std::uint64_t id_;
    std::shared_ptr<End> end_;
    reactor::ReadyHandler* handler_ = nullptr;
    Readiness ready_;
};

struct FakeEventSource final : reactor::EventSource {
    explicit FakeEventSource(std::shared_ptr<Counter> counted) : counter(std::move(counted)) {}
    std::shared_ptr<Counter> counter;
};

class FakeEvent final : public reactor::Event {
  public:
    FakeEvent(FakeIo& io, std::shared_ptr<Counter> counter)
        : io_(io), id_(io.next_id_++), counter_(std::move(counter)) {
        ++io_.objects_;
        io_.events_.emplace(id_, this);
    }
    FakeEvent(const FakeEvent&) = delete;
    FakeEvent& operator=(const FakeEvent&) = delete;
    ~FakeEvent() override {
        io_.events_.erase(id_);
        --io_.objects_;
    }
    void signal() override { ++counter_->value; }
    void set_handler(reactor::EventHandler* handler) override { handler_ = handler; }
    [[nodiscard]] bool busy() const { return handler_ != nullptr && counter_->value > 0; }
    bool step() {
        if (!busy()) {
            return false;
        }
        counter_->value = 0;
        handler_->on_event();
        return true;
    }

  private:
    FakeIo& io_;
    std::uint64_t id_;
    std::shared_ptr<Counter> counter_;
    reactor::EventHandler* handler_ = nullptr;
};

class FakeAcceptor final : public reactor::Acceptor {
  public:
    FakeAcceptor(FakeIo& io, Endpoint at) : io_(io), at_(std::move(at)) { ++io_.objects_; }
    FakeAcceptor(const FakeAcceptor&) = delete;
    FakeAcceptor& operator=(const FakeAcceptor&) = delete;
    ~FakeAcceptor() override {
        io_.listeners_.erase(at_);
        --io_.objects_;
    }
    [[nodiscard]] Endpoint local() const override { return at_; }

  private:
    FakeIo& io_;
    Endpoint at_;
};

class FakeConnecting final : public reactor::Connecting {
  public:
    FakeConnecting(FakeIo& io, Endpoint to, reactor::ConnectHandler& handler)
        : io_(io), id_(io.next_id_++), to_(std::move(to)), handler_(&handler) {
        ++io_.objects_;
        io_.connecting_.emplace(id_, this);
    }
    FakeConnecting(const FakeConnecting&) = delete;
    FakeConnecting& operator=(const FakeConnecting&) = delete;
    ~FakeConnecting() override {
        io_.connecting_.erase(id_);
        --io_.objects_;
    }
    void step() {
        io_.connecting_.erase(id_);
        auto stream = io_.dial(to_);
        if (stream == nullptr) {
            handler_->on_connected(core::fail_errno("connect", ECONNREFUSED));
        } else {
            handler_->on_connected(std::move(stream));
        }
    }

  private:
    FakeIo& io_;
    std::uint64_t id_;
    Endpoint to_;
    reactor::ConnectHandler* handler_;
};

}  // namespace detail

class FakeMapping final : public reactor::Mapping {
  public:
    FakeMapping(FakeIo& io,
                std::shared_ptr<detail::Memory> memory,
                std::size_t offset,
                std::size_t size)
        : io_(io), memory_(std::move(memory)), bytes_(memory_->data + offset, size) {
        ++io_.objects_;
    }
    FakeMapping(const FakeMapping&) = delete;
    FakeMapping& operator=(const FakeMapping&) = delete;
    ~FakeMapping() override { --io_.objects_; }
    [[nodiscard]] std::span<std::byte> bytes() const override { return bytes_; }
    [[nodiscard]] bool poisoned() const override { return memory_->poisoned; }

  private:
    FakeIo& io_;
    std::shared_ptr<detail::Memory> memory_;
    std::span<std::byte> bytes_;
};

}  // namespace remora::fuzz
