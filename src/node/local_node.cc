// SPDX-License-Identifier: Apache-2.0
#include "node/local_node.h"

#include <algorithm>

#include "backends/file/file_device.h"
#include "backends/null/null_device.h"
#include "backends/nvme_tcp/discovery.h"
#include "backends/ram/ram_device.h"
#include "node/benchmark.h"
#include "reactor/call.h"

namespace remora::node {

using core::ErrorKind;

namespace {

// What a removed disk's requests may take on top of their wait for a path: a connection's linger
// and hold (backends/nvme_tcp Timing), if it broke late in that wait.
constexpr core::Nanos kDrainMargin{std::chrono::seconds(15)};

/// This node's discovery subsystem by a name of its own: the node's UUID, but for its last bit,
/// which the node has as a host.
std::string discovery_nqn(core::Uuid id) {
    id.bytes.back() ^= 1U;
    return "nqn.2014-08.org.nvmexpress:uuid:" + id.text();
}

}  // namespace

LocalNode::LocalNode(std::span<const block::ReactorContext> reactors,
                     reactor::Reactor& control,
                     const LocalNodeOptions& options)
    : reactors_(reactors),
      options_(options),
      competitors_(reactors),
      volumes_(competitors_),
      crypts_(volumes_, reactors, options.crypt_kernel),
      stacked_(volumes_, reactors),
      remotes_(volumes_, reactors, control, options.identity, options.path_timeout),
      target_(reactors, control, options.target, discovery_nqn(options.identity.hostid)),
      controllers_(target_, reactors, competitors_),
      vhost_(volumes_, reactors, options.path_timeout + kDrainMargin),
      vfio_(volumes_, reactors, competitors_, options.path_timeout + kDrainMargin, options.frozen) {
}

Task<Result<VolumeInfo>> LocalNode::create_ram(RamSpec spec) {
    auto device =
        backends::ram::RamDevice::create(spec.name, spec.uuid, spec.block_size, spec.block_count);
    if (!device) {
        co_return std::unexpected(device.error());
    }
    co_return volumes_.add_owned(std::move(*device));
}

Task<Result<VolumeInfo>> LocalNode::create_null(NullSpec spec) {
    auto device =
        backends::null::NullDevice::create(spec.name, spec.uuid, spec.block_size, spec.block_count);
    if (!device) {
        co_return std::unexpected(device.error());
    }
    co_return volumes_.add_owned(std::move(*device));
}

Task<Result<VolumeInfo>> LocalNode::create_file(FileSpec spec) {
    backends::file::FileDeviceOptions options;
    options.name = spec.name;
    options.uuid = spec.uuid;
    options.path = spec.path;
    options.block_size = spec.block_size;
    options.size_bytes = spec.size_bytes;
    options.create = spec.create;
    // The kernel gives the lock of a killed process back only when its last I/O has ended.
    const core::Nanos deadline = reactor::Reactor::current().now() + options_.listen_limit;
    while (true) {
        auto device = backends::file::FileDevice::create(options);
        if (device) {
            co_return volumes_.add_owned(std::move(*device));
        }
        if (device.error().kind != ErrorKind::FailedPrecondition ||
            reactor::Reactor::current().now() >= deadline) {
            co_return std::unexpected(device.error());
        }
        co_await reactor::sleep_for(std::chrono::milliseconds(50));
    }
}

Task<Result<VolumeInfo>> LocalNode::create_encrypted(EncryptedSpec spec) {
    co_return co_await crypts_.create(std::move(spec));
}

Task<Result<void>> LocalNode::rekey_volume(std::string name, RekeySpec spec) {
    co_return co_await crypts_.rekey(std::move(name), std::move(spec));
}

Task<Result<VolumeInfo>> LocalNode::create_raid(RaidSpec spec) {
    co_return co_await stacked_.create_raid(std::move(spec));
}

Task<Result<void>> LocalNode::add_raid_spare(std::string name, std::string volume) {
    co_return co_await stacked_.add_raid_spare(std::move(name), std::move(volume));
}

Task<Result<void>> LocalNode::replace_raid_member(std::string name,
                                                  std::string member,
                                                  std::string with) {
    co_return co_await stacked_.replace_raid_member(std::move(name), std::move(member),
                                                    std::move(with));
}

Task<Result<void>> LocalNode::remove_raid_member(std::string name, std::string member) {
    co_return co_await stacked_.remove_raid_member(std::move(name), std::move(member));
}

Task<Result<VolumeInfo>> LocalNode::create_integrity(IntegritySpec spec) {
    co_return co_await stacked_.create_integrity(std::move(spec));
}

Task<Result<void>> LocalNode::delete_volume(std::string name) {
    if (crypts_.lower_of(name) != nullptr) {
        co_return co_await crypts_.remove(name);
    }
    if (stacked_.has(name)) {
        co_return co_await stacked_.remove(std::move(name), StackedVolumes::End::Deleted);
    }
    if (volumes_.find(name) != nullptr && !volumes_.owned(name)) {
        co_return core::fail(
            ErrorKind::FailedPrecondition,
            "volume '" + name + "' belongs to a remote controller and goes with it");
    }
    auto device = volumes_.remove(name);
    if (!device) {
        co_return std::unexpected(device.error());
    }
    co_await (*device)->stop();
    co_return Result<void>{};
}

Task<Result<VolumeInfo>> LocalNode::grow_volume(std::string name, std::uint64_t block_count) {
    if (const std::string* lower = crypts_.lower_of(name)) {
        co_return core::fail(
            ErrorKind::FailedPrecondition,
            "volume '" + name + "' is encrypted and grows with the volume below it, " + *lower);
    }
    if (stacked_.has(name)) {
        co_return core::fail(ErrorKind::FailedPrecondition,
                             "volume '" + name + "' has the size that it was made with");
    }
    const std::string user = "a growth";
    const auto device = volumes_.use(name, user);
    if (!device) {
        co_return std::unexpected(device.error());
    }
    const auto grown = (*device)->grow(block_count);
    if (grown) {
        for (const block::ReactorContext& context : reactors_) {
            co_await reactor::call_on(context.reactor, [&] { (*device)->show_growth(); });
        }
        (*device)->show_growth();
        const auto spaces = namespaces_;  // they may come and go meanwhile
        for (const auto& [key, shown] : spaces) {
            const std::string* lower = crypts_.lower_of(shown.volume);
            if (shown.volume == name || (lower != nullptr && *lower == name)) {
                (void)co_await target_.refresh_namespace(key.first, key.second);
            }
        }
    }
    volumes_.release(name, user);
    if (!grown) {
        co_return std::unexpected(grown.error());
    }
    co_return *volumes_.info(name);
}

std::optional<VolumeInfo> LocalNode::find_volume(const std::string& name) const {
    return volumes_.info(name);
}

Task<Result<block::DeviceStats>> LocalNode::volume_stats(std::string name) {
    const std::string user = "a statistics call";
    const auto device = volumes_.use(name, user);
    if (!device) {
        co_return std::unexpected(device.error());
    }
    const services::qos::QosDevice* limited = volumes_.limits(name);
    block::DeviceStats total;
    for (const block::ReactorContext& context : reactors_) {
        const auto here = co_await reactor::call_on(context.reactor, [&] {
            block::DeviceStats stats = (*device)->stats_here();
            stats.throttled_ns += limited->limits().throttled_ns_here();
            return stats;
        });
        total.add(here);
    }
    volumes_.release(name, user);
    co_return total;
}

Task<> LocalNode::set_volume_rates(std::string name, Rates rates) {
    volumes_.set_rates(name, rates);
    const std::string user = "a change of its limits";
    if (!volumes_.use(name, user)) {
        co_return;
    }
    co_await show_rates(volumes_.limits(name)->limits(), reactors_);
    volumes_.release(name, user);
}

Task<Result<void>> LocalNode::set_volume_faults(std::string name, FaultSettings settings) {
    if (auto valid = services::fault::check_settings(settings); !valid) {
        co_return valid;
    }
    co_return co_await volumes_.set_faults(std::move(name), std::move(settings), reactors_);
}

Task<Result<FaultCounts>> LocalNode::volume_fault_counts(std::string name) {
    const std::string user = "a count of its faults";
    const auto device = volumes_.use(name, user);
    if (!device) {
        co_return std::unexpected(device.error());
    }
    const auto stage = volumes_.faults(name);  // kept: another call may take it out meanwhile
    FaultCounts total;
    for (const block::ReactorContext& context : reactors_) {
        if (stage != nullptr) {
            const auto here =
                co_await reactor::call_on(context.reactor, [&] { return stage->counts_here(); });
            total.add(here);
        }
    }
    volumes_.release(name, user);
    co_return total;
}

Task<Result<std::vector<DiscoveryEntry>>> LocalNode::discover(Endpoint endpoint,
                                                              std::string hostnqn,
                                                              core::Nanos limit) {
    const HostIdentity& own = remotes_.identity();
    const core::Nanos deadline = reactor::Reactor::current().now() + limit;
    const auto found = co_await backends::nvme_tcp::discover(
        endpoint, hostnqn.empty() ? own.hostnqn : hostnqn, own.hostid, deadline);
    if (!found) {
        co_return std::unexpected(found.error());
    }
    std::vector<DiscoveryEntry> entries;
    for (const auto& entry : *found) {
        entries.push_back({entry.subnqn, entry.endpoint});
    }
    co_return entries;
}

Task<Result<void>> LocalNode::create_remote(RemoteSpec spec) {
    return remotes_.create(std::move(spec));
}

Task<Result<void>> LocalNode::wait_remote(std::string name, core::Nanos limit) {
    return remotes_.wait(std::move(name), limit);
}

Task<Result<void>> LocalNode::add_remote_path(std::string name, RemotePathSpec path) {
    co_return remotes_.add_path(name, path);
}

Task<Result<void>> LocalNode::wait_remote_path(std::string name,
                                               std::string path,
                                               core::Nanos limit) {
    return remotes_.wait_path(std::move(name), std::move(path), limit);
}

Task<Result<void>> LocalNode::remove_remote_path(std::string name, std::string path) {
    return remotes_.remove_path(std::move(name), std::move(path));
}

Result<void> LocalNode::set_remote_timings(const std::string& name,
                                           const ConnectionTimings& timings) {
    return remotes_.set_timings(name, timings);
}

Task<Result<void>> LocalNode::set_remote_policy(std::string name, PathPolicy policy) {
    return remotes_.set_policy(std::move(name), policy);
}

Task<Result<void>> LocalNode::delete_remote(std::string name) {
    return remotes_.remove(std::move(name));
}

Task<Result<void>> LocalNode::reset_remote(std::string name) {
    return remotes_.reset(std::move(name));
}

std::optional<RemoteStatus> LocalNode::remote_status(const std::string& name) const {
    return remotes_.status(name);
}

Task<Result<void>> LocalNode::create_vhost_blk(VhostBlkSpec spec) {
    return vhost_.create(std::move(spec));
}

Task<Result<void>> LocalNode::delete_vhost_blk(std::string name) {
    return vhost_.remove(std::move(name));
}

Task<Result<void>> LocalNode::set_vhost_blk_rates(std::string name, Rates rates) {
    return vhost_.set_rates(std::move(name), rates);
}

Task<Result<VhostBlkStatus>> LocalNode::vhost_blk_status(std::string name) {
    return vhost_.status(std::move(name));
}

Task<Result<block::DeviceStats>> LocalNode::vhost_blk_stats(std::string name) {
    return vhost_.stats(std::move(name));
}

Task<Result<BenchmarkResult>> LocalNode::run_benchmark(BenchmarkSpec spec) {
    const std::string user = "a benchmark";
    const std::string volume = spec.volume;
    const auto device = volumes_.use(volume, user);
    if (!device) {
        co_return std::unexpected(device.error());
    }
    const block::ReactorContext& context = reactors_[next_benchmark_++ % reactors_.size()];
    auto result = co_await reactor::call_on(context.reactor,
                                            [&] { return run_load(spec, **device, context); });
    volumes_.release(volume, user);
    co_return result;
}

/// What is held up on purpose goes; what a call changes just now is that call's.
Task<> LocalNode::lift_faults() {
    for (const std::string& name : volumes_.names()) {
        (void)co_await volumes_.set_faults(name, {}, reactors_);
    }
}

Task<bool> LocalNode::stop(core::Nanos limit) {
    co_await lift_faults();
    const core::Nanos deadline =
        limit == core::kNever ? limit : reactor::Reactor::current().now() + limit;
    const bool drained = co_await vhost_.stop(limit);
    if (!drained) {
        co_return false;
    }
    const core::Nanos left = deadline - reactor::Reactor::current().now();
    const bool vfio_drained = co_await vfio_.stop(std::max(left, core::Nanos{0}));
    if (!vfio_drained) {
        co_return false;
    }
    co_await controllers_.lift_all("");
    co_await target_.stop();
    while (!namespaces_.empty()) {
        const NamespaceKey key = namespaces_.begin()->first;
        release_namespace(key);
    }
    if (!co_await crypts_.stop_rekeys(deadline)) {
        co_return false;
    }
    // Those on top first.
    while (!crypts_.empty() || !stacked_.empty()) {
        const std::size_t encrypted = co_await crypts_.remove_unused();
        const std::size_t stacked = co_await stacked_.stop_unused();
        if (encrypted + stacked == 0) {
            co_return false;  // a benchmark still runs: its volume cannot go
        }
    }
    co_await remotes_.stop();
    for (const std::string& name : volumes_.names()) {
        auto removed = volumes_.remove(name);  // the same
        if (!removed) {
            co_return false;
        }
        co_await (*removed)->stop();
    }
    co_return true;
}

}  // namespace remora::node
