// SPDX-License-Identifier: Apache-2.0
// VfioNvmeTest: a controller over SlowDevices on a reactor thread, a guest on the test's thread.
#pragma once

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>

#include "frontends/vfio_user_nvme/controller.h"
#include "memory/buffer_pool.h"
#include "nvme/spec/fabrics.h"
#include "nvme/spec/identify.h"
#include "nvme/spec/log_page.h"
#include "nvme/spec/pcie.h"
#include "reactor/linux/reactor_thread.h"
#include "tests/support/nvme_guest.h"
#include "tests/support/run_on.h"
#include "tests/support/slow_device.h"

namespace remora::test {

namespace spec = nvme::spec;
using frontends::vfio_user_nvme::Controller;
using frontends::vfio_user_nvme::ControllerSpec;
using spec::AdminOpcode;
using spec::Command;
using spec::IoOpcode;
using spec::PcieAdminOpcode;
using spec::PcieStatus;
using spec::StatusCode;

template <typename T>
constexpr std::uint16_t refused(T code) {
    return spec::status_field(code, true);
}

class VfioNvmeTest : public testing::Test {
  public:
    static constexpr std::uint64_t kBlocks = 4096;
    static constexpr std::uint16_t kQueues = 4;
    static constexpr std::size_t kPoolBytes = std::size_t{1} << 20U;

    VfioNvmeTest() {
        reactor::ReactorThreadOptions options;
        options.name = "nvme-test";
        auto thread = reactor::ReactorThread::start(options);
        CHECK(thread.has_value());
        thread_ = std::move(*thread);
        buffers_ = std::move(*memory::BufferPool::create(kPoolBytes));
        context_.emplace(block::ReactorContext{thread_->reactor(), *buffers_});
        char folder[] = "/tmp/remora-vfio-XXXXXX";
        CHECK(mkdtemp(folder) != nullptr);
        folder_ = folder;
    }
    static block::Geometry geometry(std::uint32_t block_size = 512) {
        return {.block_size = block_size,
                .block_count = kBlocks * 512 / block_size,
                .can_discard = true,
                .can_write_zeroes = true,
                .volatile_cache = true};
    }

    /// Runs `f`, or the coroutine `make()`, on the reactor and gives its result.
    template <typename F>
    auto on_reactor(F f) {
        return run_on(thread_->reactor(), std::move(f));
    }
    template <typename F>
    core::Result<void> run_task(F make) {
        return await_on(thread_->reactor(), std::move(make));
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

    ~VfioNvmeTest() override {
        if (controller != nullptr) {
            on_reactor([this] {
                for (const auto& device : devices) {
                    device->hold(false);
                }
            });
            EXPECT_TRUE(stop(std::chrono::seconds(10)).has_value());
            on_reactor([this] { controller.reset(); });
        }
        EXPECT_EQ(on_reactor([this] { return buffers_->in_use(); }), 0U);
        rmdir(folder_.c_str());
    }

    ControllerSpec controller_spec() {
        ControllerSpec made;
        made.name = "nvme0";
        made.socket_path = folder_ + "/nvme0.sock";
        made.io_queues = kQueues;
        made.identity.nqn = "nqn.2024-01.test:nvme0";
        made.identity.serial = "SERIAL";
        made.identity.model = "Model";
        made.identity.max_namespaces = 32;
        return made;
    }
    void make_controller(const ControllerSpec& with) {
        on_reactor([&] {
            auto made = Controller::create(with, *context_);
            CHECK(made.has_value());
            controller = std::move(*made);
        });
    }
    /// With one namespace.
    void make_controller() {
        make_controller(controller_spec());
        add_namespace(1);
    }
    SlowDevice& add_namespace(std::uint32_t nsid, block::Geometry with = geometry()) {
        devices.push_back(std::make_unique<SlowDevice>(with));
        SlowDevice& device = *devices.back();
        on_reactor([&] {
            nvme::Namespace from;
            from.nsid = nsid;
            from.uuid = device.uuid();
            CHECK(controller->add_namespace(from, device).has_value());
        });
        return device;
    }
    core::Result<void> remove_namespace(std::uint32_t nsid, core::Nanos limit) {
        return run_task([&] { return controller->remove_namespace(nsid, limit); });
    }
    core::Result<void> stop(core::Nanos limit) {
        return run_task([&] { return controller->stop(limit); });
    }
    NvmeGuestOptions guest_options() { return {.path = controller_spec().socket_path}; }
    /// Writes and reads so many blocks, and compares: some rounds of the queue's rings. `data` is
    /// the place of a page.
    void work(NvmeGuest& guest, std::uint64_t data, std::uint16_t qid, std::uint64_t blocks = 40) {
        const auto io = [&](IoOpcode opcode, std::uint64_t lba) {
            Command command = NvmeGuest::io(opcode, lba, 1);
            guest.point(command, data, 512);
            return guest.status_of(guest.queue(qid), command);
        };
        for (std::uint64_t lba = 0; lba < blocks; ++lba) {
            const auto value = static_cast<std::byte>(++value_);
            std::memset(guest.at(data), static_cast<int>(value), 512);
            ASSERT_EQ(io(IoOpcode::Write, lba), 0);
            std::memset(guest.at(data), 0, 512);
            ASSERT_EQ(io(IoOpcode::Read, lba), 0);
            ASSERT_EQ(*guest.at(data + 511), value);
        }
    }
    /// Creates or deletes a queue.
    static Command make_queue(PcieAdminOpcode opcode,
                              std::uint16_t qid,
                              std::uint32_t entries,
                              std::uint32_t cdw11,
                              std::uint64_t address) {
        Command command{};
        command.opcode = static_cast<std::uint8_t>(opcode);
        command.cdw10 = qid | ((entries - 1) << 16U);
        command.cdw11 = cdw11;
        spec::PrpPair prps;
        prps.first = address;
        std::memcpy(&command.sgl, &prps, sizeof(prps));
        return command;
    }
    static void ask_for_event(NvmeGuest& guest) {
        Command event{};
        event.opcode = static_cast<std::uint8_t>(AdminOpcode::AsyncEventRequest);
        guest.push(guest.queue(0), event);
        guest.ring(guest.queue(0));
    }
    /// The event came, and the log names these namespaces alone.
    static void expect_changed(NvmeGuest& guest, std::span<const std::uint32_t> nsids) {
        const auto event = guest.wait(guest.queue(0));
        ASSERT_TRUE(event.has_value());
        EXPECT_EQ(event->dw0, spec::kNoticeNamespaces);
        const std::uint64_t data = guest.allocate(sizeof(spec::ChangedNamespacesLog));
        Command command{};
        command.opcode = static_cast<std::uint8_t>(AdminOpcode::GetLogPage);
        spec::set_log_page_range(command, spec::LogPage::ChangedNamespaces, 0,
                                 sizeof(spec::ChangedNamespacesLog));
        guest.point(command, data, sizeof(spec::ChangedNamespacesLog));
        ASSERT_EQ(guest.status_of(guest.queue(0), command), 0);
        std::vector<std::uint32_t> expected(nsids.begin(), nsids.end());
        expected.resize(1024);
        std::vector<std::uint32_t> listed(1024);
        std::memcpy(listed.data(), guest.at(data), sizeof(spec::ChangedNamespacesLog));
        EXPECT_EQ(listed, expected);
    }
    std::vector<std::byte> stored(SlowDevice& device, std::size_t at, std::size_t size) {
        return on_reactor([&] {
            const auto bytes = device.bytes().subspan(at, size);
            return std::vector<std::byte>(bytes.begin(), bytes.end());
        });
    }

    std::vector<std::unique_ptr<SlowDevice>> devices;
    std::unique_ptr<Controller> controller;

  private:
    std::unique_ptr<reactor::ReactorThread> thread_;
    std::unique_ptr<memory::BufferPool> buffers_;
    std::optional<block::ReactorContext> context_;
    std::string folder_;
    unsigned value_ = 0;
};

}  // namespace remora::test
