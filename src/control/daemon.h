// SPDX-License-Identifier: Apache-2.0
// Daemon: a whole remorad: store, reactors, data plane, host platform, control plane, gRPC server,
// put together in order and taken apart in the opposite one. Used by the main thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "control/handover.h"
#include "core/result.h"
#include "core/units.h"

namespace grpc {
class Channel;
}

namespace remora::control {

struct DaemonOptions {
    std::string state_directory;
    std::string grpc_address = "127.0.0.1:50051";
    std::vector<unsigned> cores;
    std::string socket_directory;  ///< Empty: STATE/vhost.
    std::string audit;             ///< A file; empty: STATE/audit.log; "none": no audit log.
    std::string qmp;               ///< unix:PATH or HOST:PORT; empty: no host platform.
    bool nvme_msix = false;        ///< Options::nvme_msix
    std::string functions;         ///< platform/functions_spec.h
    std::vector<std::string> virtual_functions;  ///< Likewise; one for each PF that has some.
    core::Nanos spin{std::chrono::microseconds(100)};
    std::uint64_t memory_bytes = std::uint64_t{64} << 20U;
    core::Nanos path_timeout{std::chrono::seconds(30)};
    std::string seal_key;  ///< File that keys in the store are sealed with; empty: see below.
    /// systemd's folder of credentials, where a seal key may be; without one it is STATE/seal-key.
    std::string credentials_directory;
    /// Of the daemon that was in this process before.
    Handover handover;
};

class Daemon {
  public:
    /// Everything is rebuilt and gRPC serves when this returns. Errors say what an operator can do.
    static core::Result<std::unique_ptr<Daemon>> start(const DaemonOptions& options);
    Daemon(const Daemon&) = delete;
    Daemon& operator=(const Daemon&) = delete;
    ~Daemon();

    /// ADDR:PORT with the port that was picked.
    [[nodiscard]] const std::string& grpc_address() const;
    /// What another front of the same calls needs: which services there are, and a way to them. The
    /// channel must be gone before stop().
    [[nodiscard]] const std::vector<std::string>& services() const;
    [[nodiscard]] std::shared_ptr<grpc::Channel> channel() const;
    /// Takes no more calls, ends the data plane. Disks stay plugged into the host, whose I/O waits
    /// for the next remorad. False: guests' requests still wait for a path, so the process must
    /// end without destroying the daemon, as a crash would; nothing is lost by that. Once.
    [[nodiscard]] bool stop();
    /// Instead of stop(), when another program image takes this one's place in the process: what
    /// that one is to be given. The process must go on to it, or end, without destroying the
    /// daemon. Guests notice a pause at most. Once.
    [[nodiscard]] Handover hand_over();

  private:
    struct Parts;
    explicit Daemon(std::unique_ptr<Parts> parts);
    std::unique_ptr<Parts> parts_;
};

}  // namespace remora::control
