// SPDX-License-Identifier: Apache-2.0
// Target: the pages that an NVMe/TCP host reads: the discovery log; Identify of controller and
// namespaces, the active list, the identification descriptors; properties and features. They are
// sound ones with parts changed by the input.
//
//   input: which, then for each page or value how it is changed
//
// What the host makes of them keeps its own limits, and a volume that it shows can be read.
#include <set>

#include "backends/nvme_tcp/discovery.h"
#include "backends/nvme_tcp/remote_controller.h"
#include "block/reactor_context.h"
#include "nvme/spec/fabrics.h"
#include "reactor/call.h"
#include "tests/fuzz/support/input.h"
#include "tests/fuzz/support/lying_target.h"
#include "tests/fuzz/support/world.h"
#include "tests/support/block_client.h"

namespace remora::fuzz {
namespace {

using backends::nvme_tcp::RemoteController;
using reactor::Task;

constexpr std::size_t kVolumesRead = 4;

std::vector<std::byte> sound_log() {
    nvme::spec::DiscoveryLogHeader header;
    header.generation = std::uint64_t{3};
    header.record_count = std::uint64_t{3};
    std::vector<std::byte> log(sizeof(header));
    std::memcpy(log.data(), &header, sizeof(header));
    static constexpr std::string_view kAddresses[] = {"192.0.2.1", "2001:db8::7", "127.0.0.1"};
    for (const std::string_view address : kAddresses) {
        nvme::spec::DiscoveryLogEntry entry;
        entry.transport = nvme::spec::kTransportTcp;
        entry.address_family = nvme::spec::kAddressIpv4;
        entry.subtype = nvme::spec::kSubtypeNvm;
        nvme::spec::set_field_text(entry.service_id, "4420", ' ');
        nvme::spec::set_field_text(entry.subnqn, "nqn.2026-01.fuzz:sub", '\0');
        nvme::spec::set_field_text(entry.address, address, ' ');
        const auto bytes = core::as_bytes_of(entry);
        log.insert(log.end(), bytes.begin(), bytes.end());
    }
    return log;
}

class Run {
  public:
    explicit Run(Input input) : input_(input) {}

    void run() {
        world_.run([this]() -> Task<> {
            LyingTarget target(world_.reactor);
            target.discovery_log = sound_log();
            target.on_page = [this](std::vector<std::byte>& page) { change(page); };
            target.on_value = [this](std::uint64_t& value) {
                if (input_.u8() > 200) {
                    value ^= input_.u64();
                }
            };
            if (input_.flag()) {
                co_await read_log(target);
            } else {
                co_await read_namespaces(target);
            }
            target.close();
            co_await reactor::sleep_for(std::chrono::milliseconds(1));
        });
    }

  private:
    void change(std::vector<std::byte>& page) {
        for (std::uint32_t times = input_.below(6); times > 0; --times) {
            patch(input_, page);
        }
    }

    Task<> read_log(const LyingTarget& target) {
        const auto entries =
            co_await backends::nvme_tcp::discover(target.at, "nqn.2026-01.fuzz:host", core::Uuid{},
                                                  world_.reactor.now() + std::chrono::seconds(20));
        if (!entries) {
            CHECK(!entries.error().message.empty());
            co_return;
        }
        CHECK(entries->size() <= 4096);
        for (const auto& entry : *entries) {
            CHECK(!entry.subnqn.empty() && entry.subnqn.size() <= nvme::spec::kNqnMaxBytes);
            CHECK(entry.endpoint.port != 0);
            const auto again = reactor::Endpoint::parse(entry.endpoint.text());
            CHECK(again.has_value() && *again == entry.endpoint);
        }
    }

    Task<> read_namespaces(const LyingTarget& target) {
        backends::nvme_tcp::ControllerOptions options;
        options.name = "r";
        options.endpoint = target.at;
        options.subnqn = "nqn.2026-01.fuzz:sub";
        options.hostnqn = "nqn.2026-01.fuzz:host";
        options.queue_size = 8;
        const block::ReactorContext context{world_.reactor, World::pool()};
        auto made =
            RemoteController::create(std::move(options), std::span(&context, 1), world_.reactor);
        CHECK(made.has_value());
        RemoteController& controller = **made;
        const auto ready = co_await controller.wait_ready(std::chrono::seconds(10));
        static_cast<void>(ready);
        check_status(controller);
        std::size_t read = 0;
        for (const auto& space : controller.status().namespaces) {
            block::Device* device = controller.device(space.nsid);
            if (space.present && device != nullptr && read++ < kVolumesRead) {
                co_await read_end(*device);
            }
        }
        const auto again = co_await controller.rescan();
        static_cast<void>(again);
        check_status(controller);
        co_await controller.stop();
        made->reset();
    }

    static void check_status(const RemoteController& controller) {
        std::uint32_t last = 0;
        for (const auto& space : controller.status().namespaces) {
            CHECK(space.nsid > last);
            last = space.nsid;
            CHECK(block::check_geometry(space.geometry).has_value());
            CHECK(space.geometry.block_size >= 512 && space.geometry.block_size <= 4096);
            CHECK(!space.uuid.is_nil());
        }
    }

    /// Its last blocks; it may fail, but it ends.
    static Task<> read_end(block::Device& device) {
        auto channel = device.open_channel();
        if (!channel) {
            co_return;
        }
        const block::Geometry geometry = device.geometry();
        const auto blocks =
            static_cast<std::uint32_t>(std::min<std::uint64_t>(geometry.block_count, 9));
        std::vector<std::byte> bytes(std::size_t{blocks} * geometry.block_size);
        const core::Segment into{bytes.data(), bytes.size()};
        test::BlockClient client(**channel);
        const auto status = co_await client.perform(
            block::Opcode::Read, geometry.block_count - blocks, blocks, std::span(&into, 1));
        static_cast<void>(status);
        channel->reset();
    }

    Input input_;
    World world_;
};

}  // namespace
}  // namespace remora::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    remora::fuzz::Run(remora::fuzz::Input(data, size)).run();
    return 0;
}
