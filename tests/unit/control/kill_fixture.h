// SPDX-License-Identifier: Apache-2.0
// KillFixture: a daemon that is killed: control plane, SQLite store, data plane and hosts on real
// connections. What the next life finds is the state folder as it was on the disk at a snapshot.
#pragma once

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
    KillFixture();
    ~KillFixture() override;

    /// A daemon's life over the state folder `name`.
    Task<> start(const std::string& name);
    Task<> stop();
    /// What a kill now would leave.
    void snapshot(const std::string& from, const std::string& to);

    Task<> make_namespace();
    /// As namespace 1 of a subsystem with a listener.
    Task<> show(std::string volume);

    struct Host {
        std::unique_ptr<RawHost> admin;
        std::unique_ptr<RawHost> io;
    };
    Task<Host> connect(std::uint8_t number);
    static Task<Outcome> write(RawHost& io, std::uint64_t lba = 0);

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
