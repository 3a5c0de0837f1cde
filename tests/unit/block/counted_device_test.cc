// SPDX-License-Identifier: Apache-2.0
#include "block/counted_device.h"

#include <array>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/block/still_world.h"

namespace remora::block {
namespace {

constexpr std::uint32_t kBlockSize = 4096;

/// Keeps what it is given until the test completes it.
class HeldDevice final : public Device {
  public:
    HeldDevice() : Device("held", {}) {}
    [[nodiscard]] Geometry geometry() const override {
        Geometry geometry;
        geometry.block_size = kBlockSize;
        geometry.block_count = 100;
        return geometry;
    }
    core::Result<std::unique_ptr<Channel>> open_channel() override {
        if (full) {
            return core::fail(core::ErrorKind::ResourceExhausted, "no channel left");
        }
        return std::make_unique<HeldChannel>(*this);
    }
    void add_listener(DeviceListener& listener) override { listeners.push_back(&listener); }
    void remove_listener(DeviceListener& listener) override { std::erase(listeners, &listener); }
    reactor::Task<> stop() override {
        stopped = true;
        co_return;
    }

    void complete_all(Status status) {
        RequestBatch batch = std::move(held);
        batch.for_each([status](Request& request) { request.status = status; });
        complete_batch(batch);
    }

    RequestBatch held;
    std::size_t batches = 0;
    bool full = false;
    bool stopped = false;
    std::vector<DeviceListener*> listeners;

  private:
    class HeldChannel final : public Channel {
      public:
        explicit HeldChannel(HeldDevice& device) : device_(device) {}
        void submit(RequestBatch& batch) override {
            ++device_.batches;
            device_.held.append(batch);
        }

      private:
        HeldDevice& device_;
    };
};

class Sink final : public Completer {
  public:
    void complete(RequestBatch& batch) override {
        ++batches;
        while (Request* request = batch.pop_front()) {
            request->pop_frame();
            EXPECT_EQ(request->depth, 0);
            ++completions;
        }
    }
    int batches = 0;
    int completions = 0;
};

class CountedDeviceTest : public StillWorld {
  public:
    void SetUp() override {
        on_reactor([this] { channel = std::move(*counted.open_channel()); });
    }
    void TearDown() override {
        on_reactor([this] { channel.reset(); });
    }

    void submit(std::initializer_list<Opcode> opcodes, std::uint32_t blocks) {
        on_reactor([this, opcodes, blocks] {
            RequestBatch batch;
            for (const Opcode opcode : opcodes) {
                Request& request = requests.at(used++);
                request.opcode = opcode;
                request.block_count = opcode == Opcode::Flush ? 0 : blocks;
                request.push_frame(sink);
                batch.push_back(request);
            }
            channel->submit(batch);
            EXPECT_TRUE(batch.empty());
        });
    }

    void complete(Status status) {
        on_reactor([this, status] { lower.complete_all(status); });
    }

    DeviceStats stats() {
        DeviceStats out;
        on_reactor([this, &out] { out = counted.stats_here(); });
        return out;
    }

    HeldDevice lower;
    CountedDevice counted{lower};
    Sink sink;
    std::array<Request, 16> requests;
    std::size_t used = 0;
    std::unique_ptr<Channel> channel;
};

TEST_F(CountedDeviceTest, Identity_isTheLowerDevices) {
    EXPECT_EQ(counted.name(), "held");
    EXPECT_EQ(counted.uuid(), lower.uuid());
    EXPECT_EQ(counted.geometry(), lower.geometry());
    EXPECT_EQ(&counted.lower(), &lower);
}

TEST_F(CountedDeviceTest, Submit_inFlight_isNotCountedYet) {
    submit({Opcode::Read}, 1);
    EXPECT_EQ(stats().read.ops, 0U);
    complete(Status::Ok);
    EXPECT_EQ(stats().read.ops, 1U);
}

TEST_F(CountedDeviceTest, Batch_staysOneBatchBothWays) {
    submit({Opcode::Read, Opcode::Write, Opcode::Flush}, 1);
    EXPECT_EQ(lower.batches, 1U);
    complete(Status::Ok);
    EXPECT_EQ(sink.batches, 1);
    EXPECT_EQ(sink.completions, 3);
}

TEST_F(CountedDeviceTest, EachOpcode_countsInItsPlace) {
    submit({Opcode::Read, Opcode::Read, Opcode::Write, Opcode::Flush, Opcode::Discard,
            Opcode::WriteZeroes},
           2);
    complete(Status::Ok);

    const DeviceStats now = stats();
    EXPECT_EQ(now.read.ops, 2U);
    EXPECT_EQ(now.read.bytes, 4U * kBlockSize);
    EXPECT_EQ(now.write.ops, 1U);
    EXPECT_EQ(now.write.bytes, 2U * kBlockSize);
    EXPECT_EQ(now.flush.ops, 1U);
    EXPECT_EQ(now.flush.bytes, 0U);
    EXPECT_EQ(now.unmap.ops, 2U);
    EXPECT_EQ(now.unmap.bytes, 4U * kBlockSize);
    EXPECT_EQ(now.read.errors + now.write.errors + now.flush.errors + now.unmap.errors, 0U);
}

TEST_F(CountedDeviceTest, Failure_countsAsAnError) {
    submit({Opcode::Write}, 1);
    complete(Status::IoError);
    submit({Opcode::Write}, 1);
    complete(Status::Ok);
    EXPECT_EQ(stats().write.ops, 2U);
    EXPECT_EQ(stats().write.errors, 1U);
}

TEST_F(CountedDeviceTest, Latency_isTheTimeBetweenTurns) {
    submit({Opcode::Read, Opcode::Read}, 1);
    clock.time += std::chrono::microseconds(250);
    complete(Status::Ok);
    EXPECT_EQ(stats().read.latency_ns, 500'000U);
}

TEST_F(CountedDeviceTest, OpenChannel_lowerRefuses_passesTheErrorOn) {
    lower.full = true;
    on_reactor([this] {
        const auto opened = counted.open_channel();
        ASSERT_FALSE(opened);
        EXPECT_EQ(opened.error().kind, core::ErrorKind::ResourceExhausted);
    });
}

TEST_F(CountedDeviceTest, Stop_stopsTheLowerDevice) {
    run([this]() -> reactor::Task<> { co_await counted.stop(); });
    EXPECT_TRUE(lower.stopped);
}

class Listener final : public DeviceListener {
  public:
    void on_geometry_changed() override { ++changes; }
    int changes = 0;
};

// A volume that grows behind the counters must still be seen to grow.
TEST_F(CountedDeviceTest, Listeners_reachTheLowerDevice) {
    Listener listener;
    counted.add_listener(listener);
    ASSERT_EQ(lower.listeners.size(), 1U);
    lower.listeners[0]->on_geometry_changed();
    EXPECT_EQ(listener.changes, 1);
    counted.remove_listener(listener);
    EXPECT_TRUE(lower.listeners.empty());
}

}  // namespace
}  // namespace remora::block
