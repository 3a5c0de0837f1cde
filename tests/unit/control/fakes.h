// SPDX-License-Identifier: Apache-2.0
// The control plane's surroundings, in memory: data plane, and a network with targets. Every
// step that has an effect goes through Steps.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "node/node.h"
#include "reactor/call.h"
#include "tests/unit/control/fake_layers.h"
#include "tests/unit/control/memory_store.h"
#include "tests/unit/control/steps.h"

namespace remora::test {

using core::ErrorKind;
using core::fail;
using core::Result;
using reactor::Task;

/// The world outside: targets that can be reached, by "address:port", and files.
struct Network {
    struct Space {
        std::uint32_t nsid = 1;
        core::Uuid uuid;
    };
    struct Subsystem {
        std::string nqn;
        std::vector<Space> spaces;
    };
    std::map<std::string, std::vector<Subsystem>> targets;
    FakeLayers::Marks marks;                     ///< What arrays and checksums left on volumes.
    std::map<std::string, std::uint64_t> files;  ///< This host's, by path: their bytes.
    std::vector<std::string> also_at;  ///< Where every discovery log says its subsystems are, too.

    [[nodiscard]] const Subsystem* find(const std::string& where, const std::string& nqn) const {
        const auto target = targets.find(where);
        if (target == targets.end()) {
            return nullptr;
        }
        for (const Subsystem& subsystem : target->second) {
            if (subsystem.nqn == nqn) {
                return &subsystem;
            }
        }
        return nullptr;
    }
};

class FakeNode final : public FakeLayers {
  public:
    FakeNode(Network& network, Steps& steps)
        : FakeLayers(network.marks, steps), network_(network), steps_(steps) {}

    std::map<std::string, node::SubsystemSpec> subsystems;
    std::set<std::string> listeners;                   ///< "nqn address:port"
    std::map<std::string, node::AnaState> ana_states;  ///< The same.
    std::vector<node::ReferralSpec> referrals;
    std::map<std::pair<std::string, std::uint32_t>, node::NamespaceSpec> namespaces;
    std::map<std::string, node::RemoteSpec> remotes;
    std::map<std::string, node::VhostBlkSpec> vhosts;
    std::map<std::string, node::Rates> controller_rates;  ///< "nqn address:port"; none: no limit.
    std::uint16_t next_port = 40000;
    nvme::ReservationKeeper* keeper = nullptr;
    nvme::UncorrectableKeeper* mark_keeper = nullptr;
    bool refuses_vhosts = false;
    bool front_ends_connected = true;
    int places_taken = 0;  ///< So many times a place to listen at is somebody else's still.
    bool remotes_are_busy = false;  ///< delete_remote says that something reads a volume.

    Task<Result<node::VolumeInfo>> create_ram(node::RamSpec spec) override {
        co_return add_volume(spec.name, spec.uuid, spec.block_size, spec.block_count);
    }
    Task<Result<node::VolumeInfo>> create_null(node::NullSpec spec) override {
        co_return add_volume(spec.name, spec.uuid, spec.block_size, spec.block_count);
    }
    Task<Result<node::VolumeInfo>> create_file(node::FileSpec spec) override {
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
    Task<Result<void>> delete_volume(std::string name) override {
        if (auto step = steps_.take("delete_volume"); !step) {
            co_return step;
        }
        forget_layer(name);
        co_return volumes.erase(name) == 1 ? Result<void>() : missing(name);
    }
    Task<Result<node::VolumeInfo>> grow_volume(std::string name, std::uint64_t blocks) override {
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
    [[nodiscard]] std::optional<node::VolumeInfo> find_volume(
        const std::string& name) const override {
        const auto found = volumes.find(name);
        return found == volumes.end() ? std::nullopt : std::optional(found->second);
    }
    Task<Result<block::DeviceStats>> volume_stats(std::string name) override {
        if (!volumes.contains(name)) {
            co_return std::unexpected(missing(name).error());
        }
        block::DeviceStats stats;
        stats.read = {3, std::uint64_t{5} << 30U, 0, 9'000'000};
        co_return stats;
    }
    Task<Result<void>> set_controller_rates(std::string nqn,
                                            reactor::Endpoint at,
                                            node::Rates rates) override {
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
    Task<std::uint64_t> controller_throttled_ns(std::string /*nqn*/,
                                                reactor::Endpoint /*at*/) override {
        co_return 77;
    }
    Task<Result<void>> create_subsystem(node::SubsystemSpec spec) override {
        if (auto step = steps_.take("create_subsystem"); !step) {
            co_return step;
        }
        subsystems[spec.nqn] = spec;
        co_return Result<void>();
    }
    Task<Result<void>> delete_subsystem(std::string nqn) override {
        std::erase_if(namespaces, [&](const auto& space) { return space.first.first == nqn; });
        co_return subsystems.erase(nqn) == 1 ? Result<void>() : missing(nqn);
    }
    Task<Result<reactor::Endpoint>> add_listener(std::string nqn,
                                                 reactor::Endpoint at,
                                                 node::AnaState state) override {
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
    Task<Result<void>> set_ana_state(std::string nqn,
                                     reactor::Endpoint at,
                                     node::AnaState state) override {
        if (!listeners.contains(nqn + " " + at.text())) {
            co_return missing(nqn);
        }
        ana_states[nqn + " " + at.text()] = state;
        co_return Result<void>();
    }
    Task<Result<void>> set_referrals(std::vector<node::ReferralSpec> specs) override {
        referrals = std::move(specs);
        co_return Result<void>();
    }
    Task<Result<void>> remove_listener(std::string nqn, reactor::Endpoint at) override {
        controller_rates.erase(nqn + " " + at.text());
        co_return listeners.erase(nqn + " " + at.text()) == 1 ? Result<void>() : missing(nqn);
    }
    void set_reservation_keeper(nvme::ReservationKeeper& to) override { keeper = &to; }
    void set_uncorrectable_keeper(nvme::UncorrectableKeeper& to) override { mark_keeper = &to; }
    Task<Result<std::uint32_t>> add_namespace(node::NamespaceSpec spec) override {
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
    Task<Result<void>> remove_namespace(std::string nqn, std::uint32_t nsid) override {
        co_return namespaces.erase({nqn, nsid}) == 1 ? Result<void>() : missing(nqn);
    }

    Task<Result<std::vector<node::DiscoveryEntry>>> discover(reactor::Endpoint endpoint,
                                                             std::string /*hostnqn*/,
                                                             core::Nanos /*limit*/) override {
        const auto target = network_.targets.find(endpoint.text());
        if (target == network_.targets.end()) {
            co_return fail(ErrorKind::Unavailable, endpoint.text() + ": Connection refused");
        }
        std::vector<node::DiscoveryEntry> entries;
        for (const auto& subsystem : target->second) {
            entries.push_back({subsystem.nqn, endpoint});
            for (const std::string& address : network_.also_at) {
                entries.push_back({subsystem.nqn, reactor::Endpoint::tcp(address, endpoint.port)});
            }
        }
        co_return entries;
    }
    void show(const node::RemoteSpec& spec, const node::RemotePathSpec& path) {
        for (const auto& known : path.known) {
            const std::string volume = spec.name + "n" + std::to_string(known.nsid);
            volumes[volume] = {volume, known.uuid, geometry(512, 2048)};
        }
        if (const auto* subsystem = network_.find(path.endpoint.text(), spec.subnqn)) {
            for (const auto& space : subsystem->spaces) {
                const std::string volume = spec.name + "n" + std::to_string(space.nsid);
                volumes[volume] = {volume, space.uuid, geometry(512, 2048)};
            }
        }
    }
    Task<Result<void>> create_remote(node::RemoteSpec spec) override {
        if (auto step = steps_.take("create_remote"); !step) {
            co_return step;
        }
        if (remotes.contains(spec.name)) {
            co_return fail(ErrorKind::AlreadyExists, spec.name);
        }
        remotes[spec.name] = spec;
        for (const node::RemotePathSpec& path : spec.paths) {
            show(spec, path);
        }
        co_return Result<void>();
    }
    /// The test's: the network was away when the remote controller was made, and is there now.
    void show_remote(const std::string& name) {
        for (const node::RemotePathSpec& path : remotes.at(name).paths) {
            show(remotes.at(name), path);
        }
    }
    Task<Result<void>> add_remote_path(std::string name, node::RemotePathSpec path) override {
        if (auto step = steps_.take("add_remote_path"); !step) {
            co_return step;
        }
        if (!remotes.contains(name)) {
            co_return missing(name);
        }
        node::RemoteSpec& spec = remotes[name];
        spec.paths.push_back(path);
        show(spec, path);
        co_return Result<void>();
    }
    Task<Result<void>> wait_remote_path(std::string name,
                                        std::string path,
                                        core::Nanos /*limit*/) override {
        if (auto step = steps_.take("wait_remote"); !step) {
            co_return step;
        }
        const node::RemoteSpec& spec = remotes.at(name);
        for (const node::RemotePathSpec& one : spec.paths) {
            if (one.id == path && network_.find(one.endpoint.text(), spec.subnqn) != nullptr) {
                co_return Result<void>();
            }
        }
        co_return fail(ErrorKind::NotFound, "no subsystem " + spec.subnqn);
    }
    Task<Result<void>> remove_remote_path(std::string name, std::string path) override {
        if (auto step = steps_.take("remove_remote_path"); !step) {
            co_return step;
        }
        std::erase_if(remotes.at(name).paths, [&](const auto& one) { return one.id == path; });
        co_return Result<void>();
    }
    Task<Result<void>> set_remote_policy(std::string name, node::PathPolicy policy) override {
        remotes.at(name).policy = policy;
        co_return Result<void>();
    }
    Result<void> set_remote_timings(const std::string& name,
                                    const node::ConnectionTimings& timings) override {
        remotes.at(name).timings = timings;
        return {};
    }
    Task<Result<void>> wait_remote(std::string name, core::Nanos /*limit*/) override {
        if (auto step = steps_.take("wait_remote"); !step) {
            co_return step;
        }
        const node::RemoteSpec& spec = remotes.at(name);
        for (const node::RemotePathSpec& path : spec.paths) {
            if (network_.find(path.endpoint.text(), spec.subnqn) != nullptr) {
                co_return Result<void>();
            }
        }
        co_return fail(ErrorKind::NotFound, "no subsystem " + spec.subnqn);
    }
    Task<Result<void>> delete_remote(std::string name) override {
        if (remotes_are_busy) {
            co_return fail(ErrorKind::FailedPrecondition, name + " is in use by a benchmark");
        }
        for (const auto& [id, vhost] : vhosts) {
            if (vhost.volume.starts_with(name + "n")) {
                co_return fail(ErrorKind::FailedPrecondition, "in use by " + id);
            }
        }
        std::erase_if(volumes, [&](const auto& v) { return v.first.starts_with(name + "n"); });
        co_return remotes.erase(name) == 1 ? Result<void>() : missing(name);
    }
    Task<Result<void>> reset_remote(std::string name) override {
        co_return remotes.contains(name) ? Result<void>() : missing(name);
    }
    [[nodiscard]] std::optional<node::RemoteStatus> remote_status(
        const std::string& name) const override {
        const auto found = remotes.find(name);
        if (found == remotes.end()) {
            return std::nullopt;
        }
        node::RemoteStatus status;
        const node::RemoteSpec& spec = found->second;
        status.state = node::PathState::Down;
        status.policy = spec.policy;
        for (const node::RemotePathSpec& path : spec.paths) {
            node::RemotePathStatus& shown = status.paths.emplace_back();
            shown.id = path.id;
            const auto* subsystem = network_.find(path.endpoint.text(), spec.subnqn);
            shown.state = subsystem == nullptr ? node::PathState::Down : node::PathState::Live;
            if (subsystem == nullptr) {
                continue;
            }
            status.state = node::PathState::Live;
            for (const auto& space : subsystem->spaces) {
                add_space(name, space.nsid, space.uuid, status, shown);
            }
        }
        return status;
    }

    static void add_space(const std::string& remote,
                          std::uint32_t nsid,
                          const core::Uuid& uuid,
                          node::RemoteStatus& status,
                          node::RemotePathStatus& path) {
        node::PathNamespace& at_path = path.namespaces.emplace_back();
        at_path.identity = {nsid, uuid, 512, 2048, nsid};
        at_path.volume = remote + "n" + std::to_string(nsid);
        at_path.present = true;
        for (const node::RemoteNamespace& known : status.namespaces) {
            if (known.uuid == uuid) {
                return;
            }
        }
        node::RemoteNamespace& out = status.namespaces.emplace_back();
        out.nsid = nsid;
        out.number = nsid;
        out.volume = at_path.volume;
        out.uuid = uuid;
        out.geometry = geometry(512, 2048);
    }

    Task<Result<void>> create_vhost_blk(node::VhostBlkSpec spec) override {
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
    Task<Result<void>> delete_vhost_blk(std::string name) override {
        if (auto step = steps_.take("delete_vhost_blk"); !step) {
            co_return step;
        }
        co_return vhosts.erase(name) == 1 ? Result<void>() : missing(name);
    }
    Task<Result<void>> set_vhost_blk_rates(std::string name, node::Rates rates) override {
        const auto at = vhosts.find(name);
        if (at == vhosts.end()) {
            co_return missing(name);
        }
        at->second.rates = rates;
        co_return Result<void>();
    }
    Task<Result<node::VhostBlkStatus>> vhost_blk_status(std::string name) override {
        if (!vhosts.contains(name)) {
            co_return std::unexpected(missing(name).error());
        }
        co_return node::VhostBlkStatus{front_ends_connected, 1};
    }
    Task<Result<block::DeviceStats>> vhost_blk_stats(std::string name) override {
        if (!vhosts.contains(name)) {
            co_return std::unexpected(missing(name).error());
        }
        co_return block::DeviceStats{};
    }
    Task<Result<node::BenchmarkResult>> run_benchmark(node::BenchmarkSpec spec) override {
        co_await reactor::sleep_for(std::chrono::milliseconds(5));
        node::BenchmarkResult result;
        result.operations = 1000;
        result.elapsed = std::chrono::milliseconds(spec.milliseconds);
        result.latency_ns.record(5000);
        co_return result;
    }
    Task<bool> stop(core::Nanos /*limit*/) override { co_return true; }

    /// What there is, to be compared with what there was.
    [[nodiscard]] std::string everything() const {
        std::string all;
        for (const auto& [name, volume] : volumes) {
            all += name + " " + std::to_string(volume.geometry.size_bytes()) + "\n";
        }
        for (const auto& [nqn, subsystem] : subsystems) {
            all += nqn + " " + subsystem.serial + "\n";
        }
        for (const std::string& listener : listeners) {
            all +=
                listener + " " + std::to_string(static_cast<int>(ana_states.at(listener))) + "\n";
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

  private:
    static block::Geometry geometry(std::uint32_t block_size, std::uint64_t block_count) {
        block::Geometry out;
        out.block_size = block_size;
        out.block_count = block_count;
        return out;
    }
    Result<void> take_place(const std::string& place) {
        if (places_taken > 0) {
            --places_taken;
            return fail(ErrorKind::FailedPrecondition, "another process listens on " + place);
        }
        return {};
    }
    static Result<void> missing(const std::string& name) {
        return fail(ErrorKind::NotFound, "there is no " + name);
    }
    Result<node::VolumeInfo> add_volume(const std::string& name,
                                        const core::Uuid& uuid,
                                        std::uint32_t block_size,
                                        std::uint64_t block_count) {
        if (auto step = steps_.take("create_volume"); !step) {
            return std::unexpected(step.error());
        }
        volumes[name] = {name, uuid, geometry(block_size, block_count)};
        return volumes[name];
    }

    Network& network_;
    std::map<std::string, std::string> file_of_;  // volume -> path
    Steps& steps_;
};

}  // namespace remora::test
