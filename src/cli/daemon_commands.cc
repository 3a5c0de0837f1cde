// SPDX-License-Identifier: Apache-2.0
#include "cli/daemon_commands.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <limits>
#include <set>
#include <vector>

#include <google/protobuf/empty.pb.h>
#include <nlohmann/json.hpp>

#include "cli/endpoint.h"
#include "cli/host_function.h"
#include "cli/kinds.h"
#include "cli/output.h"
#include "core/check.h"
#include "core/units.h"
#include "remora/v1/remora.pb.h"

namespace remora::cli {

namespace {

namespace api = remora::v1;

constexpr std::string_view kService = "remora.v1.RemoraService";

template <typename Number>
Number read_number(const char* flag, const std::string& digits) {
    Number value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc{} || end != digits.data() + digits.size()) {
        refuse_argument(std::string(flag) + " '" + digits + "' is not a whole number up to " +
                        std::to_string(std::numeric_limits<Number>::max()));
    }
    return value;
}

std::string path_text(const api::PathStatus& path) {
    std::string text = format_endpoint(path.traddr(), path.trsvcid()) + " " + path.state();
    if (!path.last_error().empty() && path.state() != "live") {
        text += " (" + path.last_error() + ")";
    }
    // What ANA says is shown where it is not the usual.
    std::set<std::string> access;
    for (const api::NamespaceAccess& space : path.namespaces()) {
        if (space.present() && space.state() != "optimized") {
            access.insert(space.state());
        }
    }
    for (const std::string& state : access) {
        text += " (" + state + ")";
    }
    return text;
}

std::string paths_text(const google::protobuf::RepeatedPtrField<api::PathStatus>& paths) {
    std::string text;
    for (const api::PathStatus& path : paths) {
        text += (text.empty() ? "" : ", ") + path_text(path);
    }
    return text;
}

const char* host_text(const api::HostDiskStatus& disk) {
    return disk.host_connected() ? "running" : "not running";
}

void print_disks(const Session& session, const api::GetStatusResponse& answer) {
    if (answer.host_disks().empty()) {
        session.out << "no host disks\n";
        return;
    }
    Table table({"FUNCTION", "STATE", "HOST", "PCI", "DEVICE", "VOLUME", "SIZE", "REMOTE", "PATH"});
    for (const api::HostDiskStatus& disk : answer.host_disks()) {
        if (!disk.nvme_controller().empty()) {
            table.add({function_of(disk).text(), disk.state(), host_text(disk), disk.pci_address(),
                       short_name(disk.nvme_controller()),
                       std::to_string(disk.namespaces()) + " namespaces", "", "", ""});
            continue;
        }
        table.add(
            {function_of(disk).text(), disk.state(), host_text(disk), disk.pci_address(),
             short_name(disk.virtio_blk()),
             disk.volume_uuid().empty() ? disk.volume() : disk.volume_uuid(),
             core::format_size(disk.size_bytes()),
             disk.remote_controller().empty() ? "local" : short_name(disk.remote_controller()),
             paths_text(disk.paths())});
    }
    table.print(session.out);
}

/// Remote controllers that no disk's line shows.
void print_unused_remotes(const Session& session, const api::GetStatusResponse& answer) {
    std::set<std::string> shown;
    for (const api::HostDiskStatus& disk : answer.host_disks()) {
        shown.insert(disk.remote_controller());
    }
    Table table({"REMOTE WITHOUT DISKS", "STATE", "PATH"});
    bool any = false;
    for (const api::RemoteControllerStatus& remote : answer.remote_controllers()) {
        if (!shown.contains(remote.name())) {
            table.add({short_name(remote.name()), remote.state(), paths_text(remote.paths())});
            any = true;
        }
    }
    if (any) {
        session.out << '\n';
        table.print(session.out);
    }
}

/// "0.5" or "10": milliseconds.
std::uint32_t read_seconds(const char* flag, const std::string& text) {
    double seconds = 0;
    const char* end = text.data() + text.size();
    const auto [stopped, error] = std::from_chars(text.data(), end, seconds);
    constexpr double kMost = 3600;
    if (error != std::errc() || stopped != end || !(seconds >= 0 && seconds <= kMost)) {
        refuse_argument(std::string(flag) + " " + text +
                        " is no number of seconds up to 3600, such as 10");
    }
    return static_cast<std::uint32_t>(std::lround(seconds * 1000));
}

std::string seconds_text(std::uint32_t milliseconds) {
    std::string text = std::to_string(milliseconds / 1000);
    if (milliseconds % 1000 != 0) {
        text += '.' + std::to_string(milliseconds % 1000 + 1000).substr(1);
    }
    return text + " s";
}

api::RunBenchmarkRequest::Pattern pattern_of(const std::string& text) {
    if (text == "read") {
        return api::RunBenchmarkRequest::PATTERN_READ;
    }
    return text == "write" ? api::RunBenchmarkRequest::PATTERN_WRITE
                           : api::RunBenchmarkRequest::PATTERN_READ_WRITE;
}

void print_bench_json(const Session& session, const api::RunBenchmarkResponse& answer) {
    nlohmann::ordered_json out;
    out["operations"] = answer.operations();
    out["errors"] = answer.errors();
    out["seconds"] = answer.seconds();
    out["iops"] = answer.iops();
    out["bytesPerSecond"] = answer.bytes_per_second();
    auto& latency = out["latency"];
    latency["p50"] = answer.latency().p50();
    latency["p90"] = answer.latency().p90();
    latency["p99"] = answer.latency().p99();
    latency["p999"] = answer.latency().p999();
    latency["max"] = answer.latency().max();
    session.out << out.dump(1) << '\n';
}

const Kind& controller_kind() {
    const auto all = kinds();
    const auto found = std::ranges::find(all, std::string_view("controller"), &Kind::name);
    CHECK(found != all.end());
    return *found;
}

}  // namespace

void ana(const Session& session, const std::string& controller, const std::string& state) {
    const std::string name = full_name(controller_kind(), controller);
    api::AnaPort port;
    Client client(session);
    if (state.empty()) {
        api::GetAnaStateRequest request;
        request.set_name(name);
        client.call(kService, "GetAnaState", request, port);
    } else {
        api::SetAnaStateRequest request;
        request.set_name(name);
        std::string word = "ANA_STATE_" + state;
        std::ranges::transform(word, word.begin(), [](unsigned char letter) {
            return letter == '-' ? '_' : static_cast<char>(std::toupper(letter));
        });
        api::AnaState wanted = api::ANA_STATE_UNSPECIFIED;
        api::AnaState_Parse(word, &wanted);
        request.set_ana_state(wanted);
        client.call(kService, "SetAnaState", request, port);
    }
    if (session.json()) {
        session.out << to_json(port);
        return;
    }
    Table table({"CONTROLLER", "ANA"});
    table.add(
        {short_name(port.name()), enum_text(api::AnaState_Name(port.ana_state()), "ANA_STATE")});
    table.print(session.out);
}

void attach(const Session& session, const AttachFlags& flags) {
    const Endpoint discovery = take(parse_endpoint("--discovery", flags.discovery));
    api::AttachVolumeRequest request;
    request.mutable_discovery()->set_traddr(discovery.traddr);
    request.mutable_discovery()->set_trsvcid(std::to_string(discovery.port));
    request.set_volume_uuid(flags.volume);
    if (!flags.function.empty()) {
        set_function(*read_function(flags.function), request);
    }
    request.set_hostnqn(flags.hostnqn);
    request.set_as(flags.kind == "nvme" ? api::DEVICE_KIND_NVME : api::DEVICE_KIND_VIRTIO_BLK);
    api::Attachment disk;
    Client(session).call(kService, "AttachVolume", request, disk);
    if (!flags.function.empty()) {
        check_attached(*read_function(flags.function), disk);
    }
    if (session.json()) {
        session.out << to_json(disk);
        return;
    }
    Table table({"FUNCTION", "PCI", "SIZE", "SERIAL", "VOLUME", "STATE"});
    table.add({function_of(disk).text(), disk.pci_address(), core::format_size(disk.size_bytes()),
               disk.serial(), disk.volume_uuid(),
               enum_text(api::Attachment_State_Name(disk.state()), "STATE")});
    table.print(session.out);
}

void detach(const Session& session, const DetachFlags& flags) {
    api::DetachVolumeRequest request;
    request.set_allow_missing(flags.allow_missing);
    if (flags.volume.empty()) {
        set_function(*read_function(flags.function), request);
    } else {
        request.set_volume_uuid(flags.volume);
    }
    google::protobuf::Empty nothing;
    Client(session).call(kService, "DetachVolume", request, nothing);
    if (session.json()) {
        session.out << "{}\n";
    } else if (flags.volume.empty()) {
        session.out << "detached function " << flags.function << '\n';
    } else {
        session.out << "detached volume " << flags.volume << '\n';
    }
}

void status(const Session& session) {
    api::GetStatusResponse answer;
    Client(session).call(kService, "GetStatus", api::GetStatusRequest(), answer);
    if (session.json()) {
        session.out << to_json(answer);
        return;
    }
    session.out << "remorad " << answer.version() << " at " << session.server << ": "
                << (answer.ready() ? "ready" : "not ready") << ", " << answer.reactors()
                << (answer.reactors() == 1 ? " reactor" : " reactors") << ", up "
                << uptime_text(answer.uptime_seconds()) << ", host platform "
                << (answer.host_platform().empty() ? "none" : answer.host_platform());
    if (!answer.host_platform_error().empty()) {
        session.out << " (" << answer.host_platform_error() << ")";
    }
    session.out << "\n\n";
    print_disks(session, answer);
    print_unused_remotes(session, answer);
}

void path_policy(const Session& session, const PathPolicyFlags& flags) {
    api::SetPathPolicyRequest request;
    request.set_remote_controller(flags.remote);
    request.set_policy(flags.policy == "round-robin" ? api::PATH_POLICY_ROUND_ROBIN
                                                     : api::PATH_POLICY_QUEUE_DEPTH);
    api::PathPolicySetting setting;
    Client(session).call(kService, "SetPathPolicy", request, setting);
    if (session.json()) {
        session.out << to_json(setting);
        return;
    }
    session.out << short_name(setting.remote_controller()) << " uses its paths by " << flags.policy
                << '\n';
}

void timings(const Session& session, const TimingsFlags& flags) {
    api::SetConnectionTimingsRequest request;
    request.set_remote_controller(flags.remote);
    if (!flags.connect.empty()) {
        request.set_connect_ms(read_seconds("--connect", flags.connect));
    }
    if (!flags.keep_alive.empty()) {
        request.set_keep_alive_ms(read_seconds("--keep-alive", flags.keep_alive));
    }
    if (!flags.io.empty()) {
        request.set_io_ms(read_seconds("--io", flags.io));
    }
    if (!flags.reconnect_max.empty()) {
        request.set_reconnect_max_ms(read_seconds("--reconnect-max", flags.reconnect_max));
    }
    api::ConnectionTimings answer;
    Client(session).call(kService, "SetConnectionTimings", request, answer);
    if (session.json()) {
        session.out << to_json(answer);
        return;
    }
    Table table({"REMOTE CONTROLLER", "CONNECT", "KEEP ALIVE", "I/O", "RECONNECT MAX"});
    table.add({short_name(answer.remote_controller()), seconds_text(answer.connect_ms()),
               seconds_text(answer.keep_alive_ms()), seconds_text(answer.io_ms()),
               seconds_text(answer.reconnect_max_ms())});
    table.print(session.out);
}

void forget_key(const Session& session, const std::string& volume) {
    api::ForgetVolumeKeyRequest request;
    request.set_volume_name_ref(volume);
    google::protobuf::Empty nothing;
    Client(session).call(kService, "ForgetVolumeKey", request, nothing);
    if (session.json()) {
        session.out << "{}\n";
        return;
    }
    session.out << "the key that " << volume << " was encrypted with is forgotten\n";
}

void bench(const Session& session, const BenchFlags& flags) {
    const std::uint64_t io_bytes = take(core::parse_size(flags.io_size), "--bs");
    if (io_bytes == 0 || io_bytes > std::numeric_limits<std::uint32_t>::max()) {
        refuse_argument("--bs " + flags.io_size +
                        " is no size of an operation: use 1 block to 1M, such as 4k");
    }
    api::RunBenchmarkRequest request;
    request.set_volume_name_ref(flags.volume);
    request.set_pattern(pattern_of(flags.pattern));
    request.set_io_bytes(static_cast<std::uint32_t>(io_bytes));
    request.set_queue_depth(read_number<std::uint32_t>("--qd", flags.queue_depth));
    const std::uint32_t milliseconds = read_seconds("--time", flags.seconds);
    request.set_seconds(milliseconds / 1000);
    request.set_milliseconds(milliseconds % 1000);
    api::RunBenchmarkResponse answer;
    Client(session, std::chrono::milliseconds(milliseconds))
        .call(kService, "RunBenchmark", request, answer);
    if (session.json()) {
        print_bench_json(session, answer);
        return;
    }
    char line[160];
    std::snprintf(line, sizeof line, "%.0f IOPS, %s/s, %llu operations in %.2f s, %llu errors\n",
                  answer.iops(),
                  core::format_size(static_cast<std::uint64_t>(answer.bytes_per_second())).c_str(),
                  static_cast<unsigned long long>(answer.operations()), answer.seconds(),
                  static_cast<unsigned long long>(answer.errors()));
    session.out << line;
    const api::LatencyNanos& latency = answer.latency();
    Table table({"LATENCY", "P50", "P90", "P99", "P99.9", "MAX"});
    table.add({flags.pattern, duration_text(latency.p50()), duration_text(latency.p90()),
               duration_text(latency.p99()), duration_text(latency.p999()),
               duration_text(latency.max())});
    table.print(session.out);
}

}  // namespace remora::cli
