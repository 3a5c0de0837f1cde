// SPDX-License-Identifier: Apache-2.0
// SessionTest: a session with a device that notes what is asked of it, on a reactor thread, and a
// client on the test's thread.
#pragma once

#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "reactor/linux/reactor_thread.h"
#include "tests/support/vfio_client.h"
#include "vfio_user/session.h"

namespace remora::test {

using vfio_user::Command;
using vfio_user::Region;

class NotingDevice final : public vfio_user::SessionDevice {
  public:
    NotingDevice() {
        regions[vfio_user::kRegionBar0] = {
            .size = 0x4000,
            .flags = vfio_user::kRegionRead | vfio_user::kRegionWrite,
            .map_offset = 0x1000,
            .map_size = 0x1000};
        regions[vfio_user::kRegionConfig] = {
            .size = 0x1000, .flags = vfio_user::kRegionRead | vfio_user::kRegionWrite};
        bytes.resize(0x4000);
    }

    [[nodiscard]] const Region& region(std::uint32_t index) const override {
        return regions[index];
    }
    bool read_region(std::uint32_t /*index*/, std::uint64_t at, std::span<std::byte> to) override {
        std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), to.size(), to.begin());
        return !refuse;
    }
    bool write_region(std::uint32_t /*index*/,
                      std::uint64_t at,
                      std::span<const std::byte> from) override {
        ++writes;
        std::ranges::copy(from, bytes.begin() + static_cast<std::ptrdiff_t>(at));
        return !refuse;
    }
    void on_memory_changed() override { ++memory_changes; }
    bool is_memory_idle(std::span<const std::byte> in) override {
        asked_idle.push_back(in.size());
        return idle;
    }
    bool reset_function() override {
        ++resets;
        return idle;
    }
    void refresh_interrupts() override {}
    bool stop(bool publish) override {
        stops.push_back(publish);
        return idle;
    }
    void on_session_ended() override { ended = true; }
    bool halt() override {
        ++halts;
        return idle;
    }
    void go_on() override { ++goes_on; }
    core::Result<std::vector<std::byte>> save() override {
        if (refuse) {
            return core::fail(core::ErrorKind::Unavailable, "not now");
        }
        return saved;
    }
    core::Result<void> load(std::span<const std::byte> state) override {
        loaded.assign(state.begin(), state.end());
        return refuse ? core::Result<void>(core::fail(core::ErrorKind::InvalidArgument, "no"))
                      : core::Result<void>();
    }

    std::array<Region, vfio_user::kRegionCount> regions{};
    std::vector<std::byte> bytes;
    bool refuse = false;
    bool idle = true;  ///< Nothing is under way.
    int writes = 0;
    int memory_changes = 0;
    int resets = 0;
    std::vector<std::size_t> asked_idle;
    std::vector<bool> stops;
    int halts = 0;
    int goes_on = 0;
    std::vector<std::byte> saved;
    std::vector<std::byte> loaded;
    bool ended = false;
};

class SessionTest : public testing::Test {
  public:
    static constexpr std::uint32_t kVectors = 8;

    template <typename F>
    auto on_reactor(F f) {
        std::promise<std::invoke_result_t<F&>> promise;
        auto value = promise.get_future();
        thread_->reactor().post_function([&] { promise.set_value(f()); });
        return value.get();
    }
    template <typename F>
    bool eventually(F condition) {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
        while (!on_reactor(condition)) {
            if (std::chrono::steady_clock::now() > deadline) {
                return false;
            }
            std::this_thread::yield();
        }
        return true;
    }

    SessionTest() {
        reactor::ReactorThreadOptions options;
        options.name = "vfio-test";
        auto thread = reactor::ReactorThread::start(options);
        CHECK(thread.has_value());
        thread_ = std::move(*thread);
        int ends[2];
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
        client = std::make_unique<VfioClient>(Fd(ends[0]));
        on_reactor([this, &ends] {
            auto& io = thread_->reactor().io();
            handle_ = *io.create_shared_memory(0x4000);
            device.regions[vfio_user::kRegionBar0].handle = handle_;
            session = std::make_unique<vfio_user::Session>(
                thread_->reactor(), std::move(*io.adopt_stream(ends[1])), device,
                vfio_user::IrqCounts{.msix = kVectors}, "test");
            return 0;
        });
    }
    ~SessionTest() override {
        client->disconnect();
        on_reactor([this] {
            if (!std::exchange(device.idle, true) && !device.stops.empty()) {
                session->on_stopped();
            }
            return 0;
        });
        EXPECT_TRUE(eventually([this] { return device.ended; }));
        on_reactor([this] {
            session.reset();
            thread_->reactor().io().close(handle_);
            return 0;
        });
    }

    void negotiate() { ASSERT_TRUE(client->negotiate().has_value()); }

    NotingDevice device;
    std::unique_ptr<vfio_user::Session> session;
    std::unique_ptr<VfioClient> client;

  private:
    std::unique_ptr<reactor::ReactorThread> thread_;
    reactor::Handle handle_ = reactor::kNoHandle;
};

}  // namespace remora::test
