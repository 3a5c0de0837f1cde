// SPDX-License-Identifier: Apache-2.0
// remorad: the daemon. Parses the command line, starts, says so on one line, waits for a signal:
// SIGTERM and SIGINT end it, SIGUSR2 makes it the program that its file is now (an upgrade).
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <signal.h>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "apps/successor.h"
#include "control/daemon.h"
#include "core/log.h"
#include "core/units.h"
#include "reactor/linux/process_limits.h"
#include "rest/server.h"

namespace {

int refuse(const std::string& sentence, int code) {
    std::fprintf(stderr, "remorad: %s\n", sentence.c_str());
    return code;
}

/// They are waited for, not handled; every thread made later inherits that.
sigset_t block_signals() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    return signals;
}

/// Says that it is ready, also over HTTP unless `rest_address` is "none", until a signal comes,
/// which is returned. An upgrade for which there is no program is none.
remora::core::Result<int> serve(remora::control::Daemon& daemon,
                                const std::string& rest_address,
                                const sigset_t& signals,
                                char** argv) {
    std::unique_ptr<remora::rest::Server> rest;
    if (rest_address != "none") {
        auto started =
            remora::rest::Server::start(rest_address, daemon.channel(), daemon.services());
        if (!started) {
            return remora::core::fail("--rest", started.error());
        }
        rest = std::move(*started);
    }
    const std::string rest_text = rest == nullptr ? "" : " rest=" + rest->address();
    std::printf("remorad ready: grpc=%s%s\n", daemon.grpc_address().c_str(), rest_text.c_str());
    std::fflush(stdout);
    int signal_number = 0;
    sigwait(&signals, &signal_number);
    while (signal_number == SIGUSR2) {
        const auto startable = remora::apps::check_successor(argv);
        if (startable) {
            break;
        }
        remora::log::error("goes on as it is",
                           remora::log::kv("reason", startable.error().message));
        sigwait(&signals, &signal_number);
    }
    return signal_number;  // REST ends here: first the callers, then what they call.
}

/// What the options say that is not a DaemonOption as it stands.
struct Text {
    std::string memory = "64M";
    std::string level = "info";
    std::string rest_address = "127.0.0.1:8082";
    unsigned poll_us = 100;
    unsigned path_timeout_s = 30;
};

void add_options(CLI::App& app, remora::control::DaemonOptions& options, Text& text) {
    app.add_option("--state", options.state_directory, "durable state; made if missing")
        ->required();
    app.add_option("--grpc", options.grpc_address, "where gRPC listens; port 0 picks one")
        ->capture_default_str();
    app.add_option("--rest", text.rest_address,
                   "where REST listens; port 0 picks one, none turns it off")
        ->capture_default_str();
    app.add_option("--cores", options.cores, "one pinned reactor a core, e.g. 0,1")->delimiter(',');
    app.add_option("--socket-dir", options.socket_directory,
                   "where vhost-user and vfio-user sockets are made (default STATE/vhost)");
    app.add_option("--audit", options.audit,
                   "the log of who changed what (default STATE/audit.log); none: no log");
    app.add_option("--qmp", options.qmp, "QEMU to plug devices into: unix:PATH or HOST:PORT");
    app.add_option(
        "--functions", options.functions,
        "PCI places of host functions 0..63: BUS, BUS:SLOT, BUS:FIRST-LAST, PREFIX[A-B], "
        "separated by commas");
    app.add_option("--virtual-functions", options.virtual_functions,
                   "places of a function's virtual functions 1, 2, ...: PF=PLACES, such as "
                   "0=br3:8-15; once for each function that has some")
        ->allow_extra_args(false);
    app.add_flag("--nvme-msix", options.nvme_msix,
                 "NVMe functions offer MSI-X instead of one MSI; QEMU 11 aborts when such a "
                 "device is unplugged");
    app.add_option("--poll-us", text.poll_us, "microseconds a reactor spins before it blocks")
        ->capture_default_str();
    app.add_option("--memory", text.memory, "buffer pool of each reactor")->capture_default_str();
    app.add_option("--path-timeout", text.path_timeout_s, "seconds a guest's I/O waits for a path")
        ->capture_default_str()
        ->check(CLI::Range(1, 3600));
    app.add_option("--seal-key", options.seal_key,
                   "file of 32 bytes that keys in the state are sealed with (default: systemd's "
                   "credential remora-seal-key, else STATE/seal-key, made when it is needed)");
    app.add_option("--log-level", text.level, "debug, info, warn or error")->capture_default_str();
}

}  // namespace

// NOLINTNEXTLINE(bugprone-exception-escape): what still throws here ends the program, as it should
int main(int argc, char** argv) {
    remora::control::DaemonOptions options;
    Text text;
    CLI::App app("remorad: reaches block volumes over the network and shows them to hosts",
                 "remorad");
    app.footer(
        "Examples:\n  remorad --state /var/lib/remora\n  remorad --state /var/lib/remora "
        "--cores 0,1 --qmp unix:/run/vm/qmp --functions 'br1:1-31,br2:1-31,br3:1-2'\n"
        "Signals:\n  TERM, INT  end it\n  USR2       becomes the program that its file is now; "
        "guests "
        "keep their disks");
    add_options(app, options, text);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : 2;
    }

    remora::log::Level level = remora::log::Level::Info;
    if (!remora::log::parse_level(text.level, level)) {
        return refuse("--log-level is debug, info, warn or error, not " + text.level, 2);
    }
    remora::log::set_level(level);
    const auto memory_bytes = remora::core::parse_size(text.memory);
    if (!memory_bytes) {
        return refuse("--memory: " + memory_bytes.error().message, 2);
    }
    options.memory_bytes = *memory_bytes;
    options.spin = std::chrono::microseconds(text.poll_us);
    options.path_timeout = std::chrono::seconds(text.path_timeout_s);

    // NOLINTNEXTLINE(concurrency-mt-unsafe): there are no other threads yet
    if (const char* credentials = std::getenv("CREDENTIALS_DIRECTORY")) {
        options.credentials_directory = credentials;
    }

    remora::reactor::allow_descriptors();
    const sigset_t signals = block_signals();
    auto handover = remora::apps::inherited_handover();
    if (!handover) {
        return refuse(handover.error().message, 1);
    }
    options.handover = std::move(*handover);
    auto daemon = remora::control::Daemon::start(options);
    if (!daemon) {
        return refuse(daemon.error().message, 1);
    }
    const auto signal = serve(**daemon, text.rest_address, signals, argv);
    if (!signal) {
        return refuse(signal.error().message, 1);
    }
    if (*signal == SIGUSR2) {
        remora::log::info("goes on as the program that its file is now");
        const auto failed = remora::apps::become_successor(argv, (*daemon)->hand_over());
        refuse(failed.message, 1);
        std::_Exit(1);
    }
    if (!(*daemon)->stop()) {
        remora::log::warn(
            "stopped with work under way; guests' requests go on with the next remorad");
        std::_Exit(0);
    }
    return 0;
}
