// SPDX-License-Identifier: Apache-2.0
// KillFixture: a daemon that is killed: control plane, SQLite store, data plane and hosts on real
// connections. What the next life finds is the state folder as it was on the disk at a snapshot.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "control/control_plane.h"
#include "control/seal_key_file.h"
#include "control/sqlite_store.h"
#include "node/local_node.h"
#include "platform/null_platform.h"
#include "tests/support/reactor_fixture.h"
#include "tests/unit/nvme_tcp_target/raw_host.h"

namespace remora::test {

namespace opi = opi_api::storage::v1;
using control::ControlPlane;
using control::Subsystems;
using control::Volumes;
using spec::IoOpcode;
using spec::StatusCode;

constexpr const char* kKilledNqn = "nqn.2026-01.test:sub";

class KillFixture : public ReactorFixture {
  public:
    KillFixture() {
        std::string pattern = testing::TempDir() + "remora-kill-XXXXXX";
        directory_ = ::mkdtemp(pattern.data());
    }
    ~KillFixture() override { std::filesystem::remove_all(directory_); }

    /// A daemon's life over the state folder `name`.
    Task<> start(const std::string& name) {
        auto store = control::SqliteStore::open(directory_ + "/" + name);
        CHECK(store.has_value());
        store_ = std::move(*store);
        node_ = std::make_unique<node::LocalNode>(std::span(&context_, 1), reactor(),
                                                  node::LocalNodeOptions{});
        seal_keys_ = std::make_unique<control::SealKeyFile>(
            control::find_seal_key("", "", directory_ + "/" + name));
        control::Options options;
        options.seal_keys = seal_keys_.get();
        plane_ = std::make_unique<ControlPlane>(*store_, *node_, platform_, core::Prng(1), options);
        const auto started = co_await plane_->start();
        CHECK(started.has_value());
    }
    Task<> stop() {
        const bool calls = co_await plane_->stop(core::kNever);
        const bool all = co_await node_->stop(std::chrono::seconds(5));
        CHECK(calls && all);
        plane_.reset();
        node_.reset();
        store_.reset();
    }
    /// What a kill now would leave.
    void snapshot(const std::string& from, const std::string& to) {
        std::filesystem::copy(directory_ + "/" + from, directory_ + "/" + to,
                              std::filesystem::copy_options::recursive);
    }

    Task<> make_namespace() {
        opi::CreateMallocVolumeRequest volume;
        volume.set_malloc_volume_id("m0");
        volume.mutable_malloc_volume()->set_block_size(512);
        volume.mutable_malloc_volume()->set_blocks_count(64);
        const auto made = co_await plane_->volumes.create_malloc(volume);
        CHECK(made);
        co_await show("m0");
    }
    /// As namespace 1 of a subsystem with a listener.
    Task<> show(std::string volume) {
        opi::CreateNvmeSubsystemRequest subsystem;
        subsystem.set_nvme_subsystem_id("s0");
        subsystem.mutable_nvme_subsystem()->mutable_spec()->set_nqn(kKilledNqn);
        const auto built = co_await plane_->subsystems.create_subsystem(subsystem);
        opi::CreateNvmeNamespaceRequest space;
        space.set_parent("nvmeSubsystems/s0");
        space.set_nvme_namespace_id("n0");
        space.mutable_nvme_namespace()->mutable_spec()->set_volume_name_ref(volume);
        const auto shown = co_await plane_->subsystems.create_namespace(space);
        opi::CreateNvmeControllerRequest listener;
        listener.set_parent("nvmeSubsystems/s0");
        listener.set_nvme_controller_id("c0");
        auto& at = *listener.mutable_nvme_controller()->mutable_spec();
        at.set_trtype(opi::NVME_TRANSPORT_TYPE_TCP);
        at.mutable_fabrics_id()->set_traddr("127.0.0.1");
        at.mutable_fabrics_id()->set_trsvcid("0");
        at.mutable_fabrics_id()->set_adrfam(opi::NVME_ADDRESS_FAMILY_IPV4);
        const auto listening = co_await plane_->subsystems.create_controller(listener);
        CHECK(built && shown && listening);
        port_ = static_cast<std::uint16_t>(std::stoi(listening->spec().fabrics_id().trsvcid()));
    }

    struct Host {
        std::unique_ptr<RawHost> admin;
        std::unique_ptr<RawHost> io;
    };
    Task<Host> connect(std::uint8_t number) {
        ConnectOptions options;
        options.subnqn = kKilledNqn;
        options.host_id = number;
        Host host;
        for (std::unique_ptr<RawHost>* queue : {&host.admin, &host.io}) {
            *queue = co_await RawHost::open(reactor::Endpoint::tcp("127.0.0.1", port_));
            const bool greeted = co_await (*queue)->handshake();
            const Outcome connected = co_await (*queue)->connect(options);
            CHECK(greeted && connected.status == 0);
            if (options.qid == 0) {
                const bool ready = co_await (*queue)->enable();
                CHECK(ready);
            }
            options.qid = 1;
            options.cntlid = host.admin->cntlid;
        }
        co_return host;
    }
    static Task<Outcome> write(RawHost& io, std::uint64_t lba = 0) {
        const std::vector<std::byte> data(512);
        Outcome outcome = co_await io.perform(make_rw(IoOpcode::Write, lba, 1, true), data);
        co_return outcome;
    }
    std::string directory_;
    std::uint16_t port_ = 0;
    std::unique_ptr<memory::BufferPool> pool_ =
        std::move(*memory::BufferPool::create(std::size_t{8} << 20U));
    block::ReactorContext context_{reactor(), *pool_};
    platform::NullPlatform platform_;
    std::unique_ptr<control::SealKeyFile> seal_keys_;
    std::unique_ptr<control::SqliteStore> store_;
    std::unique_ptr<node::LocalNode> node_;
    std::unique_ptr<ControlPlane> plane_;
};

}  // namespace remora::test
