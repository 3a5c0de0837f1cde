// SPDX-License-Identifier: Apache-2.0
// Connection: a TCP or unix stream between two processes: two pipes of bytes on their way.
//
// Bytes are cut into chunks that arrive in order, each in its time. What goes wrong with a stream
// goes wrong here: delay, cuts, flipped bits, half-close, reset at a byte, a link that is down.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/prng.h"
#include "core/segment.h"
#include "tests/sim/world/machine.h"
#include "tests/sim/world/objects.h"

namespace remora::sim {

class Connection;
class World;

/// Who holds an end: told when something changed there. A SimStream, or nobody yet.
class EndOwner {
  public:
    virtual void on_arrival() = 0;
    virtual void on_space() = 0;

  protected:
    ~EndOwner() = default;
};

/// One direction of a connection.
struct Pipe {
    struct Chunk {
        std::vector<std::byte> bytes;
        std::vector<ObjectRef> handles;  ///< Arrive with the first byte.
        Nanos arrives{};
        bool flipped = false;  ///< A bit of it is not what was sent.
        bool end = false;      ///< The sender will say no more.
        bool reset = false;    ///< The connection is no more.
    };
    std::deque<Chunk> travelling;
    std::deque<Chunk> arrived;
    std::size_t unread = 0;   ///< Bytes in both.
    std::size_t read_at = 0;  ///< Within arrived.front().
    std::uint64_t sent = 0;
    std::uint64_t delivered = 0;
    std::uint64_t reset_at = ~std::uint64_t{0};  ///< The byte at which the connection breaks.
    bool end_sent = false;
    bool end_arrived = false;
    bool sender_waits = false;
    bool cut = false;  ///< Half-closed by the network: what is sent is lost.
    bool scheduled = false;
    bool end_watched = false;
};

/// Looks at what is received, before the receiver does; for the protocol checkers.
class Sniffer {
  public:
    virtual ~Sniffer() = default;
    virtual void on_bytes(std::size_t from_side, std::span<const std::byte> bytes) = 0;
    /// Of the bytes that follow a bit is wrong.
    virtual void on_flip(std::size_t from_side) = 0;
    virtual void on_closed() = 0;
};

class Connection : public std::enable_shared_from_this<Connection> {
  public:
    struct Options {
        bool tcp = false;
        std::array<Machine*, 2> machines{};
        std::array<std::string, 2> names{};  ///< Of each end, for peer().
        std::uint64_t id = 0;
        std::size_t window = std::size_t{1} << 20U;
    };
    Connection(World& world, Options options);
    ~Connection();
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    [[nodiscard]] const Options& options() const { return options_; }
    void set_owner(std::size_t side, EndOwner* owner) { owners_[side] = owner; }
    void set_sniffer(std::unique_ptr<Sniffer> sniffer) { sniffer_ = std::move(sniffer); }

    std::ptrdiff_t send(std::size_t side,
                        std::span<const core::Segment> from,
                        std::vector<ObjectRef> handles);
    std::ptrdiff_t recv(std::size_t side,
                        std::span<const core::Segment> into,
                        std::vector<ObjectRef>& handles);
    void shutdown_send(std::size_t side);
    /// The end is gone, with its process or without. What it sent still arrives.
    void close(std::size_t side);
    /// The network breaks it: both ends hear of it.
    void reset();
    /// Its machine lost power: this end hears and says nothing any more.
    void lose(std::size_t side) { lost_[side] = true; }
    /// The link is up again.
    void resume();

    [[nodiscard]] bool has_input(std::size_t side) const;
    [[nodiscard]] bool hung_up(std::size_t side) const {
        return reset_ || pipes_[1 - side].end_arrived;
    }
    [[nodiscard]] bool is_open(std::size_t side) const { return !closed_[side] && !reset_; }

  private:
    void push(std::size_t side, Pipe::Chunk chunk);
    void schedule(std::size_t side);
    void deliver(std::size_t side);
    void watch_end(std::size_t side);
    void push_pieces(std::size_t side,
                     std::span<const std::byte> bytes,
                     std::vector<ObjectRef> handles);
    bool maybe_flip(std::size_t side, std::vector<std::byte>& bytes);
    Nanos delay();
    std::size_t piece(std::size_t left);

    World& world_;
    Options options_;
    core::Prng prng_;
    std::array<Pipe, 2> pipes_;  ///< pipes_[side]: what that side sends.
    std::array<EndOwner*, 2> owners_{};
    std::array<bool, 2> closed_{};
    std::array<bool, 2> lost_{};
    std::array<bool, 2> reset_told_{};
    bool reset_ = false;
    std::unique_ptr<Sniffer> sniffer_;
    std::array<std::uint8_t, 2> digests_{};  ///< As ICReq and ICResp say.
};

/// A connection's end that nobody has adopted yet.
class SocketEnd final : public Object {
  public:
    SocketEnd(std::shared_ptr<Connection> connection, std::size_t side)
        : connection_(std::move(connection)), side_(side) {}
    ~SocketEnd() override {
        if (connection_ != nullptr) {
            connection_->close(side_);
        }
    }
    std::shared_ptr<Connection> take() { return std::move(connection_); }
    [[nodiscard]] std::size_t side() const { return side_; }

  private:
    std::shared_ptr<Connection> connection_;
    std::size_t side_;
};

}  // namespace remora::sim
