// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/control/kill_fixture.h"

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <utility>
#include <vector>

#include "core/check.h"

namespace remora::test {

KillFixture::KillFixture() {
    std::string pattern = testing::TempDir() + "remora-kill-XXXXXX";
    directory_ = ::mkdtemp(pattern.data());
}

KillFixture::~KillFixture() {
    std::filesystem::remove_all(directory_);
}

Task<> KillFixture::start(const std::string& name) {
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

Task<> KillFixture::stop() {
    const bool calls = co_await plane_->stop(core::kNever);
    const bool all = co_await node_->stop(std::chrono::seconds(5));
    CHECK(calls && all);
    plane_.reset();
    node_.reset();
    store_.reset();
}

void KillFixture::snapshot(const std::string& from, const std::string& to) {
    std::filesystem::copy(directory_ + "/" + from, directory_ + "/" + to,
                          std::filesystem::copy_options::recursive);
}

Task<> KillFixture::make_namespace() {
    opi::CreateMallocVolumeRequest volume;
    volume.set_malloc_volume_id("m0");
    volume.mutable_malloc_volume()->set_block_size(512);
    volume.mutable_malloc_volume()->set_blocks_count(64);
    const auto made = co_await plane_->volumes.create_malloc(volume);
    CHECK(made);
    co_await show("m0");
}

Task<> KillFixture::show(std::string volume) {
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

Task<KillFixture::Host> KillFixture::connect(std::uint8_t number) {
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

Task<Outcome> KillFixture::write(RawHost& io, std::uint64_t lba) {
    const std::vector<std::byte> data(512);
    Outcome outcome = co_await io.perform(make_rw(IoOpcode::Write, lba, 1, true), data);
    co_return outcome;
}

}  // namespace remora::test
