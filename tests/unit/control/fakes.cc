// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/control/fakes.h"

#include <chrono>
#include <utility>

namespace remora::test {

FakeNode::FakeNode(Network& network, Steps& steps)
    : FakeLayers(network.marks, steps), network_(network), steps_(steps) {}

FakeNode::~FakeNode() = default;

Task<Result<node::VolumeInfo>> FakeNode::create_ram(node::RamSpec spec) {
    co_return add_volume(spec.name, spec.uuid, spec.block_size, spec.block_count);
}

Task<Result<node::VolumeInfo>> FakeNode::create_null(node::NullSpec spec) {
    co_return add_volume(spec.name, spec.uuid, spec.block_size, spec.block_count);
}

Task<Result<node::VolumeInfo>> FakeNode::create_file(node::FileSpec spec) {
    if (spec.create) {
        network_.files.try_emplace(spec.path, spec.size_bytes);
    }
    const auto file = network_.files.find(spec.path);
    if (file == network_.files.end()) {
        co_return fail(ErrorKind::NotFound, "there is no file " + spec.path);
    }
    if (spec.size_bytes != 0 && file->second != spec.size_bytes) {
        co_return fail(ErrorKind::InvalidArgument, "the size of " + spec.path + " is another");
    }
    file_of_[spec.name] = spec.path;
    co_return add_volume(spec.name, spec.uuid, spec.block_size, file->second / spec.block_size);
}

Task<Result<void>> FakeNode::delete_volume(std::string name) {
    if (auto step = steps_.take("delete_volume"); !step) {
        co_return step;
    }
    forget_layer(name);
    co_return volumes.erase(name) == 1 ? Result<void>() : missing(name);
}

Task<Result<node::VolumeInfo>> FakeNode::grow_volume(std::string name, std::uint64_t blocks) {
    if (auto step = steps_.take("grow_volume"); !step) {
        co_return std::unexpected(step.error());
    }
    const auto found = volumes.find(name);
    if (found == volumes.end()) {
        co_return std::unexpected(missing(name).error());
    }
    if (blocks < found->second.geometry.block_count) {
        co_return fail(ErrorKind::FailedPrecondition, name + " does not shrink");
    }
    found->second.geometry.block_count = blocks;
    if (const auto file = file_of_.find(name); file != file_of_.end()) {
        network_.files[file->second] = found->second.geometry.size_bytes();
    }
    co_return found->second;
}

std::optional<node::VolumeInfo> FakeNode::find_volume(const std::string& name) const {
    const auto found = volumes.find(name);
    return found == volumes.end() ? std::nullopt : std::optional(found->second);
}

Task<Result<block::DeviceStats>> FakeNode::volume_stats(std::string name) {
    if (!volumes.contains(name)) {
        co_return std::unexpected(missing(name).error());
    }
    block::DeviceStats stats;
    stats.read = {3, std::uint64_t{5} << 30U, 0, 9'000'000};
    co_return stats;
}

Task<Result<void>> FakeNode::set_controller_rates(std::string nqn,
                                                  reactor::Endpoint at,
                                                  node::Rates rates) {
    const std::string place = nqn + " " + at.text();
    if (!listeners.contains(place)) {
        co_return missing(place);
    }
    controller_rates.erase(place);
    if (rates != node::Rates{}) {
        controller_rates[place] = rates;
    }
    co_return Result<void>();
}

Task<std::uint64_t> FakeNode::controller_throttled_ns(std::string /*nqn*/,
                                                      reactor::Endpoint /*at*/) {
    co_return 77;
}

Task<Result<void>> FakeNode::create_subsystem(node::SubsystemSpec spec) {
    if (auto step = steps_.take("create_subsystem"); !step) {
        co_return step;
    }
    subsystems[spec.nqn] = spec;
    co_return Result<void>();
}

Task<Result<void>> FakeNode::delete_subsystem(std::string nqn) {
    std::erase_if(namespaces, [&](const auto& space) { return space.first.first == nqn; });
    co_return subsystems.erase(nqn) == 1 ? Result<void>() : missing(nqn);
}

Task<Result<reactor::Endpoint>> FakeNode::add_listener(std::string nqn,
                                                       reactor::Endpoint at,
                                                       node::AnaState state) {
    if (auto step = steps_.take("add_listener"); !step) {
        co_return std::unexpected(step.error());
    }
    if (auto free = take_place(at.text()); !free) {
        co_return std::unexpected(free.error());
    }
    at.port = at.port == 0 ? next_port++ : at.port;
    listeners.insert(nqn + " " + at.text());
    ana_states[nqn + " " + at.text()] = state;
    co_return at;
}

Task<Result<void>> FakeNode::set_ana_state(std::string nqn,
                                           reactor::Endpoint at,
                                           node::AnaState state) {
    if (!listeners.contains(nqn + " " + at.text())) {
        co_return missing(nqn);
    }
    ana_states[nqn + " " + at.text()] = state;
    co_return Result<void>();
}

Task<Result<void>> FakeNode::set_referrals(std::vector<node::ReferralSpec> specs) {
    referrals = std::move(specs);
    co_return Result<void>();
}

Task<Result<void>> FakeNode::remove_listener(std::string nqn, reactor::Endpoint at) {
    controller_rates.erase(nqn + " " + at.text());
    co_return listeners.erase(nqn + " " + at.text()) == 1 ? Result<void>() : missing(nqn);
}

Task<Result<std::uint32_t>> FakeNode::add_namespace(node::NamespaceSpec spec) {
    if (auto step = steps_.take("add_namespace"); !step) {
        co_return std::unexpected(step.error());
    }
    if (!volumes.contains(spec.volume)) {
        co_return std::unexpected(missing(spec.volume).error());
    }
    while (spec.nsid == 0 || (namespaces.contains({spec.nqn, spec.nsid}))) {
        ++spec.nsid;
    }
    namespaces[{spec.nqn, spec.nsid}] = spec;
    co_return spec.nsid;
}

Task<Result<void>> FakeNode::remove_namespace(std::string nqn, std::uint32_t nsid) {
    co_return namespaces.erase({nqn, nsid}) == 1 ? Result<void>() : missing(nqn);
}

Task<Result<void>> FakeNode::create_vhost_blk(node::VhostBlkSpec spec) {
    if (auto step = steps_.take("create_vhost_blk"); !step) {
        co_return step;
    }
    if (refuses_vhosts || !volumes.contains(spec.volume)) {
        co_return missing(spec.volume);
    }
    if (auto free = take_place(spec.socket_path); !free) {
        co_return free;
    }
    if (!vhosts.emplace(spec.name, spec).second) {
        co_return fail(ErrorKind::AlreadyExists, spec.name);
    }
    co_return Result<void>();
}

Task<Result<void>> FakeNode::delete_vhost_blk(std::string name) {
    if (auto step = steps_.take("delete_vhost_blk"); !step) {
        co_return step;
    }
    co_return vhosts.erase(name) == 1 ? Result<void>() : missing(name);
}

Task<Result<void>> FakeNode::set_vhost_blk_rates(std::string name, node::Rates rates) {
    const auto at = vhosts.find(name);
    if (at == vhosts.end()) {
        co_return missing(name);
    }
    at->second.rates = rates;
    co_return Result<void>();
}

Task<Result<node::VhostBlkStatus>> FakeNode::vhost_blk_status(std::string name) {
    if (!vhosts.contains(name)) {
        co_return std::unexpected(missing(name).error());
    }
    co_return node::VhostBlkStatus{front_ends_connected, 1};
}

Task<Result<block::DeviceStats>> FakeNode::vhost_blk_stats(std::string name) {
    if (!vhosts.contains(name)) {
        co_return std::unexpected(missing(name).error());
    }
    co_return block::DeviceStats{};
}

Task<Result<node::BenchmarkResult>> FakeNode::run_benchmark(node::BenchmarkSpec spec) {
    co_await reactor::sleep_for(std::chrono::milliseconds(5));
    node::BenchmarkResult result;
    result.operations = 1000;
    result.elapsed = std::chrono::milliseconds(spec.milliseconds);
    result.latency_ns.record(5000);
    co_return result;
}

Task<bool> FakeNode::stop(core::Nanos /*limit*/) {
    co_return true;
}

std::string FakeNode::everything() const {
    std::string all;
    for (const auto& [name, volume] : volumes) {
        all += name + " " + std::to_string(volume.geometry.size_bytes()) + "\n";
    }
    for (const auto& [nqn, subsystem] : subsystems) {
        all += nqn + " " + subsystem.serial + "\n";
    }
    for (const std::string& listener : listeners) {
        all += listener + " " + std::to_string(static_cast<int>(ana_states.at(listener))) + "\n";
    }
    for (const auto& [key, space] : namespaces) {
        all += key.first + " " + std::to_string(key.second) + " " + space.volume + "\n";
    }
    for (const auto& [name, remote] : remotes) {
        all += name + " " + remote.subnqn + " " + std::to_string(remote.paths.size()) + "\n";
    }
    for (const auto& [name, vhost] : vhosts) {
        all += name + " " + vhost.volume + "\n";
    }
    for (const auto& [name, function] : functions) {
        all += name + " " + function.nqn + " " + std::to_string(function.io_queues) + "\n";
    }
    for (const auto& [path, size] : network_.files) {
        all += path + " " + std::to_string(size) + "\n";
    }
    return all + std::to_string(referrals.size()) + " referrals\n";
}

block::Geometry FakeNode::geometry(std::uint32_t block_size, std::uint64_t block_count) {
    block::Geometry out;
    out.block_size = block_size;
    out.block_count = block_count;
    return out;
}

Result<void> FakeNode::take_place(const std::string& place) {
    if (places_taken > 0) {
        --places_taken;
        return fail(ErrorKind::FailedPrecondition, "another process listens on " + place);
    }
    return {};
}

Result<void> FakeNode::missing(const std::string& name) {
    return fail(ErrorKind::NotFound, "there is no " + name);
}

Result<node::VolumeInfo> FakeNode::add_volume(const std::string& name,
                                              const core::Uuid& uuid,
                                              std::uint32_t block_size,
                                              std::uint64_t block_count) {
    if (auto step = steps_.take("create_volume"); !step) {
        return std::unexpected(step.error());
    }
    volumes[name] = {name, uuid, geometry(block_size, block_count)};
    return volumes[name];
}

}  // namespace remora::test
