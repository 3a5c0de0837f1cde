// SPDX-License-Identifier: Apache-2.0
// QmpClient: one connection of the QEMU Machine Protocol (QEMU's docs/interop/qmp-spec): JSON
// objects a line, commands answered by id, events in between.
//
// The peer is not trusted with our process: lines have a limit, anything that is not what the
// protocol says ends the connection, and every wait has a deadline. One connection is one object:
// a lost one is replaced, not revived. Control reactor only.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "core/result.h"
#include "reactor/endpoint.h"
#include "reactor/io.h"
#include "reactor/signal.h"
#include "reactor/task.h"

namespace remora::platform {

struct QmpVersion {
    int major = 0;
    int minor = 0;
    auto operator<=>(const QmpVersion&) const = default;
};

class QmpClient final : private reactor::ReadyHandler {
  public:
    using Json = nlohmann::json;

    /// A device's departure, waited for. Made before the command that causes it, so that it cannot
    /// be missed.
    class DeletedWaiter {
      public:
        DeletedWaiter(QmpClient& client, std::string device);
        DeletedWaiter(const DeletedWaiter&) = delete;
        DeletedWaiter& operator=(const DeletedWaiter&) = delete;
        ~DeletedWaiter();

        enum class Outcome { Deleted, Refused, TimedOut, ConnectionLost };
        reactor::Task<Outcome> wait(core::Nanos deadline);

      private:
        friend class QmpClient;
        QmpClient& client_;
        std::string device_;
        std::optional<Outcome> outcome_;
        reactor::Signal changed_;
    };

    QmpClient() = default;
    QmpClient(const QmpClient&) = delete;
    QmpClient& operator=(const QmpClient&) = delete;
    ~QmpClient();

    /// Connects and negotiates. Once. Errors: Unavailable, DeadlineExceeded.
    reactor::Task<core::Result<void>> open(reactor::Endpoint endpoint, core::Nanos deadline);
    /// Runs a command and returns its `return` value. Errors: FailedPrecondition with QEMU's own
    /// words (NotFound for its DeviceNotFound class), Unavailable when the connection ends,
    /// DeadlineExceeded.
    reactor::Task<core::Result<Json>> execute(std::string command,
                                              Json arguments,
                                              core::Nanos deadline);

    [[nodiscard]] bool is_open() const { return open_; }
    /// open() found somebody who listens.
    [[nodiscard]] bool reached() const { return reached_; }
    /// Why the connection ended; empty while it has not.
    [[nodiscard]] const std::string& why_closed() const { return why_closed_; }
    [[nodiscard]] QmpVersion version() const { return version_; }
    /// Devices that went while nobody waited for that: by the guest's own will, or late.
    [[nodiscard]] std::uint64_t departures() const { return departures_; }

  private:
    struct Pending {
        reactor::Signal answered;
        std::optional<core::Result<Json>> answer;
    };

    void on_ready(reactor::Readiness readiness) override;
    bool receive_some();
    void take_lines();
    void take_message(const Json& message);
    void take_event(const Json& message);
    void send_pending_output();
    void close(std::string why);

    std::unique_ptr<reactor::Stream> stream_;
    bool open_ = false;
    bool greeted_ = false;
    bool reached_ = false;
    std::string why_closed_;
    QmpVersion version_;
    std::string input_;
    std::string output_;
    std::uint64_t next_id_ = 1;
    std::uint64_t departures_ = 0;
    std::map<std::uint64_t, Pending*> pending_;
    std::list<DeletedWaiter*> deleted_waiters_;
    reactor::Signal greeting_;
};

}  // namespace remora::platform
