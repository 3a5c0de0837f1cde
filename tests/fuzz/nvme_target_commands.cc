// SPDX-License-Identifier: Apache-2.0
// Target: capsules as commands. Hosts with connected queues send admin, fabrics and I/O commands
// with well-formed PDUs and contents from the input; data is sent for R2Ts, the volume stalls or
// fails, namespaces come and go.
//
//   input: digests, alignment, then operations until it ends
//
// Beside what TargetWorld checks: when everything has had its time, each command of a connection
// that lives has been answered, but event requests.
#include "nvme/spec/reservation.h"
#include "tests/fuzz/support/target_world.h"

namespace remora::fuzz {
namespace {

using nvme::spec::Command;
using nvme::spec::IoOpcode;
using reactor::Task;

constexpr std::size_t kMaxHosts = 6;
constexpr std::size_t kMaxData = std::size_t{9} * 1024;

Command make_command(std::uint8_t opcode,
                     std::uint32_t nsid,
                     std::uint32_t bytes,
                     bool in_capsule) {
    Command command{};
    command.opcode = opcode;
    command.flags = nvme::spec::kFlagsSgl;
    command.nsid = nsid;
    command.sgl.length = bytes;
    command.sgl.identifier = in_capsule ? nvme::spec::kSglInCapsule : nvme::spec::kSglTransport;
    return command;
}

class Script {
  public:
    explicit Script(Input input)
        : input_(input), dgst_(input_.u8() & 3U), hpda_(input_.u8() & 31U) {
        hosts_.push_back(target_.admin_queue(dgst_, hpda_));
        hosts_.push_back(target_.io_queue(hosts_[0]->cntlid(), 1, dgst_, hpda_));
    }

    void run() {
        while (!input_.empty()) {
            const std::uint8_t op = input_.u8();
            step(op);
            if ((op & 0x80U) != 0) {
                world_.settle();
            } else if ((op & 0x40U) != 0) {
                world_.turn(1);
            }
            for (const auto& host : hosts_) {
                host->listen();
            }
        }
        finish();
    }

  private:
    RawTargetHost& host() { return *hosts_[input_.u8() % hosts_.size()]; }

    void step(std::uint8_t op) {
        switch (op & 15U) {
            case 0:
                send(host(), input_.take<Command>());
                break;
            case 1:
            case 2:
                send(host(), io_command());
                break;
            case 3:
                send(host(), admin_command());
                break;
            case 4:
                send(host(), fabrics_command());
                break;
            case 5:
            case 6:
                answer_r2t(host());
                break;
            case 7:
                world_.pass(std::chrono::milliseconds(250) * input_.u8());
                break;
            case 8:
                trouble_device();
                break;
            case 9:
                connect();
                break;
            case 10:
                raw(host());
                break;
            case 11:
                hang_up(host());
                break;
            case 12:
                change_namespaces();
                break;
            case 13:
                world_.io.window = 200 + std::size_t{input_.u16()};
                break;
            case 14:
                reserve();
                break;
            default:
                world_.settle();
                break;
        }
    }

    Command io_command() {
        static constexpr std::uint8_t kOpcodes[] = {0, 1, 2, 8, 9, 2, 0x05, 0x0c, 0x19, 0x04};
        const std::uint8_t opcode = kOpcodes[input_.below(std::size(kOpcodes))];
        const std::uint8_t lba = input_.u8();
        const std::uint32_t blocks = input_.below(65) + 1;
        const bool in_capsule = input_.flag();
        const auto is = [opcode](IoOpcode one) { return opcode == static_cast<std::uint8_t>(one); };
        const bool moves = is(IoOpcode::Write) || is(IoOpcode::Read) || is(IoOpcode::Compare);
        const bool dsm = is(IoOpcode::DatasetManagement);
        const bool copy = is(IoOpcode::Copy);
        const std::uint32_t ranges = blocks % 8 + 1;
        const std::uint32_t bytes = moves ? blocks * 512 : ranges * (dsm ? 16U : copy ? 32U : 0U);
        Command command = make_command(opcode, 1, bytes, in_capsule);
        command.cdw10 = dsm ? blocks % 8 : std::uint32_t{lba};
        command.cdw11 = dsm ? nvme::spec::kDsmDeallocate : 0U;
        command.cdw12 = dsm ? 0 : (copy ? ranges : blocks) - 1;
        return command;
    }

    /// Reservation commands with keys of 0 to 3, of this host or of a second one.
    void reserve() {
        static constexpr IoOpcode kOpcodes[] = {
            IoOpcode::ReservationRegister, IoOpcode::ReservationAcquire,
            IoOpcode::ReservationRelease, IoOpcode::ReservationReport};
        const std::uint8_t how = input_.u8();
        if ((how & 0x80U) != 0 && !second_host_) {
            connect_second_host();
        }
        RawTargetHost& to = host();
        const IoOpcode opcode = kOpcodes[how % std::size(kOpcodes)];
        const bool report = opcode == IoOpcode::ReservationReport;
        const std::uint8_t keys = input_.u8();
        nvme::spec::ReservationAcquireData data;
        data.current_key = keys & 3U;
        data.preempted_key = (keys >> 2U) & 3U;
        const bool brief = opcode == IoOpcode::ReservationRelease && (keys & 0x10U) != 0;
        const std::uint32_t bytes = report ? 4U * (1U + keys) : brief ? 8U : 16U;
        Command command = make_command(static_cast<std::uint8_t>(opcode), 1, bytes,
                                       !report && (keys & 0x20U) == 0);
        command.cid = next_cid_++;
        if (report) {
            command.cdw10 = bytes / 4 - 1;
            command.cdw11 = (how & 0x40U) == 0 ? 1U : 0U;
        } else {
            const std::uint32_t persist = keys >> 6U;
            const std::uint32_t type = input_.u8() % 8U;
            command.cdw10 = ((how >> 2U) & 7U) | ((how & 0x20U) != 0 ? 8U : 0U) | (type << 8U) |
                            (persist << 30U);
        }
        if ((how & 0x60U) == 0x60U) {
            patch(input_, core::as_writable_bytes_of(command));
        }
        const bool in_capsule = command.sgl.identifier == nvme::spec::kSglInCapsule;
        to.send_capsule(core::as_bytes_of(command),
                        in_capsule ? core::as_bytes_of(data).first(std::min<std::size_t>(bytes, 16))
                                   : std::span<const std::byte>());
    }

    /// With queues of its own, as far as the input has left room for them.
    void connect_second_host() {
        constexpr std::uint8_t kHostId = 2;
        second_host_ = true;
        std::uint16_t cntlid = nvme::spec::kDynamicController;
        for (std::uint16_t qid = 0; qid < 2; ++qid) {
            auto made = target_.dial(dgst_);
            made->send_ic_req(hpda_);
            world_.settle();
            made->send_capsule(core::as_bytes_of(make_connect(qid, 15, 0)),
                               core::as_bytes_of(make_connect_data(cntlid, kHostId)));
            world_.settle();
            made->listen();
            if (qid == 0 && made->connected()) {
                cntlid = made->cntlid();
                made->send_capsule(
                    core::as_bytes_of(make_property_set(nvme::spec::kPropertyCc, kEnabledCc)), {});
                world_.settle();
            }
            if (hosts_.size() < kMaxHosts) {
                hosts_.push_back(std::move(made));
            } else {
                hosts_[2U + qid] = std::move(made);
            }
        }
    }

    Command admin_command() {
        static constexpr std::uint8_t kOpcodes[] = {0x02, 0x06, 0x08, 0x09, 0x0a, 0x0c, 0x18, 0x06};
        const std::uint8_t opcode = kOpcodes[input_.below(std::size(kOpcodes))];
        const std::uint8_t selector = input_.u8();
        const std::uint32_t value = input_.u16();
        std::uint32_t bytes = 0;
        Command command{};
        if (opcode == 0x02) {
            bytes = (value % 1025 + 1) * 4;
            command = make_command(opcode, nvme::spec::kBroadcastNsid, bytes, false);
            command.cdw10 = selector | ((bytes / 4 - 1) << 16U);
            command.cdw12 = input_.u16();
        } else {
            bytes = opcode == 0x06 ? 4096 : opcode == 0x0a || opcode == 0x09 ? value % 64 : 0;
            command = make_command(opcode, selector % 3, bytes, false);
            command.cdw10 = input_.u8();
            command.cdw11 = value;
        }
        return command;
    }

    Command fabrics_command() {
        nvme::spec::PropertyCommand command = make_property_set(0, 0);
        static constexpr std::uint8_t kOffsets[] = {0x00, 0x08, 0x14, 0x1c, 0x20, 0x14};
        command.fabrics_type = static_cast<std::uint8_t>(input_.below(9));
        command.attributes = input_.u8();
        command.offset = kOffsets[input_.below(std::size(kOffsets))];
        const std::uint32_t value = input_.u32();
        command.value = value;
        Command out;
        std::memcpy(&out, &command, sizeof(out));
        return out;
    }

    /// Changes some of its bytes, by the input, and sends it with as much data as it says.
    void send(RawTargetHost& to, Command command) {
        command.cid = next_cid_++;
        if (input_.flag()) {
            patch(input_, core::as_writable_bytes_of(command));
        }
        std::size_t size = 0;
        if (command.sgl.identifier == nvme::spec::kSglInCapsule) {
            size = command.sgl.length;
        }
        if (input_.below(8) == 7) {
            size = input_.u16();
        }
        // Of a Copy's list: the first block, as often as there are ranges.
        const bool copy = command.opcode == static_cast<std::uint8_t>(IoOpcode::Copy);
        std::vector<std::byte> data(std::min(size, kMaxData),
                                    static_cast<std::byte>(copy ? 0U : 0x5aU));
        const auto given = input_.take_run(std::min<std::size_t>(data.size(), input_.u8()));
        std::ranges::copy(given, data.begin());
        to.send_capsule(core::as_bytes_of(command), data);
    }

    void answer_r2t(RawTargetHost& to) {
        to.listen();
        const std::uint8_t how = input_.u8();
        if (to.asked.empty()) {
            return;
        }
        const auto request = to.asked.front();
        to.asked.pop_front();
        std::vector<std::byte> data(std::min<std::size_t>(request.r2tl, 32 * 1024), std::byte{how});
        const std::size_t part = how < 128 ? std::size_t{8192} : 1 + std::size_t{input_.u16()};
        for (std::size_t at = 0; at < data.size(); at += part) {
            const auto run = std::span(data).subspan(at, std::min(part, data.size() - at));
            nvme::tcp::DataPdu pdu;
            pdu.cccid = request.cccid;
            pdu.ttag = request.ttag;
            pdu.datao = static_cast<std::uint32_t>(request.r2to + at);
            pdu.datal = static_cast<std::uint32_t>(run.size());
            pdu.header.flags = at + run.size() == data.size() ? nvme::tcp::kLastPdu : 0;
            if (how % 16 == 15) {
                patch(input_, core::as_writable_bytes_of(pdu).subspan(sizeof(pdu.header)));
            }
            to.send_data(pdu, run);
            if (part < 64 && at > 20 * part) {
                return;  // the rest never comes
            }
        }
    }

    void trouble_device() {
        static constexpr block::Status kHow[] = {block::Status::Ok, block::Status::IoError,
                                                 block::Status::PathError};
        const std::uint8_t how = input_.u8();
        target_.device.fail_with = kHow[how % std::size(kHow)];
        if ((how & 0x40U) != 0) {
            target_.device.hold = true;
        } else if (target_.device.hold) {
            world_.on_reactor([this] { target_.device.release(); });
        }
    }

    void connect() {
        const std::uint8_t how = input_.u8();
        const std::uint16_t qid = input_.u8() & 7U;
        const auto sqsize = static_cast<std::uint16_t>(input_.below(20));
        auto made = target_.dial(dgst_);
        made->send_ic_req(hpda_);
        world_.settle();
        auto command = make_connect(qid, sqsize, (how & 1U) != 0 ? 1000U : 0U);
        command.attributes = (how & 2U) != 0 ? nvme::spec::kConnectDisableFlowControl : 0;
        auto data = make_connect_data(
            qid == 0 ? nvme::spec::kDynamicController : hosts_[0]->cntlid(), how & 4U);
        if ((how & 8U) != 0) {
            nvme::spec::set_field_text(data.subnqn, nvme::spec::kDiscoveryNqn, '\0');
        }
        if ((how & 16U) != 0) {
            patch(input_, core::as_writable_bytes_of(command));
        }
        if ((how & 32U) != 0) {
            patch(input_, core::as_writable_bytes_of(data));
        }
        made->send_capsule(core::as_bytes_of(command), core::as_bytes_of(data));
        if (hosts_.size() < kMaxHosts) {
            hosts_.push_back(std::move(made));
        } else {
            hosts_[2 + how % (kMaxHosts - 2)] = std::move(made);
        }
    }

    void raw(RawTargetHost& to) {
        to.raw = true;
        to.send(input_.take_bytes(input_.u8()));
    }

    void hang_up(RawTargetHost& to) {
        to.raw = true;
        if (input_.flag()) {
            to.shutdown();
        } else {
            to.break_off();
        }
    }

    void change_namespaces() {
        if (target_.device.hold) {
            world_.on_reactor([this] { target_.device.release(); });
        }
        const std::uint8_t how = input_.u8();
        world_.run([this, how]() -> Task<> {
            if (how % 3 == 0) {
                frontends::nvme_tcp::NamespaceOptions options;
                options.device = &target_.device;
                options.nsid = how / 3U % 4;
                const auto added = co_await target_.target->add_namespace(kSubsystemNqn, options);
                static_cast<void>(added);
            } else if (how % 3 == 1) {
                const auto gone =
                    co_await target_.target->remove_namespace(kSubsystemNqn, 1U + how / 3U % 4);
                static_cast<void>(gone);
            } else {
                const auto told = co_await target_.target->refresh_namespace(kSubsystemNqn, 1);
                static_cast<void>(told);
            }
        });
    }

    void finish() {
        world_.io.window = std::size_t{1} << 20U;
        if (target_.device.hold) {
            world_.on_reactor([this] { target_.device.release(); });
        }
        for (int i = 0; i < 20; ++i) {
            world_.settle();
            for (const auto& host : hosts_) {
                host->listen();
            }
        }
        world_.pass(std::chrono::seconds(100));
        for (const auto& host : hosts_) {
            host->listen();
            CHECK(host->raw || host->ended() ||
                  host->sent - host->answered <= host->event_requests);
        }
    }

    Input input_;
    std::uint8_t dgst_;
    std::uint8_t hpda_;
    TargetWorld target_;
    World& world_ = target_.world;
    std::vector<std::unique_ptr<RawTargetHost>> hosts_;
    std::uint16_t next_cid_ = 1;
    bool second_host_ = false;
};

}  // namespace
}  // namespace remora::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    remora::fuzz::Script(remora::fuzz::Input(data, size)).run();
    return 0;
}
