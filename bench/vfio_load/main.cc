// SPDX-License-Identifier: Apache-2.0
// vfio_load: loads any vfio-user NVMe socket without a virtual machine, or shows one to a machine.
#include <cstdio>
#include <iostream>
#include <memory>
#include <optional>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "bench/vfio_load/load.h"
#include "bench/vfio_load/local_controller.h"
#include "core/log.h"
#include "tests/support/nvme_guest.h"

namespace {

using remora::bench::LoadOptions;
using remora::bench::LoadResult;
using remora::bench::LocalController;
using remora::bench::LocalOptions;
using remora::test::NvmeGuest;

constexpr const char* kExamples = R"(Examples:
  # 4 KiB random reads at depth 32 from a controller that remorad shows
  vfio_load --socket /run/remora/nvme0.sock --qd 32

  # one busy controller beside others with idle drivers
  vfio_load --socket /run/remora/nvme0.sock --beside /run/remora/nvme1.sock /run/remora/nvme2.sock

  # no daemon: a null volume in this process, controller on core 0, driver on core 1
  vfio_load --local null --device-core 0 --core 1 --qd 32

  # a RAM volume for QEMU 10.1 and later; commands: add NSID, remove NSID, status, quit
  vfio_load --local ram --serve /tmp/nvme.sock
  qemu-system-x86_64 ... -object memory-backend-memfd,id=mem,size=1G,share=on \
    -machine q35,memory-backend=mem \
    -device '{"driver":"vfio-user-pci","socket":{"type":"unix","path":"/tmp/nvme.sock"}}'
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

double microseconds(const LoadResult& result, double part) {
    return static_cast<double>(result.latency_ns.percentile(part)) / 1000;
}

void print(const LoadOptions& options, const LoadResult& result) {
    const double rate = static_cast<double>(result.operations) / result.elapsed.count();
    std::printf("%s %u B, depth %u x %u %s, %s, doorbells %s%s\n", options.write ? "write" : "read",
                options.bytes, options.depth, options.queues,
                options.queues == 1 ? "queue" : "queues",
                options.interrupts ? "interrupts" : "polled",
                result.doorbells_mapped ? "mapped" : "by messages",
                options.shadow ? ", shadow doorbells" : "");
    std::printf("  %.0f IOPS, %.1f MiB/s, %llu operations in %.2f s, %llu errors\n", rate,
                rate * options.bytes / (1 << 20U),
                static_cast<unsigned long long>(result.operations), result.elapsed.count(),
                static_cast<unsigned long long>(result.errors));
    std::printf("  latency p50 %.2f us, p99 %.2f us, p99.9 %.2f us, max %.2f us\n",
                microseconds(result, 0.5), microseconds(result, 0.99), microseconds(result, 0.999),
                static_cast<double>(result.latency_ns.max()) / 1000);
    std::printf("  per operation: %.4f interrupts; batch mean %.1f, max %llu\n",
                per(result.interrupts, result.operations), per(result.operations, result.batches),
                static_cast<unsigned long long>(result.batch_max));
}

void print_json(const LoadResult& result) {
    std::printf(
        "{\"iops\": %.0f, \"p50_us\": %.3f, \"p99_us\": %.3f, \"errors\": %llu, "
        "\"interrupts_per_io\": %.5f, \"batch_mean\": %.2f, \"batch_max\": %llu}\n",
        static_cast<double>(result.operations) / result.elapsed.count(), microseconds(result, 0.5),
        microseconds(result, 0.99), static_cast<unsigned long long>(result.errors),
        per(result.interrupts, result.operations), per(result.operations, result.batches),
        static_cast<unsigned long long>(result.batch_max));
}

void print_status(LocalController& controller) {
    const auto status = controller.status();
    const auto counters = controller.counters();
    std::printf(
        "connected %d, ready %d, queues %u, reads %llu, writes %llu, errors %llu, refused "
        "%llu, doorbells %llu, interrupts %llu\n",
        status.connected ? 1 : 0, status.ready ? 1 : 0, status.active_queues,
        static_cast<unsigned long long>(counters.io.read.ops),
        static_cast<unsigned long long>(counters.io.write.ops),
        static_cast<unsigned long long>(counters.io.read.errors + counters.io.write.errors),
        static_cast<unsigned long long>(counters.refused_commands),
        static_cast<unsigned long long>(counters.doorbells),
        static_cast<unsigned long long>(counters.interrupts));
}

/// Serves until the input ends.
int serve(LocalController& controller) {
    std::string word;
    while (std::cin >> word && word != "quit") {
        std::uint32_t nsid = 0;
        if (word == "status") {
            print_status(controller);
        } else if ((word == "add" || word == "remove") && std::cin >> nsid) {
            const auto done =
                word == "add" ? controller.add_namespace(nsid) : controller.remove_namespace(nsid);
            std::printf("%s\n", done ? "done" : done.error().message.c_str());
        } else {
            std::printf("add NSID, remove NSID, status or quit\n");
        }
        std::fflush(stdout);
    }
    return 0;
}

/// What is not about the load itself.
struct Settings {
    LocalOptions local;  ///< Kind empty: a socket is given.
    std::optional<unsigned> core;
    std::vector<std::string> beside;  ///< Sockets of controllers that have nothing to do.
    bool wait = false;
    bool json = false;
};

/// Guests with one queue each that ask for nothing; fewer than asked for after an error, which is
/// printed.
std::vector<std::unique_ptr<NvmeGuest>> connect_idle(const std::vector<std::string>& paths) {
    std::vector<std::unique_ptr<NvmeGuest>> all;
    for (const std::string& path : paths) {
        all.push_back(std::make_unique<NvmeGuest>(remora::test::NvmeGuestOptions{.path = path}));
        if (!all.back()->start(1)) {
            std::fprintf(stderr, "vfio_load: %s: %s\n", path.c_str(), all.back()->error().c_str());
            all.pop_back();
            break;
        }
    }
    return all;
}

int run(LoadOptions options, Settings settings) {
    std::unique_ptr<LocalController> controller;
    if (!settings.local.kind.empty()) {
        const bool serving = !settings.local.path.empty();
        settings.local.queues =
            serving ? std::uint16_t{16} : static_cast<std::uint16_t>(options.queues);
        auto started = LocalController::start(settings.local);
        if (!started) {
            std::fprintf(stderr, "vfio_load: %s\n", started.error().message.c_str());
            return 1;
        }
        controller = std::move(*started);
        if (serving) {
            return serve(*controller);
        }
        options.path = controller->path();
    }
    if (settings.core && !pin(*settings.core)) {
        std::fprintf(stderr, "vfio_load: core %u cannot be used\n", *settings.core);
        return 1;
    }
    if (settings.wait) {
        settings.beside.push_back(options.path);
    }
    const auto idle = connect_idle(settings.beside);
    if (idle.size() != settings.beside.size()) {
        return 1;
    }
    if (settings.wait) {
        std::puts("{}");
        std::fflush(stdout);
        poll(nullptr, 0, static_cast<int>(options.time.count() * 1000));
        return 0;
    }
    const auto result = remora::bench::run_load(options);
    if (!result) {
        std::fprintf(stderr, "vfio_load: %s\n", result.error().message.c_str());
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
    CLI::App app{"Loads a vfio-user NVMe controller as a guest would, from user space.",
                 "vfio_load"};
    app.footer(kExamples);
    LoadOptions options;
    Settings settings;
    std::string direction = "read";
    double seconds = 5;
    bool messages = false;
    bool intx = false;
    auto* target =
        app.add_option_group("The controller", "which of them to load")->require_option(1);
    target->add_option("--socket", options.path, "Path of the controller's unix socket");
    auto* local =
        target->add_option("--local", settings.local.kind, "One in this process: null or ram")
            ->check(CLI::IsMember({"null", "ram"}));
    app.add_option("--serve", settings.local.path, "Do not load it: serve it at this path")
        ->needs(local);
    app.add_option("--qd", options.depth, "Commands in flight on each queue")
        ->check(CLI::Range(1, 1023))
        ->capture_default_str();
    app.add_option("--bs", options.bytes, "Bytes of one command")
        ->transform(CLI::AsSizeValue(false))
        ->check(CLI::Range(512, 1 << 18))
        ->capture_default_str();
    app.add_option("--rw", direction, "read or write; offsets are random")
        ->check(CLI::IsMember({"read", "write"}))
        ->capture_default_str();
    app.add_option("--time", seconds, "Seconds to run")
        ->check(CLI::Range(0.01, 3600.0))
        ->capture_default_str();
    app.add_option("--queues", options.queues, "Queue pairs, all driven by one thread")
        ->check(CLI::Range(1, 64))
        ->capture_default_str();
    app.add_option("--nsid", options.nsid, "The namespace to load")->capture_default_str();
    app.add_flag("--interrupt", options.interrupts,
                 "Sleep until the controller signals; else poll");
    app.add_flag("--messages", messages, "Do not map the doorbells");
    app.add_flag("--shadow", options.shadow, "Use shadow doorbells");
    app.add_flag("--intx", intx, "A --serve controller without MSI-X");
    app.add_option("--core", settings.core, "Pin the driver to this core");
    app.add_option("--device-core", settings.local.core, "Pin a --local controller to this core");
    app.add_option("--beside", settings.beside,
                   "Sockets of other controllers, each with a driver that asks for nothing");
    app.add_flag("--wait", settings.wait, "Ask for nothing either: only be there");
    app.add_flag("--json", settings.json, "Print one JSON object");
    CLI11_PARSE(app, argc, argv);
    options.write = direction == "write";
    options.map_doorbells = settings.local.map_doorbells = !messages;
    settings.local.msix = !intx;
    options.time = std::chrono::duration<double>(seconds);
    if (settings.local.path.empty()) {
        remora::core::log::set_level(remora::core::log::Level::Warn);
    }
    return run(options, settings);
}
