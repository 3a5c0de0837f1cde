// SPDX-License-Identifier: Apache-2.0
// QmpServer: the socket of a QEMU monitor. Commands are kept in order for one taker; the last
// client that connects has the monitor. It can hang up at any byte. Spec: QEMU
// docs/interop/qmp-spec.rst.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "core/prng.h"
#include "core/result.h"
#include "reactor/io.h"
#include "reactor/reactor.h"
#include "reactor/signal.h"
#include "reactor/task.h"

namespace remora::sim {

class QmpServer final : private reactor::AcceptHandler,
                        private reactor::ReadyHandler,
                        private reactor::Runnable {
  public:
    using Json = nlohmann::json;

    struct Command {
        std::uint64_t connection = 0;  ///< An answer goes to this one or to nobody.
        std::string name;
        Json id;  ///< Null when the client gave none.
        Json arguments = Json::object();
    };

    QmpServer(reactor::Reactor& reactor, core::Prng prng) : reactor_(reactor), prng_(prng) {}
    QmpServer(const QmpServer&) = delete;
    QmpServer& operator=(const QmpServer&) = delete;
    ~QmpServer() { close(); }

    core::Result<void> listen(const std::string& path, int major, int minor);
    /// Hangs up and listens no more; next() ends.
    void close();
    /// Of a thousand connections, how many it hangs up at some byte of the next few thousand.
    void set_drops(std::uint32_t per_mille) { drop_per_mille_ = per_mille; }
    /// Not from within a handler.
    void drop_connection();

    /// The next command; nothing once closed.
    reactor::Task<std::optional<Command>> next();
    void answer(const Command& command, Json value);
    void error(const Command& command, const std::string& kind, const std::string& text);
    void event(const std::string& name, Json data);

  private:
    static constexpr std::uint64_t kNoDrop = ~std::uint64_t{0};
    static constexpr std::uint64_t kDropWithin = 4000;
    static constexpr std::size_t kLongestLine = std::size_t{1} << 20U;

    void on_accept(reactor::Handle connection) override;
    void on_ready(reactor::Readiness readiness) override;
    void run() override { hang_up(); }
    bool read_some();
    void take_lines();
    void take(const std::string& line);
    void reply(const Command& command, Json message);
    void send(const Json& message);
    void flush();
    void hang_up_soon();
    void hang_up();

    reactor::Reactor& reactor_;
    core::Prng prng_;
    std::uint32_t drop_per_mille_ = 0;
    Json greeting_;
    std::unique_ptr<reactor::Acceptor> acceptor_;
    std::unique_ptr<reactor::Stream> stream_;
    std::uint64_t connection_ = 0;
    bool negotiated_ = false;
    bool hanging_up_ = false;
    std::uint64_t input_left_ = kNoDrop;   // bytes until it hangs up
    std::uint64_t output_left_ = kNoDrop;  // the same
    std::string input_;
    std::string output_;
    std::deque<Command> commands_;
    bool closed_ = false;
    reactor::Signal changed_;
};

}  // namespace remora::sim
