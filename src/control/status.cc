// SPDX-License-Identifier: Apache-2.0
#include "control/status.h"

#include <algorithm>
#include <utility>

#include "control/child_calls.h"
#include "control/host_functions.h"
#include "control/path_policy.h"
#include "control/references.h"
#include "control/remotes.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;

namespace {

constexpr std::uint32_t kLargestIo = 1024 * 1024;
constexpr std::uint32_t kDeepestQueue = 1024;
constexpr std::uint64_t kLongestMilliseconds = 3'600'000;

std::string_view text_of(node::PathState state) {
    switch (state) {
        case node::PathState::Connecting:
            return "connecting";
        case node::PathState::Live:
            return "live";
        case node::PathState::Down:
            return "down";
    }
    return "unknown";
}

void add_data_plane_status(const node::RemotePathStatus& path, api::PathStatus& out) {
    out.set_state(std::string(text_of(path.state)));
    out.set_last_error(path.last_error);
    out.set_reconnects(path.reconnects);
    for (const node::PathNamespace& space : path.namespaces) {
        api::NamespaceAccess& access = *out.add_namespaces();
        access.set_nsid(space.identity.nsid);
        access.set_volume(space.volume);
        access.set_volume_uuid(space.identity.uuid.text());
        access.set_state(std::string(to_string(space.access)));
        access.set_present(space.present);
    }
}

std::string function_state(const state::Record& known, bool plugged) {
    if (known.intent() != state::INTENT_READY) {
        return known.intent() == state::INTENT_PENDING ? "pending" : "detaching";
    }
    if (!known.attachment().empty()) {
        return "attached";
    }
    return plugged ? "plugged" : "served";
}

Result<node::BenchmarkSpec> read(const api::RunBenchmarkRequest& request) {
    node::BenchmarkSpec spec;
    using Pattern = node::BenchmarkSpec::Pattern;
    if (request.pattern() == api::RunBenchmarkRequest::PATTERN_READ) {
        spec.pattern = Pattern::Read;
    } else if (request.pattern() == api::RunBenchmarkRequest::PATTERN_WRITE) {
        spec.pattern = Pattern::Write;
    } else if (request.pattern() == api::RunBenchmarkRequest::PATTERN_READ_WRITE) {
        spec.pattern = Pattern::ReadWrite;
    } else {
        return fail(ErrorKind::InvalidArgument,
                    "pattern: use PATTERN_READ, PATTERN_WRITE or PATTERN_READ_WRITE");
    }
    if (request.io_bytes() > kLargestIo) {
        return fail(ErrorKind::InvalidArgument,
                    "io_bytes: " + std::to_string(request.io_bytes()) + " is more than 1 MiB");
    }
    if (request.queue_depth() > kDeepestQueue) {
        return fail(ErrorKind::InvalidArgument, "queue_depth: 1 to 1024");
    }
    const std::uint64_t milliseconds =
        std::uint64_t{request.seconds()} * 1000 + request.milliseconds();
    if (milliseconds == 0 || milliseconds > kLongestMilliseconds) {
        return fail(ErrorKind::InvalidArgument,
                    "seconds: with milliseconds at least 1 ms and at most 3600 s");
    }
    spec.io_bytes = request.io_bytes();
    spec.queue_depth = request.queue_depth();
    spec.milliseconds = static_cast<std::uint32_t>(milliseconds);
    return spec;
}

template <unsigned StepBits, unsigned Powers>
api::LatencyNanos to_api(const core::BasicHistogram<StepBits, Powers>& latency) {
    api::LatencyNanos out;
    out.set_p50(latency.percentile(0.50));
    out.set_p90(latency.percentile(0.90));
    out.set_p99(latency.percentile(0.99));
    out.set_p999(latency.percentile(0.999));
    out.set_max(latency.max());
    return out;
}

api::RunBenchmarkResponse to_api(const node::BenchmarkResult& result, std::uint32_t io_bytes) {
    api::RunBenchmarkResponse out;
    const double seconds = std::chrono::duration<double>(result.elapsed).count();
    out.set_operations(result.operations);
    out.set_errors(result.errors);
    out.set_seconds(seconds);
    if (seconds > 0) {
        out.set_iops(static_cast<double>(result.operations) / seconds);
        out.set_bytes_per_second(out.iops() * io_bytes);
    }
    *out.mutable_latency() = to_api(result.latency_ns);
    return out;
}

}  // namespace

std::vector<api::PathStatus> Status::path_status(const std::string& controller) const {
    std::vector<api::PathStatus> paths;
    const auto status = context_.node.remote_status(std::string(last_segment(controller)));
    for (const auto* path : paths_of(context_.model, controller)) {
        api::PathStatus& out = paths.emplace_back();
        out.set_name(path->resource.name());
        out.set_traddr(path->resource.traddr());
        out.set_trsvcid(std::to_string(path->resource.fabrics().trsvcid()));
        out.set_state("not started");
        for (const node::RemotePathStatus& shown :
             status ? status->paths : std::vector<node::RemotePathStatus>()) {
            if (shown.id == last_segment(path->resource.name())) {
                add_data_plane_status(shown, out);
            }
        }
    }
    return paths;
}

/// What is to be said of any function of the host.
template <typename M>
api::HostDiskStatus Status::function_status(const Object<M>& device) const {
    const core::HostFunction function = function_of(device.resource);
    api::HostDiskStatus out;
    out.set_host_function(static_cast<std::int32_t>(function.pf));
    out.set_host_virtual_function(static_cast<std::int32_t>(function.vf));
    const auto address = context_.pci_addresses.find(function);
    const bool plugged = address != context_.pci_addresses.end();
    out.set_pci_address(plugged ? address->second : "");
    out.set_state(function_state(device.known, plugged));
    out.set_socket_path(disks_.socket_path(device.resource));
    return out;
}

Task<api::HostDiskStatus> Status::controller_status(Object<opi::NvmeController> controller) {
    api::HostDiskStatus out = function_status(controller);
    out.set_nvme_controller(controller.resource.name());
    const std::string subsystem = parent_of(controller.resource.name());
    if (const auto* of = context_.model.find<opi::NvmeSubsystem>(subsystem)) {
        out.set_subsystem_nqn(of->resource.spec().nqn());
    }
    out.set_namespaces(static_cast<std::uint32_t>(
        children_of<opi::NvmeNamespace>(context_.model, subsystem).size()));
    const auto front =
        co_await context_.node.vfio_nvme_status(node_controller_name(controller.resource));
    out.set_host_connected(front && front->ready);
    co_return out;
}

Task<api::HostDiskStatus> Status::disk_status(Object<opi::VirtioBlk> disk) {
    api::HostDiskStatus out = function_status(disk);
    out.set_virtio_blk(disk.resource.name());
    const std::string& volume = disk.known.volume();
    out.set_volume(volume);
    if (const auto info = context_.node.find_volume(volume)) {
        out.set_volume_uuid(info->uuid.text());
        out.set_size_bytes(info->geometry.size_bytes());
    }
    const std::string below = volume_below(context_.model, volume);
    const auto parts = split_remote_volume(below);
    if (parts && below.find('/') == std::string::npos) {
        const std::string controller =
            canonical_name(KindTraits<opi::NvmeRemoteController>::kCollection, parts->first);
        out.set_remote_controller(controller);
        if (const auto stored = paths_of(context_.model, controller); !stored.empty()) {
            out.set_subsystem_nqn(stored.front()->resource.fabrics().subnqn());
        }
        for (const api::PathStatus& path : path_status(controller)) {
            *out.add_paths() = path;
        }
    }
    const auto front =
        co_await context_.node.vhost_blk_status(std::string(last_segment(disk.resource.name())));
    out.set_host_connected(front && front->connected);
    co_return out;
}

Task<std::vector<api::HostDiskStatus>> Status::host_disks() {
    // Copies: they may go while the data plane is asked.
    std::vector<Object<opi::VirtioBlk>> disks;
    for (const auto& [name, object] : context_.model.table<opi::VirtioBlk>()) {
        disks.push_back(object);
    }
    std::vector<Object<opi::NvmeController>> controllers;
    for (const auto& [name, object] : context_.model.table<opi::NvmeController>()) {
        if (is_host_function(object.resource)) {
            controllers.push_back(object);
        }
    }
    std::vector<api::HostDiskStatus> out;
    out.reserve(disks.size() + controllers.size());
    for (const auto& disk : disks) {
        out.push_back(co_await disk_status(disk));
    }
    for (const auto& controller : controllers) {
        out.push_back(co_await controller_status(controller));
    }
    std::ranges::sort(out, {}, attached_function<api::HostDiskStatus>);
    co_return out;
}

Task<Result<api::GetStatusResponse>> Status::get_status(const api::GetStatusRequest& /*request*/) {
    api::GetStatusResponse out;
    out.set_version(context_.options.version);
    out.set_ready(ready_);
    out.set_reactors(context_.options.reactors);
    const core::Nanos up = reactor::Reactor::current().now() - started_;
    out.set_uptime_seconds(
        static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(up).count()));
    out.set_host_platform(std::string(context_.host.kind()));
    out.set_host_platform_error(context_.host.trouble());
    for (const api::HostDiskStatus& disk : co_await host_disks()) {
        *out.add_host_disks() = disk;
    }
    for (const auto& [name, object] : context_.model.table<opi::NvmeRemoteController>()) {
        api::RemoteControllerStatus& remote = *out.add_remote_controllers();
        remote.set_name(name);
        for (const api::PathStatus& path : path_status(name)) {
            *remote.add_paths() = path;
        }
        const auto running = context_.node.remote_status(std::string(last_segment(name)));
        remote.set_state(remote.paths_size() == 0 ? "no path"
                         : running                ? std::string(text_of(running->state))
                                                  : "not started");
        remote.set_policy(to_api(policy_of(object)));
        remote.set_attachments(static_cast<std::uint32_t>(attachments_.users_of(name).size()));
    }
    co_return out;
}

Task<Result<api::VolumeStats64>> Status::volume_stats(const api::GetVolumeStatsRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto target = resolve_volume(context_, request.volume_name_ref());
    if (!target) {
        co_return std::unexpected(target.error());
    }
    const auto stats = co_await context_.node.volume_stats(target->volume);
    if (!stats) {
        co_return std::unexpected(stats.error());
    }
    api::VolumeStats64 out;
    out.set_read_ops(stats->read.ops);
    out.set_read_bytes(stats->read.bytes);
    out.set_write_ops(stats->write.ops);
    out.set_write_bytes(stats->write.bytes);
    out.set_unmap_ops(stats->unmap.ops);
    out.set_unmap_bytes(stats->unmap.bytes);
    out.set_flush_ops(stats->flush.ops);
    out.set_errors(stats->read.errors + stats->write.errors + stats->unmap.errors +
                   stats->flush.errors);
    out.set_read_errors(stats->read.errors);
    out.set_write_errors(stats->write.errors);
    out.set_unmap_errors(stats->unmap.errors);
    out.set_flush_errors(stats->flush.errors);
    out.set_read_latency_ns(stats->read.latency_ns);
    out.set_write_latency_ns(stats->write.latency_ns);
    out.set_unmap_latency_ns(stats->unmap.latency_ns);
    out.set_flush_latency_ns(stats->flush.latency_ns);
    out.set_throttled_ns(stats->throttled_ns);
    *out.mutable_read_latency() = to_api(stats->read_latency);
    *out.mutable_write_latency() = to_api(stats->write_latency);
    co_return out;
}

Task<Result<api::RunBenchmarkResponse>> Status::run_benchmark(
    const api::RunBenchmarkRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    auto spec = read(request);
    if (!spec) {
        co_return std::unexpected(spec.error());
    }
    const auto target = resolve_volume(context_, request.volume_name_ref());
    if (!target) {
        co_return std::unexpected(target.error());
    }
    if (spec->io_bytes % target->geometry.block_size != 0) {
        co_return fail(ErrorKind::InvalidArgument,
                       "io_bytes: " + std::to_string(spec->io_bytes) +
                           " is not a multiple of the volume's block size " +
                           std::to_string(target->geometry.block_size));
    }
    const auto users = users_of_volume(context_.model, target->volume);
    if (spec->pattern != node::BenchmarkSpec::Pattern::Read && !users.empty()) {
        co_return fail(ErrorKind::FailedPrecondition,
                       "writes would destroy the data of " + join_names(users) +
                           ", which uses the volume; use PATTERN_READ, or delete that first");
    }
    spec->volume = target->volume;
    // While it writes nothing new is built on the volume.
    const bool writes = spec->pattern != node::BenchmarkSpec::Pattern::Read;
    if (writes) {
        context_.overwritten.insert(target->volume);
    }
    const auto result = co_await context_.node.run_benchmark(*spec);
    if (writes) {
        context_.overwritten.extract(target->volume);
    }
    if (!result) {
        co_return std::unexpected(result.error());
    }
    co_return to_api(*result, spec->io_bytes);
}

}  // namespace remora::control
