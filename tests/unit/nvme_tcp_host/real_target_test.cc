// SPDX-License-Identifier: Apache-2.0
// The host against the project's own target over loopback: depths, a target that goes away in the
// middle of I/O and comes back, namespaces that change hands, refusals, discovery.
#include <gtest/gtest.h>

#include "backends/null/null_device.h"
#include "backends/nvme_tcp/discovery.h"
#include "backends/ram/ram_device.h"
#include "block/deferred.h"
#include "frontends/nvme_tcp/target.h"
#include "reactor/gate.h"
#include "tests/unit/nvme_tcp_host/host_fixture.h"

namespace remora::test {
namespace {

using backends::ram::RamDevice;
using core::ErrorKind;
using frontends::nvme_tcp::NamespaceOptions;
using frontends::nvme_tcp::SubsystemOptions;
using frontends::nvme_tcp::Target;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint64_t kBlocks = 65536;
const std::string kNqn = "nqn.2026-11.example.remora:t";

class TargetTest : public ReactorFixture {
  public:
    TargetTest()
        : pool_(std::move(*memory::BufferPool::create(std::size_t{64} << 20U))),
          context_{reactor(), *pool_} {
        core::Uuid uuid;
        uuid.bytes.fill(0x11);
        ram_ = std::move(*RamDevice::create("ram", uuid, 512, kBlocks));
        uuid.bytes.fill(0x22);
        other_ = std::move(*RamDevice::create("other", uuid, 512, kBlocks / 2));
    }

    Task<> start_target(std::string allowed_host = {}) {
        target_ = std::make_unique<Target>(std::span(&context_, 1), reactor());
        SubsystemOptions subsystem;
        subsystem.nqn = kNqn;
        if (!allowed_host.empty()) {
            subsystem.allowed_hosts.push_back(allowed_host);
        }
        const auto made = co_await target_->create_subsystem(subsystem);
        CHECK(made.has_value());
        co_await show(*ram_, 1);
        const auto at = co_await target_->add_listener(kNqn, endpoint_);
        CHECK(at.has_value());
        endpoint_ = *at;
    }
    Task<> show(block::Device& device, std::uint32_t nsid) {
        NamespaceOptions space;
        space.nsid = nsid;
        space.device = &device;
        const auto added = co_await target_->add_namespace(kNqn, space);
        CHECK(added.has_value());
    }
    Task<> stop_target() {
        co_await target_->stop();
        target_.reset();
    }

    void make_host(const std::string& subnqn = kNqn, bool digests = false) {
        ControllerOptions with;
        with.name = "r";
        with.endpoint = endpoint_;
        with.subnqn = subnqn;
        with.hostnqn = "nqn.2026-11.example.remora:host";
        with.hostid.bytes.fill(9);
        with.header_digest = digests;
        with.data_digest = digests;
        with.timing.backoff_max = milliseconds(100);
        host_ = std::move(*RemoteController::create(with, std::span(&context_, 1), reactor()));
    }
    Task<> make_live_host(bool digests = false) {
        make_host(kNqn, digests);
        const auto ready = co_await host_->wait_ready(seconds(5));
        CHECK(ready.has_value());
    }
    Task<> stop_host() {
        co_await host_->stop();
        host_.reset();
    }

    block::Device& remote() { return *host_->device(1); }

  protected:
    std::unique_ptr<memory::BufferPool> pool_;
    block::ReactorContext context_;
    std::unique_ptr<RamDevice> ram_;
    std::unique_ptr<RamDevice> other_;
    std::unique_ptr<Target> target_;
    std::unique_ptr<RemoteController> host_;
    reactor::Endpoint endpoint_ = reactor::Endpoint::tcp("127.0.0.1", 0);
};

/// Random writes of own areas at a constant depth, each read back: the last word is the memory's.
Task<int> random_io(BlockClient& client, std::size_t depth, int rounds) {
    core::Prng prng(depth);
    const std::uint64_t area = kBlocks / depth;
    int good = 0;
    for (int round = 0; round < rounds; ++round) {
        std::vector<std::unique_ptr<OwnedRequest>> writes;
        for (std::size_t i = 0; i < depth; ++i) {
            const auto blocks =
                static_cast<std::uint32_t>(1 + prng.below(std::min<std::uint64_t>(area, 700)));
            const std::uint64_t lba = i * area + prng.below(area - blocks + 1);
            writes.push_back(std::make_unique<OwnedRequest>(
                Opcode::Write, lba, blocks, pattern(std::size_t{blocks} * 512, prng.next())));
            client.start(writes.back()->request);
        }
        std::vector<std::unique_ptr<OwnedRequest>> reads;
        for (const auto& write : writes) {
            const Status status = co_await BlockClient::finish(write->request);
            EXPECT_EQ(status, Status::Ok);
            reads.push_back(std::make_unique<OwnedRequest>(
                Opcode::Read, write->request.lba, write->request.block_count,
                std::vector<std::byte>(write->data.size())));
            client.start(reads.back()->request);
        }
        for (std::size_t i = 0; i < depth; ++i) {
            const Status status = co_await BlockClient::finish(reads[i]->request);
            good += status == Status::Ok && reads[i]->data == writes[i]->data ? 1 : 0;
            EXPECT_EQ(reads[i]->request.completions, 1);
        }
    }
    co_return good;
}

TEST_F(TargetTest, RandomIo_everyDepth_readsWhatWasWritten) {
    run(
        [this]() -> Task<> {
            co_await start_target();
            for (const bool digests : {false, true}) {
                co_await make_live_host(digests);
                {
                    auto channel = remote().open_channel();
                    BlockClient client(**channel);
                    for (const std::size_t depth : {1U, 4U, 32U, 128U}) {
                        const int good = co_await random_io(client, depth, 4);
                        EXPECT_EQ(good, static_cast<int>(depth) * 4);
                    }
                }
                co_await stop_host();
            }
            co_await stop_target();
        },
        seconds(60));
}

TEST_F(TargetTest, Target_stopsAndStartsUnderIo_nothingIsLost) {
    run(
        [this]() -> Task<> {
            co_await start_target();
            co_await make_live_host();
            {
                auto channel = remote().open_channel();
                BlockClient client(**channel);
                int good = 0;
                bool done = false;
                reactor::Gate gate;
                gate.spawn(
                    [](BlockClient* with, int* out, bool* end) -> Task<> {
                        *out = co_await random_io(*with, 64, 12);
                        *end = true;
                    },
                    &client, &good, &done);
                int restarts = 0;
                while (!done && restarts < 5) {
                    co_await reactor::sleep_for(milliseconds(20));
                    co_await stop_target();
                    co_await reactor::sleep_for(milliseconds(5));
                    co_await start_target();
                    ++restarts;
                }
                co_await gate.close();
                EXPECT_EQ(good, 64 * 12);
                EXPECT_GE(host_->status().reconnects, 1U);
            }
            co_await stop_host();
            co_await stop_target();
        },
        seconds(60));
}

TEST_F(TargetTest, Reset_underIo_isReconnectedAndNothingIsLost) {
    run(
        [this]() -> Task<> {
            co_await start_target();
            co_await make_live_host();
            {
                auto channel = remote().open_channel();
                BlockClient client(**channel);
                int good = 0;
                reactor::Gate gate;
                gate.spawn([](BlockClient* with,
                              int* out) -> Task<> { *out = co_await random_io(*with, 64, 10); },
                           &client, &good);
                for (int i = 0; i < 4; ++i) {
                    co_await reactor::sleep_for(milliseconds(10));
                    co_await host_->reset();
                }
                co_await gate.close();
                EXPECT_EQ(good, 64 * 10);
                EXPECT_GE(host_->status().reconnects, 1U);
            }
            co_await stop_host();
            co_await stop_target();
        },
        seconds(60));
}

TEST_F(TargetTest, Namespace_appears_isSeenWithoutAsking) {
    class Listener final : public backends::nvme_tcp::NamespaceListener {
      public:
        void on_namespaces_changed() override { changed.notify(); }
        reactor::Signal changed;
    } listener;
    run([&, this]() -> Task<> {
        co_await start_target();
        co_await make_live_host();
        host_->set_listener(&listener);
        co_await show(*other_, 2);
        bool told = co_await listener.changed.wait_until(reactor().now() + seconds(5));
        EXPECT_TRUE(told);
        block::Device* second = host_->device(2);
        EXPECT_NE(second, nullptr);
        EXPECT_EQ(second->uuid(), other_->uuid());
        EXPECT_EQ(second->geometry().block_count, kBlocks / 2);
        // Its number goes to another volume: only forget() makes room for that one.
        const auto removed = co_await target_->remove_namespace(kNqn, 2);
        EXPECT_TRUE(removed);
        told = co_await listener.changed.wait_until(reactor().now() + seconds(5));
        EXPECT_TRUE(told);
        const auto forgotten = co_await host_->forget(2);
        EXPECT_TRUE(forgotten);
        host_->set_listener(nullptr);
        co_await stop_host();
        co_await stop_target();
    });
}

/// Keeps what reaches it.
class RecordingDevice final : public block::Device {
  public:
    struct Seen {
        Opcode opcode;
        bool force_unit_access;
        bool operator==(const Seen&) const = default;
    };

    using Device::Device;
    [[nodiscard]] block::Geometry geometry() const override {
        block::Geometry geometry;
        geometry.block_count = kBlocks;
        geometry.can_write_zeroes = true;
        geometry.volatile_cache = true;
        return geometry;
    }
    core::Result<std::unique_ptr<block::Channel>> open_channel() override {
        return std::make_unique<RecordingChannel>(seen);
    }
    std::vector<Seen> seen;

  private:
    class RecordingChannel final : public block::Channel {
      public:
        explicit RecordingChannel(std::vector<Seen>& seen)
            : seen_(seen), done_(reactor::Reactor::current()) {}
        void submit(block::RequestBatch& batch) override {
            while (block::Request* request = batch.pop_front()) {
                seen_.push_back({request->opcode, request->force_unit_access});
                done_.push(*request, Status::Ok);
            }
        }

      private:
        std::vector<Seen>& seen_;
        block::DeferredCompletions done_;
    };
};

TEST_F(TargetTest, ForceUnitAccess_ofAnyChange_reachesTheVolume) {
    core::Uuid uuid;
    uuid.bytes.fill(0x33);
    RecordingDevice recording("recording", uuid);
    run([&, this]() -> Task<> {
        co_await start_target();
        co_await show(recording, 3);
        co_await make_live_host();
        {
            auto channel = host_->device(3)->open_channel();
            BlockClient client(**channel);
            std::vector<std::byte> data(512);
            const Segment one = segment_of(data);
            for (const bool fua : {true, false}) {
                Status status =
                    co_await client.perform(Opcode::Write, 0, 1, std::span(&one, 1), fua);
                EXPECT_EQ(status, Status::Ok);
                status = co_await client.perform(Opcode::WriteZeroes, 0, 1, {}, fua);
                EXPECT_EQ(status, Status::Ok);
            }
        }
        const std::vector<RecordingDevice::Seen> wanted{{Opcode::Write, true},
                                                        {Opcode::WriteZeroes, true},
                                                        {Opcode::Write, false},
                                                        {Opcode::WriteZeroes, false}};
        EXPECT_EQ(recording.seen, wanted);
        co_await stop_host();
        co_await stop_target();
    });
}

TEST_F(TargetTest, WrongNqn_isNotFound) {
    run([this]() -> Task<> {
        co_await start_target();
        make_host("nqn.2026-11.example.remora:wrong");
        const auto ready = co_await host_->wait_ready(seconds(5));
        EXPECT_FALSE(ready);
        EXPECT_EQ(ready.error().kind, ErrorKind::NotFound) << ready.error().message;
        co_await stop_host();
        co_await stop_target();
    });
}

TEST_F(TargetTest, Hole_arrivesAsZerosWithAndWithoutDigests) {
    auto null = std::move(*backends::null::NullDevice::create("null", {}, 512, kBlocks));
    for (const bool digests : {false, true}) {
        run([&]() -> Task<> {
            co_await start_target();
            co_await show(*null, 2);
            co_await make_live_host(digests);
            auto channel = std::move(*host_->device(2)->open_channel());
            BlockClient client(*channel);
            for (const std::uint32_t blocks : {1U, 8U, 300U, 2048U}) {
                std::vector<std::byte> data(std::size_t{blocks} * 512 + 1, std::byte{0xff});
                const core::Segment segment{data.data(), data.size() - 1};
                const auto status =
                    co_await client.perform(block::Opcode::Read, 5, blocks, std::span(&segment, 1));
                EXPECT_EQ(status, block::Status::Ok);
                EXPECT_EQ(std::ranges::count(data, std::byte{0}), blocks * 512);
                EXPECT_EQ(data.back(), std::byte{0xff});
            }
            channel.reset();
            co_await stop_host();
            co_await stop_target();
        });
    }
}

TEST_F(TargetTest, HostNotAllowed_isPermissionDenied) {
    run([this]() -> Task<> {
        co_await start_target("nqn.2026-11.example.remora:somebody-else");
        make_host();
        const auto ready = co_await host_->wait_ready(seconds(5));
        EXPECT_FALSE(ready);
        EXPECT_EQ(ready.error().kind, ErrorKind::PermissionDenied) << ready.error().message;
        co_await stop_host();
        co_await stop_target();
    });
}

TEST_F(TargetTest, Discovery_listsTheSubsystem) {
    run([this]() -> Task<> {
        co_await start_target();
        const auto found = co_await backends::nvme_tcp::discover(
            endpoint_, "nqn.2026-11.example.remora:host", {}, reactor().now() + seconds(5));
        EXPECT_TRUE(found);
        EXPECT_EQ(found->size(), 1U);
        EXPECT_EQ(found->at(0).subnqn, kNqn);
        EXPECT_EQ(found->at(0).endpoint, endpoint_);
        co_await stop_target();
    });
}

}  // namespace
}  // namespace remora::test
