// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/world/sim_socket.h"

#include <cerrno>
#include <optional>
#include <utility>

#include "tests/sim/world/world.h"

namespace remora::sim {

namespace {

using core::Result;
using reactor::Endpoint;
using std::chrono::milliseconds;

class SimStream final : public reactor::Stream, public Source, private EndOwner {
  public:
    SimStream(SimIo& io, std::shared_ptr<Connection> connection, std::size_t side, Handle handle)
        : Source(io), connection_(std::move(connection)), side_(side), handle_(handle) {
        connection_->set_owner(side_, this);
    }
    ~SimStream() override {
        connection_->close(side_);
        io_.process().handles().remove(handle_);
    }

    void set_handler(reactor::ReadyHandler* handler) override {
        handler_ = handler;
        readable_ = handler != nullptr && connection_->has_input(side_);
        if (readable_) {
            has_news();
        }
    }

    std::ptrdiff_t recv(std::span<const core::Segment> into, reactor::HandleBox* box) override {
        io_.process().step();
        std::vector<ObjectRef> objects;
        const std::ptrdiff_t got = connection_->recv(side_, into, objects);
        for (ObjectRef& object : objects) {
            if (box != nullptr && box->count < reactor::HandleBox::kMax) {
                box->handles[box->count++] = io_.process().handles().add(std::move(object));
            }
        }
        return got;
    }

    std::ptrdiff_t send(std::span<const core::Segment> from,
                        std::span<const Handle> handles) override {
        io_.process().step();
        std::vector<ObjectRef> objects;
        for (const Handle handle : handles) {
            ObjectRef object = io_.process().handles().find(handle);
            if (object == nullptr) {
                return -EBADF;
            }
            objects.push_back(std::move(object));
        }
        return connection_->send(side_, from, std::move(objects));
    }

    void shutdown_send() override {
        io_.process().step();
        connection_->shutdown_send(side_);
    }
    [[nodiscard]] std::string peer() const override {
        return connection_->options().tcp ? connection_->options().names[1 - side_] : "unix";
    }

    void dispatch() override {
        reactor::Readiness readiness;
        readiness.readable = std::exchange(readable_, false);
        readiness.writable = std::exchange(writable_, false);
        readiness.hangup = connection_->hung_up(side_);
        if (handler_ != nullptr) {
            handler_->on_ready(readiness);
        }
    }
    void abandon(bool power_lost) override {
        handler_ = nullptr;
        if (power_lost) {
            connection_->lose(side_);
        }
        connection_->close(side_);
    }

  private:
    void on_arrival() override {
        readable_ = true;
        if (handler_ != nullptr) {
            has_news();
        }
    }
    void on_space() override {
        writable_ = true;
        if (handler_ != nullptr) {
            has_news();
        }
    }

    std::shared_ptr<Connection> connection_;
    std::size_t side_;
    Handle handle_;
    reactor::ReadyHandler* handler_ = nullptr;
    bool readable_ = false;
    bool writable_ = false;
};

class SimAcceptor final : public reactor::Acceptor, public Source, public Listener {
  public:
    SimAcceptor(SimIo& io, Endpoint at, reactor::AcceptHandler& handler)
        : Source(io), local_(std::move(at)), handler_(handler) {}
    ~SimAcceptor() override { stop(Network::Leaves::Nothing); }

    [[nodiscard]] Endpoint local() const override { return local_; }
    [[nodiscard]] Process& process() override { return io_.process(); }
    void on_connection(std::shared_ptr<Connection> connection) override {
        backlog_.push_back(std::make_shared<SocketEnd>(std::move(connection), std::size_t{1}));
        has_news();
    }
    void dispatch() override {
        while (!backlog_.empty()) {
            ObjectRef end = std::move(backlog_.front());
            backlog_.pop_front();
            handler_.on_accept(io_.process().handles().add(std::move(end)));
        }
    }
    void abandon(bool power_lost) override {
        const bool place = io_.process().has_rings && !power_lost;
        stop(place ? Network::Leaves::PathAndPlace : Network::Leaves::Path);
    }

  private:
    void stop(Network::Leaves leaves) {
        io_.world().network().remove_listener(io_.process().machine(), local_, *this, leaves);
        backlog_.clear();
    }

    Endpoint local_;
    reactor::AcceptHandler& handler_;
    std::deque<ObjectRef> backlog_;
};

class SimConnecting final : public reactor::Connecting, public Source {
  public:
    SimConnecting(SimIo& io, Endpoint to, reactor::ConnectHandler& handler)
        : Source(io), to_(std::move(to)), handler_(handler), token_(std::make_shared<int>(0)) {
        Faults& faults = io.world().faults();
        Nanos delay = milliseconds(0) + std::chrono::microseconds(20);
        if (to_.family == Endpoint::Family::Tcp && faults.strikes(Fault::SlowConnect, 4)) {
            delay = milliseconds(faults.pick(Fault::SlowConnect, 12'000));
        }
        try_in(delay);
    }
    ~SimConnecting() override { give_up(false); }

    void dispatch() override {
        auto outcome = std::move(*outcome_);
        outcome_.reset();
        if (!outcome) {
            handler_.on_connected(core::fail_errno("connect to " + to_.text(), outcome.error()));
            return;
        }
        Process& process = io_.process();
        const Handle handle = process.handles().add(nullptr);
        handler_.on_connected(make_sim_stream(io_, std::move(*outcome), 0, handle));
    }
    void abandon(bool power_lost) override { give_up(power_lost); }

  private:
    using Outcome = std::expected<std::shared_ptr<Connection>, int>;

    void give_up(bool power_lost) {
        token_.reset();
        if (outcome_ && *outcome_) {
            // Connected, and nobody was told.
            if (power_lost) {
                (**outcome_)->lose(0);
            }
            (**outcome_)->close(0);
        }
        outcome_.reset();
    }
    void try_in(Nanos delay) {
        io_.world().events().after(delay, [this, alive = std::weak_ptr<int>(token_)] {
            if (!alive.expired()) {
                attempt();
            }
        });
    }
    void attempt() {
        Process& process = io_.process();
        const auto answer = io_.world().network().connect(process, to_);
        if (!answer && answer.error() == 0) {
            // Nothing came back: the system asks again.
            try_in(milliseconds(1000));
            return;
        }
        outcome_ = answer;
        has_news();
    }

    Endpoint to_;
    reactor::ConnectHandler& handler_;
    std::shared_ptr<int> token_;  // gone when this is
    std::optional<Outcome> outcome_;
};

}  // namespace

std::unique_ptr<reactor::Stream> make_sim_stream(SimIo& io,
                                                 std::shared_ptr<Connection> connection,
                                                 std::size_t side,
                                                 Handle handle) {
    return std::make_unique<SimStream>(io, std::move(connection), side, handle);
}

Result<std::unique_ptr<reactor::Acceptor>> make_sim_acceptor(SimIo& io,
                                                             const Endpoint& at,
                                                             reactor::AcceptHandler& handler) {
    Network& network = io.world().network();
    const Machine& machine = io.process().machine();
    const bool tcp = at.family == Endpoint::Family::Tcp;
    if (tcp && at.address != machine.address) {
        return core::fail_errno("listen on " + at.text(), EADDRNOTAVAIL);
    }
    const Endpoint local = tcp && at.port == 0 ? network.free_port(machine) : at;
    auto acceptor = std::make_unique<SimAcceptor>(io, local, handler);
    if (!network.add_listener(machine, local, *acceptor)) {
        return core::fail_errno("listen on " + at.text(), EADDRINUSE);
    }
    return acceptor;
}

std::unique_ptr<reactor::Connecting> make_sim_connecting(SimIo& io,
                                                         const Endpoint& to,
                                                         reactor::ConnectHandler& handler) {
    return std::make_unique<SimConnecting>(io, to, handler);
}

}  // namespace remora::sim
