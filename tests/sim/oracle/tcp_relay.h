// SPDX-License-Identifier: Apache-2.0
// TcpRelay: a TCP proxy on the test's reactor that shows each connection to a checker, as its
// receiver gets the bytes.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "core/check.h"
#include "reactor/io.h"
#include "reactor/reactor.h"
#include "tests/sim/oracle/nvme_tcp_checker.h"

namespace remora::sim {

class TcpRelay final : private reactor::AcceptHandler {
  public:
    using Report = std::function<void(std::string)>;

    TcpRelay(reactor::Reactor& reactor, reactor::Endpoint to, CheckerOptions options, Report report)
        : reactor_(reactor),
          to_(std::move(to)),
          options_(std::move(options)),
          report_(std::move(report)),
          acceptor_(
              std::move(*reactor.io().listen(reactor::Endpoint::tcp("127.0.0.1", 0), *this))) {}

    [[nodiscard]] reactor::Endpoint endpoint() const { return acceptor_->local(); }
    void final_check() {
        for (const auto& pipe : pipes_) {
            pipe->checker.final_check();
        }
    }
    /// Of all connections that there were.
    template <typename F>
    void for_each(F look) const {
        for (const auto& pipe : pipes_) {
            look(pipe->checker);
        }
    }

  private:
    struct Pipe;
    struct End final : reactor::ReadyHandler {
        explicit End(Pipe& with) : pipe(with) {}
        void on_ready(reactor::Readiness readiness) override {
            if (readiness.writable) {
                send();
            }
            if (readiness.readable || readiness.hangup) {
                receive();
            }
        }
        void receive() {
            while (stream != nullptr && !ended) {
                std::array<std::byte, 16384> bytes;
                const core::Segment into{bytes.data(), bytes.size()};
                const std::ptrdiff_t got = stream->recv(std::span(&into, 1));
                if (got == -EAGAIN) {
                    return;
                }
                if (got <= 0) {
                    ended = true;
                    pipe.checker.closed();
                    other->send();
                    return;
                }
                const auto part =
                    std::span<const std::byte>(bytes).first(static_cast<std::size_t>(got));
                this == &pipe.host ? pipe.checker.host_to_target(part)
                                   : pipe.checker.target_to_host(part);
                other->pending.insert(other->pending.end(), part.begin(), part.end());
                other->send();
            }
        }
        /// What is pending, then the end of the other side's bytes.
        void send() {
            while (stream != nullptr && done < pending.size()) {
                const core::Segment from{pending.data() + done, pending.size() - done};
                const std::ptrdiff_t taken = stream->send(std::span(&from, 1));
                if (taken <= 0) {
                    if (taken != -EAGAIN) {
                        pending.clear();
                        done = 0;
                    }
                    return;
                }
                done += static_cast<std::size_t>(taken);
            }
            if (stream != nullptr) {
                pending.clear();
                done = 0;
                if (other->ended && !shut) {
                    shut = true;
                    stream->shutdown_send();
                }
            }
        }
        Pipe& pipe;
        End* other = nullptr;
        std::unique_ptr<reactor::Stream> stream;
        std::vector<std::byte> pending;
        std::size_t done = 0;
        bool ended = false;
        bool shut = false;
    };
    struct Pipe final : reactor::ConnectHandler {
        Pipe(TcpRelay& relay, std::unique_ptr<reactor::Stream> stream)
            : checker(relay.options_, [&relay] { return relay.reactor_.now(); }, relay.report_) {
            host.other = &target;
            target.other = &host;
            host.stream = std::move(stream);
            connecting = relay.reactor_.io().connect(relay.to_, *this);
        }
        void on_connected(core::Result<std::unique_ptr<reactor::Stream>> stream) override {
            if (!stream) {
                target.ended = true;
                checker.closed();
                host.send();
                return;
            }
            target.stream = std::move(*stream);
            target.stream->set_handler(&target);
            host.stream->set_handler(&host);
        }
        NvmeTcpChecker checker;
        End host{*this};
        End target{*this};
        std::unique_ptr<reactor::Connecting> connecting;
    };

    void on_accept(reactor::Handle connection) override {
        auto stream = reactor_.io().adopt_stream(connection);
        CHECK(stream.has_value());
        pipes_.push_back(std::make_unique<Pipe>(*this, std::move(*stream)));
    }

    reactor::Reactor& reactor_;
    reactor::Endpoint to_;
    CheckerOptions options_;
    Report report_;
    std::vector<std::unique_ptr<Pipe>> pipes_;
    std::unique_ptr<reactor::Acceptor> acceptor_;
};

}  // namespace remora::sim
