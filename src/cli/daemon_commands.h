// SPDX-License-Identifier: Apache-2.0
// Commands of remora.v1 that are no verb of a kind: attach, detach, status, path-policy, bench.
#pragma once

#include <cstdint>
#include <string>

#include "cli/client.h"

namespace remora::cli {

struct AttachFlags {
    std::string discovery;
    std::string volume;
    std::string function;  ///< Digits; "" = the lowest that is free.
    std::string hostnqn;
    std::string kind = "virtio-blk";  ///< Or "nvme".
};

/// Prints the host's new disk.
void attach(const Session& session, const AttachFlags& flags);

struct DetachFlags {
    std::string function;  ///< Digits; this or the volume.
    std::string volume;
    bool allow_missing = false;
};

void detach(const Session& session, const DetachFlags& flags);

void status(const Session& session);

/// How good the way through a listener is: shows it, or sets it to `state` when that is not "".
void ana(const Session& session, const std::string& controller, const std::string& state);

struct PathPolicyFlags {
    std::string remote;
    std::string policy;  ///< queue-depth or round-robin.
};

void path_policy(const Session& session, const PathPolicyFlags& flags);

/// In seconds, with decimals; empty: as it is.
struct TimingsFlags {
    std::string remote;
    std::string connect;
    std::string keep_alive;
    std::string io;
    std::string reconnect_max;
};

void timings(const Session& session, const TimingsFlags& flags);

/// Of what was encrypted on the volume once; another key is taken then.
void forget_key(const Session& session, const std::string& volume);

struct BenchFlags {
    std::string volume;
    std::string pattern = "read";  ///< read, write or randrw.
    std::string io_size = "4k";
    std::string queue_depth = "32";
    std::string seconds = "5";
};

void bench(const Session& session, const BenchFlags& flags);

}  // namespace remora::cli
