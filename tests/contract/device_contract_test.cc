// SPDX-License-Identifier: Apache-2.0
// What every block::Device must do, run over each back end that keeps data.
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <ostream>
#include <string>

#include <gtest/gtest.h>

#include "backends/file/file_device.h"
#include "backends/null/null_device.h"
#include "backends/nvme_tcp/multipath_controller.h"
#include "backends/nvme_tcp/remote_controller.h"
#include "block/reactor_context.h"
#include "frontends/nvme_tcp/target.h"
#include "services/crypto/crypt_device.h"
#include "tests/contract/layer_rigs.h"
#include "tests/contract/ram_rigs.h"
#include "tests/support/block_client.h"
#include "tests/support/reactor_fixture.h"

namespace remora {
namespace {

using block::Opcode;
using block::Status;
using core::Segment;
using reactor::Task;
using services::raid::Level;
using test::FaultRig;
using test::IntegrityRig;
using test::kBytes;
using test::LimitedRig;
using test::RaidRig;
using test::RamRig;
using test::Rig;

class FileRig final : public Rig {
  public:
    explicit FileRig(std::uint32_t block_size) : block_size_(block_size) {}
    Task<> start(block::ReactorContext /*context*/, std::string directory) override {
        backends::file::FileDeviceOptions options;
        options.name = "d";
        options.path = directory + "/disk";
        options.block_size = block_size_;
        options.size_bytes = kBytes;
        options.create = true;
        device_ = std::move(*backends::file::FileDevice::create(options));
        co_return;
    }
    block::Device& device() override { return *device_; }
    Task<> stop() override { co_await device_->stop(); }

  private:
    std::uint32_t block_size_;
    std::unique_ptr<block::Device> device_;
};

/// A RAM volume behind our own target, reached by our own host over loopback.
class RemoteRig final : public Rig {
  public:
    RemoteRig(std::uint32_t block_size, bool digests) : ram_(block_size), digests_(digests) {}

    Task<> start(block::ReactorContext context, std::string directory) override {
        using namespace std::chrono_literals;
        const std::string nqn = "nqn.2026-11.example.remora:contract";
        contexts_.push_back(context);
        co_await ram_.start(context, directory);
        target_ = std::make_unique<frontends::nvme_tcp::Target>(contexts_, context.reactor);
        frontends::nvme_tcp::SubsystemOptions subsystem;
        subsystem.nqn = nqn;
        const auto made = co_await target_->create_subsystem(subsystem);
        CHECK(made);
        frontends::nvme_tcp::NamespaceOptions space;
        space.device = &ram_.device();
        space.uuid = *core::Uuid::parse("11111111-2222-4333-8444-555555555555");
        const auto nsid = co_await target_->add_namespace(nqn, space);
        CHECK(nsid);
        const auto at = co_await target_->add_listener(nqn, reactor::Endpoint::tcp("127.0.0.1", 0));
        CHECK(at);
        backends::nvme_tcp::ControllerOptions options;
        options.name = "remote";
        options.endpoint = *at;
        options.subnqn = nqn;
        options.hostnqn = "nqn.2026-11.example.remora:host";
        options.header_digest = digests_;
        options.data_digest = digests_;
        controller_ = std::move(
            *backends::nvme_tcp::RemoteController::create(options, contexts_, context.reactor));
        const auto ready = co_await controller_->wait_ready(10s);
        CHECK(ready);
        nsid_ = *nsid;
    }
    block::Device& device() override { return *controller_->device(nsid_); }
    Task<> stop() override {
        co_await controller_->stop();
        co_await target_->stop();
        co_await ram_.stop();
    }

  private:
    RamRig ram_;
    bool digests_;
    std::vector<block::ReactorContext> contexts_;
    std::unique_ptr<frontends::nvme_tcp::Target> target_;
    std::unique_ptr<backends::nvme_tcp::RemoteController> controller_;
    std::uint32_t nsid_ = 0;
};

/// The same RAM volume over two listeners, in turn.
class MultipathRig final : public Rig {
  public:
    explicit MultipathRig(std::uint32_t block_size) : ram_(block_size) {}

    Task<> start(block::ReactorContext context, std::string directory) override {
        using namespace std::chrono_literals;
        const std::string nqn = "nqn.2026-11.example.remora:contract";
        contexts_.push_back(context);
        co_await ram_.start(context, directory);
        target_ = std::make_unique<frontends::nvme_tcp::Target>(contexts_, context.reactor);
        frontends::nvme_tcp::SubsystemOptions subsystem;
        subsystem.nqn = nqn;
        const auto made = co_await target_->create_subsystem(subsystem);
        CHECK(made);
        frontends::nvme_tcp::NamespaceOptions space;
        space.device = &ram_.device();
        space.uuid = *core::Uuid::parse("11111111-2222-4333-8444-555555555555");
        const auto nsid = co_await target_->add_namespace(nqn, space);
        CHECK(nsid);
        backends::nvme_tcp::MultipathOptions options;
        options.name = "remote";
        options.subnqn = nqn;
        options.hostnqn = "nqn.2026-11.example.remora:host";
        options.policy = backends::nvme_tcp::PathPolicy::RoundRobin;
        controller_ = std::make_unique<backends::nvme_tcp::MultipathController>(options, contexts_,
                                                                                context.reactor);
        for (const char* id : {"a", "b"}) {
            const auto at =
                co_await target_->add_listener(nqn, reactor::Endpoint::tcp("127.0.0.1", 0));
            CHECK(at);
            const auto added = controller_->add_path({id, *at, {}});
            CHECK(added);
            const auto ready = co_await controller_->wait_path(id, 10s);
            CHECK(ready);
        }
        nsid_ = *nsid;
    }
    block::Device& device() override { return *controller_->device(nsid_); }
    Task<> stop() override {
        co_await controller_->stop();
        co_await target_->stop();
        co_await ram_.stop();
    }

  private:
    RamRig ram_;
    std::vector<block::ReactorContext> contexts_;
    std::unique_ptr<frontends::nvme_tcp::Target> target_;
    std::unique_ptr<backends::nvme_tcp::MultipathController> controller_;
    std::uint32_t nsid_ = 0;
};

/// A RAM volume encrypted by this node.
class CryptRig final : public Rig {
  public:
    CryptRig(std::uint32_t block_size, std::uint32_t sector_size)
        : ram_(block_size), sector_size_(sector_size) {}

    Task<> start(block::ReactorContext context, std::string directory) override {
        co_await ram_.start(context, directory);
        services::crypto::CryptOptions options;
        options.name = "d";
        options.sector_size = sector_size_;
        const std::vector<std::byte> key = test::pattern(64, 4);
        device_ = std::move(*services::crypto::CryptDevice::create(
            ram_.device(), options, std::move(*services::crypto::XtsKey::create(key)),
            std::span(&context, 1)));
    }
    block::Device& device() override { return *device_; }
    Task<> stop() override { co_await device_->stop(); }

  private:
    RamRig ram_;
    std::uint32_t sector_size_;
    std::unique_ptr<services::crypto::CryptDevice> device_;
};

struct Kind {
    std::string name;
    std::function<std::unique_ptr<Rig>()> make;
    /// Whether what was never written reads as zeros; else as noise, which stays the same.
    bool fresh_is_zeros = true;
};

/// For the test's name in ctest, which would show the bytes, addresses and all.
void PrintTo(const Kind& kind, std::ostream* out) {
    *out << kind.name;
}

Kind ram(std::uint32_t block_size) {
    return {"Ram" + std::to_string(block_size),
            [block_size] { return std::make_unique<RamRig>(block_size); }};
}

Kind limited(std::uint32_t block_size) {
    return {"Limited" + std::to_string(block_size),
            [block_size] { return std::make_unique<LimitedRig>(block_size); }};
}

Kind faulty(std::uint32_t block_size, bool delays) {
    return {std::string("Fault") + (delays ? "Delays" : "") + std::to_string(block_size),
            [block_size, delays] { return std::make_unique<FaultRig>(block_size, delays); }};
}

Kind file(std::uint32_t block_size) {
    return {"File" + std::to_string(block_size),
            [block_size] { return std::make_unique<FileRig>(block_size); }};
}

Kind remote(std::uint32_t block_size, bool digests) {
    return {std::string("NvmeTcp") + (digests ? "Digests" : "") + std::to_string(block_size),
            [block_size, digests] { return std::make_unique<RemoteRig>(block_size, digests); }};
}

Kind multipath(std::uint32_t block_size) {
    return {"Multipath" + std::to_string(block_size),
            [block_size] { return std::make_unique<MultipathRig>(block_size); }};
}

Kind crypt(std::uint32_t block_size, std::uint32_t sector_size) {
    return {
        "Crypt" + std::to_string(sector_size) + "On" + std::to_string(block_size),
        [block_size, sector_size] { return std::make_unique<CryptRig>(block_size, sector_size); },
        false};
}

Kind integrity(std::uint32_t block_size) {
    return {"Integrity" + std::to_string(block_size),
            [block_size] { return std::make_unique<IntegrityRig>(block_size); }};
}

Kind raid(services::raid::Level level, std::size_t members, std::uint32_t block_size) {
    return {std::string(services::raid::to_string(level)) + "Of" + std::to_string(members) + "X" +
                std::to_string(block_size),
            [=] { return std::make_unique<RaidRig>(level, members, block_size); }};
}

class DeviceContractTest : public test::ReactorFixture, public testing::WithParamInterface<Kind> {
  public:
    DeviceContractTest() : pool_(std::move(*memory::BufferPool::create(8 * core::kMiB))) {
        std::string pattern = (std::filesystem::temp_directory_path() / "remora-XXXXXX").string();
        directory_ = mkdtemp(pattern.data());
    }
    ~DeviceContractTest() override { std::filesystem::remove_all(directory_); }

    /// Runs `body(device, client)` with an open channel.
    template <typename F>
    void with_device(F body) {
        run([&]() -> Task<> {
            auto rig = GetParam().make();
            co_await rig->start({reactor(), *pool_}, directory_);
            auto channel = rig->device().open_channel();
            EXPECT_TRUE(channel);
            test::BlockClient client(**channel);
            co_await body(rig->device(), client);
            channel->reset();
            co_await rig->stop();
        });
    }

  private:
    std::unique_ptr<memory::BufferPool> pool_;
    std::string directory_;
};

Segment segment(std::vector<std::byte>& bytes) {
    return {bytes.data(), bytes.size()};
}

TEST_P(DeviceContractTest, Read_freshDevice_givesZeros) {
    with_device([](block::Device& device, test::BlockClient& client) -> Task<> {
        std::vector<std::byte> data(device.geometry().block_size * 4, std::byte{0xff});
        const Segment whole = segment(data);
        Status status = co_await client.perform(Opcode::Read, 3, 4, std::span(&whole, 1));
        EXPECT_EQ(status, Status::Ok);
        EXPECT_EQ(data == std::vector<std::byte>(data.size()), GetParam().fresh_is_zeros);
        const std::vector<std::byte> before =
            std::exchange(data, std::vector<std::byte>(data.size(), std::byte{0xff}));
        const Segment again = segment(data);
        status = co_await client.perform(Opcode::Read, 3, 4, std::span(&again, 1));
        EXPECT_EQ(status, Status::Ok);
        EXPECT_EQ(data, before);
    });
}

TEST_P(DeviceContractTest, Write_scatteredUnalignedMemory_readsBackTheSame) {
    with_device([](block::Device& device, test::BlockClient& client) -> Task<> {
        const std::uint32_t size = device.geometry().block_size;
        std::vector<std::byte> out = test::pattern(size * 600, 1);  // several bounce parts
        const Segment three[] = {{out.data(), 1},
                                 {out.data() + 1, size * 2},
                                 {out.data() + 1 + size * 2, out.size() - 1 - size * 2}};
        Status status = co_await client.perform(Opcode::Write, 5, 600, three);
        EXPECT_EQ(status, Status::Ok);
        std::vector<std::byte> in(out.size() + 3);
        const Segment two[] = {{in.data() + 3, 7}, {in.data() + 10, in.size() - 10}};
        status = co_await client.perform(Opcode::Read, 5, 600, two);
        EXPECT_EQ(status, Status::Ok);
        EXPECT_EQ(std::memcmp(in.data() + 3, out.data(), out.size()), 0);
    });
}

TEST_P(DeviceContractTest, Write_forceUnitAccessAndFlush_succeed) {
    with_device([](block::Device& device, test::BlockClient& client) -> Task<> {
        std::vector<std::byte> data = test::pattern(device.geometry().block_size, 2);
        const Segment whole = segment(data);
        Status status = co_await client.perform(Opcode::Write, 0, 1, std::span(&whole, 1), true);
        EXPECT_EQ(status, Status::Ok);
        status = co_await client.perform(Opcode::Flush, 0, 0);
        EXPECT_EQ(status, Status::Ok);
    });
}

// What the geometry does not promise is refused, and changes nothing.
TEST_P(DeviceContractTest, ZeroAndDiscard_writtenRange_readsZerosAroundItStays) {
    with_device([](block::Device& device, test::BlockClient& client) -> Task<> {
        const block::Geometry geometry = device.geometry();
        const std::uint32_t size = device.geometry().block_size;
        const std::vector<std::byte> zeros(size);
        for (const Opcode opcode : {Opcode::WriteZeroes, Opcode::Discard}) {
            std::vector<std::byte> data = test::pattern(size * 8, 3);
            const std::vector<std::byte> before = data;
            const Segment whole = segment(data);
            Status status = co_await client.perform(Opcode::Write, 16, 8, std::span(&whole, 1));
            EXPECT_EQ(status, Status::Ok);
            const bool can =
                opcode == Opcode::Discard ? geometry.can_discard : geometry.can_write_zeroes;
            status = co_await client.perform(opcode, 18, 2);
            EXPECT_EQ(status, can ? Status::Ok : Status::Unsupported);
            status = co_await client.perform(Opcode::Read, 16, 8, std::span(&whole, 1));
            EXPECT_EQ(status, Status::Ok);
            for (std::size_t block = 0; block < 8; ++block) {
                const bool cleared = can && (block == 2 || block == 3);
                const std::byte* wanted = cleared ? zeros.data() : before.data() + block * size;
                EXPECT_EQ(std::memcmp(data.data() + block * size, wanted, size), 0) << block;
            }
        }
    });
}

TEST_P(DeviceContractTest, Submit_badRange_isRefusedWithTheRightStatus) {
    with_device([](block::Device& device, test::BlockClient& client) -> Task<> {
        const block::Geometry geometry = device.geometry();
        std::vector<std::byte> data(geometry.block_size * 2);
        const Segment whole = segment(data);
        const auto read = [&](std::uint64_t lba, std::uint32_t blocks) {
            return client.perform(Opcode::Read, lba, blocks, std::span(&whole, 1));
        };
        Status status = co_await read(geometry.block_count - 1, 2);
        EXPECT_EQ(status, Status::OutOfRange);
        status = co_await read(~0ULL, 2);
        EXPECT_EQ(status, Status::OutOfRange);
        status = co_await read(0, 1);  // the data is for two blocks
        EXPECT_EQ(status, Status::InvalidRequest);
        status = co_await read(0, 0);
        EXPECT_EQ(status, Status::InvalidRequest);
        status = co_await read(geometry.block_count - 2, 2);
        EXPECT_EQ(status, Status::Ok);
    });
}

TEST_P(DeviceContractTest, Submit_moreThanAnyQueueHolds_completesEachOnce) {
    with_device([](block::Device& device, test::BlockClient& client) -> Task<> {
        const std::uint32_t size = device.geometry().block_size;
        constexpr std::size_t kRequests = 1000;
        std::vector<std::vector<std::byte>> data;
        std::vector<Segment> segments;
        std::vector<std::unique_ptr<test::AwaitedRequest>> requests;
        for (std::size_t i = 0; i < kRequests; ++i) {
            data.push_back(test::pattern(size, i));
            segments.push_back(segment(data.back()));
        }
        for (std::size_t i = 0; i < kRequests; ++i) {
            auto request = std::make_unique<test::AwaitedRequest>();
            request->opcode = Opcode::Write;
            request->lba = i;
            request->block_count = 1;
            request->data = std::span(&segments[i], 1);
            client.start(*request);
            requests.push_back(std::move(request));
        }
        for (auto& request : requests) {
            const Status status = co_await test::BlockClient::finish(*request);
            EXPECT_EQ(status, Status::Ok);
            EXPECT_EQ(request->completions, 1);
        }
        std::vector<std::byte> all(size * kRequests);
        const Segment whole = segment(all);
        const Status status =
            co_await client.perform(Opcode::Read, 0, kRequests, std::span(&whole, 1));
        EXPECT_EQ(status, Status::Ok);
        for (std::size_t i = 0; i < kRequests; ++i) {
            EXPECT_EQ(std::memcmp(all.data() + i * size, data[i].data(), size), 0) << i;
        }
    });
}

INSTANTIATE_TEST_SUITE_P(Devices,
                         DeviceContractTest,
                         testing::Values(ram(512),
                                         ram(4096),
                                         limited(512),
                                         faulty(512, false),
                                         faulty(4096, true),
                                         file(512),
                                         file(4096),
                                         remote(512, false),
                                         remote(4096, false),
                                         remote(4096, true),
                                         multipath(512),
                                         multipath(4096),
                                         crypt(512, 512),
                                         crypt(4096, 4096),
                                         crypt(4096, 512),
                                         integrity(512),
                                         integrity(4096),
                                         raid(Level::Concat, 2, 512),
                                         raid(Level::Raid0, 3, 4096),
                                         raid(Level::Raid1, 2, 512),
                                         raid(Level::Raid1, 3, 4096),
                                         raid(Level::Raid5, 3, 512),
                                         raid(Level::Raid5, 5, 4096),
                                         raid(Level::Raid10, 4, 4096)),
                         [](const auto& info) { return info.param.name; });

using NullDeviceTest = test::ReactorFixture;

TEST_F(NullDeviceTest, Read_dirtyBuffer_isZeroed) {
    run([]() -> Task<> {
        auto device = backends::null::NullDevice::create("n", {}, 512, 100);
        auto channel = (*device)->open_channel();
        test::BlockClient client(**channel);
        std::vector<std::byte> data(512, std::byte{0xff});
        const Segment whole = segment(data);
        const Status status = co_await client.perform(Opcode::Read, 99, 1, std::span(&whole, 1));
        EXPECT_EQ(status, Status::Ok);
        EXPECT_EQ(data, std::vector<std::byte>(512));
    });
}

TEST_F(NullDeviceTest, Create_badShape_isRefused) {
    EXPECT_FALSE(backends::null::NullDevice::create("n", {}, 513, 100));
    EXPECT_FALSE(backends::null::NullDevice::create("n", {}, 8192, 100));
    EXPECT_FALSE(backends::null::NullDevice::create("n", {}, 512, 0));
    EXPECT_FALSE(backends::null::NullDevice::create("n", {}, 512, ~0ULL));
}

}  // namespace
}  // namespace remora
