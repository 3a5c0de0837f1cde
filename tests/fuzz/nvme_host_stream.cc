// SPDX-License-Identifier: Apache-2.0
// Target: what an NVMe/TCP host receives. A real remote controller connects to a target that, PDU
// by PDU, does what the input says: behaves, keeps silent, answers wrongly, sends data and R2Ts
// nobody asked for, spoils digests, sends garbage, breaks off.
//
//   input: settings, then requests and answers as they come up; behaves when it ends
//
// Whatever the target does, the host's PDUs keep the rules, each request completes once, and all
// comes to an end. With a target that never lied, what is read is what was written.
#include <optional>

#include "backends/nvme_tcp/remote_controller.h"
#include "block/reactor_context.h"
#include "reactor/call.h"
#include "tests/fuzz/support/input.h"
#include "tests/fuzz/support/lying_target.h"
#include "tests/fuzz/support/world.h"
#include "tests/support/block_client.h"

namespace remora::fuzz {
namespace {

using backends::nvme_tcp::ControllerOptions;
using backends::nvme_tcp::RemoteController;
using nvme::tcp::PduType;
using reactor::Task;

constexpr std::size_t kRequests = 6;
constexpr int kRounds = 4;

/// A request with memory of its own.
struct Owned {
    test::AwaitedRequest request;
    std::vector<std::byte> bytes;
    core::Segment segments[2];
    bool started = false;
};

class Run {
  public:
    explicit Run(Input input) : input_(input) {}

    void run() {
        world_.run([this]() -> Task<> { co_await body(); });
    }

  private:
    Task<> body() {
        LyingTarget target(world_.reactor);
        const std::uint8_t settings = input_.u8();
        target.digests = settings & 3U;
        target.cpda = (settings >> 2U) & 7U;
        target.piece = (settings & 0x40U) != 0 ? 1 + std::size_t{input_.u8()} : 0;
        target.on_pdu = [this](Link& link, const Pdu& pdu) { return act(link, pdu); };
        ControllerOptions options;
        options.name = "r";
        options.endpoint = target.at;
        options.subnqn = "nqn.2026-01.fuzz:sub";
        options.hostnqn = "nqn.2026-01.fuzz:host";
        options.queue_size = 8;
        options.header_digest = (settings & 0x20U) != 0 || (settings & 1U) != 0;
        options.data_digest = (settings & 2U) != 0;
        options.timing.path_timeout = std::chrono::seconds(5);
        const block::ReactorContext context{world_.reactor, World::pool()};
        auto made =
            RemoteController::create(std::move(options), std::span(&context, 1), world_.reactor);
        CHECK(made.has_value());
        RemoteController& controller = **made;
        const auto ready = co_await controller.wait_ready(std::chrono::seconds(20));
        CHECK(ready.has_value() || lied_);
        if (block::Device* device = controller.device(1)) {
            co_await use(*device);
        }
        co_await controller.stop();
        made->reset();
        target.close();
        co_await reactor::sleep_for(std::chrono::milliseconds(1));
    }

    Task<> use(block::Device& device) {
        auto channel = device.open_channel();
        if (!channel) {
            co_return;
        }
        const block::Geometry geometry = device.geometry();
        test::BlockClient client(**channel);
        for (int round = 0; round < kRounds && !input_.empty(); ++round) {
            std::array<Owned, kRequests> owned;
            const std::uint32_t count = 1 + input_.below(kRequests);
            for (std::uint32_t i = 0; i < count; ++i) {
                start(client, owned[i], geometry);
            }
            for (std::uint32_t i = 0; i < count; ++i) {
                const block::Status status = co_await test::BlockClient::finish(owned[i].request);
                CHECK(owned[i].request.completions == 1);
                CHECK(lied_ || status == block::Status::Ok);
            }
        }
        if (!lied_) {
            co_await round_trip(client, geometry);
        }
        channel->reset();
    }

    void start(test::BlockClient& client, Owned& owned, const block::Geometry& geometry) {
        static constexpr block::Opcode kOpcodes[] = {
            block::Opcode::Read,  block::Opcode::Write,       block::Opcode::Flush,
            block::Opcode::Write, block::Opcode::WriteZeroes, block::Opcode::Discard};
        const std::uint8_t how = input_.u8();
        block::Request& request = owned.request;
        request.opcode = kOpcodes[how % std::size(kOpcodes)];
        if (request.opcode != block::Opcode::Flush) {
            request.lba = input_.u8() % geometry.block_count;
            request.block_count = static_cast<std::uint32_t>(
                1 + input_.u8() % std::min<std::uint64_t>(geometry.block_count - request.lba, 40));
        }
        if (request.opcode == block::Opcode::Read || request.opcode == block::Opcode::Write) {
            owned.bytes.assign(std::size_t{request.block_count} * geometry.block_size,
                               static_cast<std::byte>(how));
            const std::size_t cut =
                how % 2 == 0 ? 0 : std::min<std::size_t>(how, owned.bytes.size());
            owned.segments[0] = {owned.bytes.data(), cut};
            owned.segments[1] = {owned.bytes.data() + cut, owned.bytes.size() - cut};
            request.data = std::span(owned.segments).subspan(cut == 0 ? 1 : 0);
            request.force_unit_access = request.opcode == block::Opcode::Write && how > 128;
        }
        if (block::validate(request, geometry) != block::Status::Ok) {  // it has no such operation
            request.opcode = block::Opcode::Flush;
            request.lba = request.block_count = 0;
        }
        client.start(owned.request);
    }

    Task<> round_trip(test::BlockClient& client, const block::Geometry& geometry) {
        const std::size_t size = std::size_t{3} * geometry.block_size;
        auto out = test::pattern(size, size);
        std::vector<std::byte> in(size);
        const core::Segment from{out.data(), size};
        const core::Segment into{in.data(), size};
        const auto wrote = co_await client.perform(block::Opcode::Write, 5, 3, std::span(&from, 1));
        const auto read = co_await client.perform(block::Opcode::Read, 5, 3, std::span(&into, 1));
        CHECK(lied_ || (wrote == block::Status::Ok && read == block::Status::Ok && in == out));
    }

    /// What the target does with a PDU of the host's. True: nothing more.
    bool act(Link& link, const Pdu& pdu) {
        const std::uint8_t how = input_.u8();
        if (how < 128) {
            return false;
        }
        lied_ = true;
        const bool command = pdu.frame.type == PduType::CapsuleCmd;
        std::uint16_t cid = command ? pdu.as<nvme::tcp::CapsuleCmd>().command.cid.get()
                                    : std::uint16_t{input_.u8()};
        if ((how & 0x40U) != 0) {
            cid = static_cast<std::uint16_t>(cid ^ (how & 0x20U ? 0x400U : 1U));
        }
        return lie(link, how, cid);
    }

    bool lie(Link& link, std::uint8_t how, std::uint16_t cid) {
        switch (how & 15U) {
            case 0:
                return true;  // silence
            case 1:
                link.send(input_.take_bytes(input_.u8()));
                return input_.flag();
            case 2:
                link.respond(cid, input_.u16(), input_.u32());
                return true;
            case 3:
            case 4: {
                const std::uint32_t offset = input_.u16();
                const std::vector<std::byte> data(1 + input_.u16() % 9000U, std::byte{how});
                link.send_data(cid, (how & 15U) == 3 ? 0 : offset, data, input_.u8());
                return input_.flag();
            }
            case 5:
                link.send_r2t(cid, input_.u8() % 4U * 512U, input_.u16());
                return input_.flag();
            case 6:
                link.spoil_header = true;
                return false;
            case 7:
                link.spoil_data = true;
                return false;
            case 8:
                link.end(input_.flag());
                return true;
            case 9: {
                nvme::tcp::TermReq end;
                end.header.type = static_cast<std::uint8_t>(PduType::C2hTermReq);
                end.header.hlen = sizeof(end);
                const auto quoted = input_.take_bytes(input_.u8());
                end.header.plen = static_cast<std::uint32_t>(sizeof(end) + quoted.size());
                link.send(core::as_bytes_of(end));
                link.send(quoted);
                return true;
            }
            case 10: {
                nvme::tcp::IcResp response;
                response.header.type = static_cast<std::uint8_t>(PduType::IcResp);
                response.header.hlen = sizeof(response);
                response.header.plen = static_cast<std::uint32_t>(sizeof(response));
                response.maxh2cdata = std::uint32_t{4096};
                patch(input_, core::as_writable_bytes_of(response).first(16));
                link.send_ic_resp(response);
                return true;
            }
            case 11:
                return lie_about_read(link, cid);
            case 12:
                world_.io.window = 300 + std::size_t{input_.u16()};
                return false;
            default:
                link.respond(cid, 0);
                return true;
        }
    }

    /// Data in two parts, then an answer, each as it should be or nearly so.
    bool lie_about_read(Link& link, std::uint16_t cid) {
        const std::size_t total = (1 + input_.below(40)) * std::size_t{512};
        const std::vector<std::byte> data(total, std::byte{0x77});
        const std::size_t cut = input_.u16() % total;
        const std::uint8_t flags = input_.u8();
        const std::span<const std::byte> bytes(data);
        if (cut > 0) {
            link.send_data(cid, 0, bytes.first(cut), flags & 15U);
        }
        link.send_data(cid, static_cast<std::uint32_t>(cut), bytes.subspan(cut), flags >> 4U);
        if (input_.flag()) {
            link.respond(cid, 0);
        }
        return true;
    }

    Input input_;
    World world_;
    bool lied_ = false;
};

}  // namespace
}  // namespace remora::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    remora::fuzz::Run(remora::fuzz::Input(data, size)).run();
    return 0;
}
