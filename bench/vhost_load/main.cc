// SPDX-License-Identifier: Apache-2.0
// vhost_load: loads any vhost-user-blk socket without a virtual machine.
#include <cstdio>
#include <memory>
#include <optional>
#include <pthread.h>
#include <sched.h>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "bench/vhost_load/load.h"
#include "bench/vhost_load/local_disk.h"
#include "core/log.h"
#include "tests/support/vhost_front_end.h"

namespace {

using remora::bench::LoadOptions;
using remora::bench::LoadResult;
using remora::test::VhostFrontEnd;

constexpr const char* kExamples = R"(Examples:
  # 4 KiB random reads at depth 32 from a disk that remorad shows
  vhost_load --socket /run/remora/disk0.sock --qd 32

  # the driver sleeps until the device signals, two queues
  vhost_load --socket /run/remora/disk0.sock --qd 8 --queues 2 --interrupt

  # no daemon: a null volume in this process, device on core 0, driver on core 1
  vhost_load --local null --device-core 0 --core 1 --qd 32

  # the whole chain: the disk is a volume of an NVMe/TCP target on another core, and the driver's
  # steps are taken by the device's reactor
  vhost_load --remote 127.0.0.1:4420 --nqn nqn.2026-11.example:s --device-core 0 --one-thread

  # the same against QEMU's storage daemon
  qemu-storage-daemon --blockdev null-co,node-name=n,size=67108864,read-zeroes=on \
    --export vhost-user-blk,id=e,node-name=n,addr.type=unix,addr.path=/tmp/q.sock,writable=on
  vhost_load --socket /tmp/q.sock --qd 32
)";

bool pin(unsigned core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (core < CPU_SETSIZE) {
        CPU_SET(core, &set);
    }
    return pthread_setaffinity_np(pthread_self(), sizeof(set), &set) == 0;
}

double per(std::uint64_t count, std::uint64_t operations) {
    return operations == 0 ? 0 : static_cast<double>(count) / static_cast<double>(operations);
}

void print(const LoadOptions& options, const LoadResult& result) {
    const double rate = static_cast<double>(result.operations) / result.elapsed.count();
    const auto microseconds = [&result](double part) {
        return static_cast<double>(result.latency_ns.percentile(part)) / 1000;
    };
    std::printf("%s %u B, depth %u x %u %s %s, %s, %s descriptors, event index %s, in-flight %s\n",
                options.write ? "write" : "read", options.bytes, options.depth, options.queues,
                options.packed ? "packed" : "split", options.queues == 1 ? "queue" : "queues",
                options.interrupts ? "interrupts" : "polled",
                options.indirect ? "indirect" : "direct", options.event_index ? "on" : "off",
                result.inflight ? "tracked" : "not tracked");
    std::printf("  %.0f IOPS, %.1f MiB/s, %llu operations in %.2f s, %llu errors\n", rate,
                rate * options.bytes / (1 << 20U),
                static_cast<unsigned long long>(result.operations), result.elapsed.count(),
                static_cast<unsigned long long>(result.errors));
    std::printf("  latency p50 %.2f us, p99 %.2f us, p99.9 %.2f us, max %.2f us\n",
                microseconds(0.5), microseconds(0.99), microseconds(0.999),
                static_cast<double>(result.latency_ns.max()) / 1000);
    std::printf("  per operation: %.4f kicks, %.4f interrupts; batch mean %.1f, max %llu\n",
                per(result.kicks, result.operations), per(result.interrupts, result.operations),
                per(result.operations, result.batches),
                static_cast<unsigned long long>(result.batch_max));
}

void print_json(const LoadResult& result) {
    const auto microseconds = [&result](double part) {
        return static_cast<double>(result.latency_ns.percentile(part)) / 1000;
    };
    std::printf(
        "{\"iops\": %.0f, \"p50_us\": %.3f, \"p99_us\": %.3f, \"errors\": %llu, "
        "\"kicks_per_io\": %.5f, \"interrupts_per_io\": %.5f, \"batch_mean\": %.2f, "
        "\"batch_max\": %llu}\n",
        static_cast<double>(result.operations) / result.elapsed.count(), microseconds(0.5),
        microseconds(0.99), static_cast<unsigned long long>(result.errors),
        per(result.kicks, result.operations), per(result.interrupts, result.operations),
        per(result.operations, result.batches), static_cast<unsigned long long>(result.batch_max));
}

/// What is not about the load itself.
struct Settings {
    remora::bench::LocalDiskOptions disk;  ///< In this process, unless a socket is given.
    bool one_thread = false;
    std::optional<unsigned> core;
    std::vector<std::string> beside;  ///< Sockets of devices that have nothing to do.
    bool wait = false;
    bool json = false;
};

/// Front ends with one queue each that ask for nothing; fewer than asked for after an error, which
/// is printed.
std::vector<std::unique_ptr<VhostFrontEnd>> connect_idle(const std::vector<std::string>& paths) {
    std::vector<std::unique_ptr<VhostFrontEnd>> all;
    for (const std::string& path : paths) {
        remora::test::FrontEndOptions options;
        options.path = path;
        options.memory_bytes = std::size_t{1} << 20U;
        all.push_back(std::make_unique<VhostFrontEnd>(options));
        if (!all.back()->connect()) {
            std::fprintf(stderr, "vhost_load: %s: %s\n", path.c_str(), all.back()->error().c_str());
            all.pop_back();
            break;
        }
    }
    return all;
}

int run(LoadOptions options, const Settings& settings) {
    std::unique_ptr<remora::bench::LocalDisk> disk;
    if (options.path.empty()) {
        auto started = remora::bench::LocalDisk::start(settings.disk);
        if (!started) {
            std::fprintf(stderr, "vhost_load: %s\n", started.error().message.c_str());
            return 1;
        }
        disk = std::move(*started);
        options.path = disk->path();
        options.rides = settings.one_thread ? &disk->reactor() : nullptr;
    }
    if (settings.core && !pin(*settings.core)) {
        std::fprintf(stderr, "vhost_load: core %u cannot be used\n", *settings.core);
        return 1;
    }
    const auto idle = connect_idle(settings.beside);
    if (idle.size() != settings.beside.size()) {
        return 1;
    }
    if (settings.wait) {
        std::puts("{}");
        std::fflush(stdout);
        // Nothing comes.
        remora::test::wait_eventfd(idle.front()->call(0),
                                   static_cast<int>(options.time.count() * 1000));
        return 0;
    }
    const auto result = remora::bench::run_load(options);
    if (!result) {
        std::fprintf(stderr, "vhost_load: %s\n", result.error().message.c_str());
        return 1;
    }
    if (settings.json) {
        print_json(*result);
    } else {
        print(options, *result);
    }
    return result->errors == 0 ? 0 : 2;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"Loads a vhost-user-blk device as a guest would, from user space.", "vhost_load"};
    app.footer(kExamples);
    LoadOptions options;
    Settings settings;
    std::string direction = "read";
    std::string ring = "split";
    double seconds = 5;
    bool no_event_index = false;
    bool no_inflight = false;
    auto* target = app.add_option_group("The device", "which of them to load")->require_option(1);
    auto* socket = target->add_option("--socket", options.path, "Path of the device's unix socket");
    target
        ->add_option("--local", settings.disk.kind, "A volume in this process instead: null or ram")
        ->check(CLI::IsMember({"null", "ram"}));
    auto* remote = target->add_option("--remote", settings.disk.address,
                                      "A volume of the NVMe/TCP target at this address and port");
    auto* nqn = app.add_option("--nqn", settings.disk.nqn,
                               "The --remote volume's subsystem, of one namespace");
    nqn->needs(remote);
    remote->needs(nqn);
    app.add_option("--qd", options.depth, "Requests in flight on each queue")
        ->check(CLI::Range(1, 1024))
        ->capture_default_str();
    app.add_option("--bs", options.bytes, "Bytes of one request")
        ->transform(CLI::AsSizeValue(false))
        ->check(CLI::Range(512, 1 << 20))
        ->capture_default_str();
    app.add_option("--rw", direction, "read or write; offsets are random")
        ->check(CLI::IsMember({"read", "write"}))
        ->capture_default_str();
    app.add_option("--time", seconds, "Seconds to run")
        ->check(CLI::Range(0.01, 3600.0))
        ->capture_default_str();
    app.add_option("--queues", options.queues, "Queues, all driven by one thread")
        ->check(CLI::Range(1, 64))
        ->capture_default_str();
    app.add_option("--queue-size", options.queue_size, "Descriptors of a queue; 0 picks");
    auto* interrupt = app.add_flag("--interrupt", options.interrupts,
                                   "Sleep until the device signals; else poll");
    app.add_flag("--indirect", options.indirect, "Indirect descriptor tables");
    app.add_option("--ring", ring, "split or packed virtqueues")
        ->check(CLI::IsMember({"split", "packed"}))
        ->capture_default_str();
    app.add_flag("--no-event-idx", no_event_index, "Do not negotiate event indices");
    app.add_flag("--no-inflight", no_inflight, "Do not use the in-flight region");
    app.add_option("--core", settings.core, "Pin the driver to this core");
    app.add_option("--device-core", settings.disk.core, "Pin a --local or --remote device there");
    app.add_flag("--one-thread", settings.one_thread,
                 "A --local or --remote device's reactor takes the driver's steps")
        ->excludes(socket)
        ->excludes(interrupt);
    app.add_option("--beside", settings.beside, "Sockets of devices that are set up and left idle");
    app.add_flag("--wait", settings.wait, "Load nothing: stay connected to all of them for --time");
    app.add_flag("--json", settings.json, "Print one JSON object");
    CLI11_PARSE(app, argc, argv);
    options.write = direction == "write";
    options.packed = ring == "packed";
    settings.disk.queues = static_cast<std::uint16_t>(options.queues);
    options.event_index = !no_event_index;
    options.inflight = !no_inflight;
    options.time = std::chrono::duration<double>(seconds);
    if (settings.wait && !options.path.empty()) {
        settings.beside.push_back(options.path);
    }
    remora::core::log::set_level(remora::core::log::Level::Warn);
    return run(options, settings);
}
