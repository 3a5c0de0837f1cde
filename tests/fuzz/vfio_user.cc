// SPDX-License-Identifier: Apache-2.0
// Target: vfio-user messages with their descriptors, and the NVMe queues they set up. A real
// controller serves a client that follows a script: sound set-ups, single messages of right and
// wrong sizes with right and wrong handles, raw bytes, commands, registers, doorbells, changed
// memory, replies nobody reads, lost connections, a second client, namespaces that come and go, a
// volume that stalls.
//
//   input: with MSI-X or without, then operations until it ends
//
// Beside what VfioWorld checks: as long as nothing but sound things happened, each command has one
// entry; a dead client leaves nothing behind.
#include "core/crc32c.h"
#include "nvme/spec/fabrics.h"
#include "nvme/spec/pcie.h"
#include "tests/fuzz/support/input.h"
#include "tests/fuzz/support/vfio_world.h"

namespace remora::fuzz {
namespace {

using namespace vfio_user;

class Script {
  public:
    explicit Script(Input input) : input_(input), host_(input_.flag()) {}

    void run() {
        while (!input_.empty()) {
            const std::uint8_t op = input_.u8();
            step(op & 15U);
            if ((op & 0x80U) != 0) {
                world_.settle();
            } else if ((op & 0x40U) != 0) {
                world_.turn(1);
            }
            if (!deaf_) {
                host_.listen();
            }
        }
        finish();
    }

  private:
    void step(unsigned op) {
        switch (op) {
            case 0:
                set_up();
                break;
            case 1:
            case 2:
                sound_command();
                break;
            case 3:
                any_command();
                break;
            case 4:
            case 5:
                message();
                break;
            case 6:
                any_message();
                break;
            case 7:
                sound_ = false;
                host_.send_bytes(input_.take_bytes(input_.u8()), {});
                break;
            case 8:
                sound_ = false;
                patch(input_, host_.ram());
                break;
            case 9:
                trouble_device();
                break;
            case 10:
                world_.pass(std::chrono::milliseconds(20) * input_.u8());
                break;
            case 11:
                come_again();
                break;
            case 12:
                write_something();
                break;
            case 13:
                change_namespaces();
                break;
            case 14:
                spoil();
                break;
            default:
                sleep();
                break;
        }
    }

    void set_up() {
        const std::uint8_t how = input_.u8();
        sound_ = sound_ && !set_up_;  // a second version is refused
        host_.set_up((how & 1U) != 0);
        shadow_ = shadow_ || (how & 1U) != 0;
        set_up_ = true;
    }

    /// A command of either queue with memory of its own.
    void sound_command() {
        static constexpr std::uint8_t kOpcodes[] = {0x00, 0x01, 0x02, 0x08, 0x05, 0x0c, 0x09, 0x19};
        const std::uint8_t how = input_.u8();
        const auto qid = static_cast<std::uint16_t>(1 + (how & 1U));
        if (!set_up_ || pushed_[qid] - taken_[qid] >= VfioWorld::kEntries - 1) {
            return;
        }
        nvme::spec::Command command{};
        command.opcode = kOpcodes[(how >> 1U) % std::size(kOpcodes)];
        command.cid = static_cast<std::uint16_t>(pushed_[qid]);
        command.nsid = 1U;
        command.cdw10 = std::uint32_t{input_.u8()};
        command.cdw12 = std::uint32_t{input_.u8()} % 64U;
        if (command.opcode == 0x09) {
            command.cdw10 = command.cdw10 % 4U;
            command.cdw11 = nvme::spec::kDsmDeallocate;
        }
        nvme::spec::PrpPair prps;
        prps.first = VfioWorld::guest(VfioWorld::kData + (how & 0x80U));
        prps.second = VfioWorld::guest(VfioWorld::kLists);
        for (std::uint64_t i = 0; i < 8; ++i) {
            const core::le64 page(VfioWorld::guest(VfioWorld::kData + (i + 1) * VfioWorld::kPage));
            std::memcpy(host_.ram().data() + VfioWorld::kLists + i * sizeof(page), &page,
                        sizeof(page));
        }
        std::memcpy(&command.sgl, &prps, sizeof(prps));
        host_.push(qid, command);
        host_.ring(qid);
        ++pushed_[qid];
    }

    void any_command() {
        sound_ = false;
        const auto qid = static_cast<std::uint16_t>(input_.below(VfioWorld::kQueues + 1U));
        auto command = input_.take<nvme::spec::Command>();
        const std::uint8_t how = input_.u8();
        if ((how & 1U) != 0) {
            command.nsid = 1U;
        }
        if ((how & 2U) != 0) {  // into the memory that there is
            command.sgl.address =
                VfioWorld::kGuestBase + command.sgl.address % VfioWorld::kMemoryBytes;
        }
        host_.push(qid, command);
        host_.ring(qid);
    }

    void write_something() {
        sound_ = false;
        const std::uint8_t how = input_.u8();
        const std::uint64_t offset = input_.u16();
        const std::uint64_t value = (how & 0x40U) != 0 ? input_.u64() : input_.u8();
        switch (how % 4U) {
            case 0:
                host_.write_region(kRegionBar0, offset % 0x40, value, (how & 0x80U) != 0);
                break;
            case 1:
                host_.write_region(kRegionBar0, nvme::spec::kDoorbells + offset % 64, value,
                                   (how & 0x80U) != 0);
                break;
            case 2:
                host_.write_region(kRegionConfig, offset % 0x100, value, (how & 0x80U) != 0);
                break;
            default:
                host_.write_region(
                    kRegionBar0, nvme::spec::kPropertyCc,
                    nvme::spec::cc::kNvmEntrySizes | (value & 1U) | ((value & 6U) << 13U), false);
                break;
        }
    }

    void trouble_device() {
        static constexpr block::Status kHow[] = {block::Status::Ok, block::Status::IoError,
                                                 block::Status::NoSpace};
        const std::uint8_t how = input_.u8();
        host_.device.fail_with = kHow[how % std::size(kHow)];
        if ((how & 0x40U) != 0) {
            host_.device.hold = true;
        } else if (host_.device.hold) {
            world_.on_reactor([this] { host_.device.release(); });
        }
    }

    void come_again() {
        sound_ = false;
        const std::uint8_t how = input_.u8();
        if (how % 3 == 0) {
            host_.connect_second();
            return;
        }
        host_.disconnect();
        if ((how & 0x10U) != 0) {
            world_.settle();
        }
        host_.connect();
        if (how % 3 == 2) {
            host_.set_up((how & 0x20U) != 0);
        }
    }

    void change_namespaces() {
        sound_ = false;
        const std::uint8_t how = input_.u8();
        const std::uint32_t nsid = 1U + (how & 3U);
        if ((how & 4U) != 0) {
            host_.add_namespace(nsid);
        } else {
            host_.remove_namespace(nsid);
        }
    }

    void spoil() {
        sound_ = false;
        const std::uint8_t how = input_.u8();
        if ((how & 1U) != 0) {
            world_.io.poison(host_.ram_handle());
            return;
        }
        deaf_ = (how & 2U) != 0;
        world_.io.window = (how & 4U) != 0 ? std::size_t{how} : std::size_t{1} << 20U;
    }

    void sleep() {
        world_.reactor.begin_sleep();
        world_.reactor.end_sleep();
        reap();
    }

    /// A message of a known type whose payload has the right size, fields from the input and the
    /// handles that it should have.
    void message() {
        sound_ = false;
        std::vector<Handle> handles;
        const std::uint8_t how = input_.u8();
        switch (input_.below(8)) {
            case 0: {
                DmaMapRequest map;
                map.argsz = static_cast<std::uint32_t>(sizeof(map));
                map.flags = how & 3U;
                map.offset = std::uint64_t{input_.u8()} * 64;
                map.address = VfioWorld::kGuestBase + std::uint64_t{input_.u16()} * 256;
                map.size = std::uint64_t{input_.u16()};
                if ((how & 4U) != 0) {
                    handles.push_back(*world_.io.create_shared_memory(0x8000));
                }
                host_.send_struct(Command::DmaMap, map, handles);
                break;
            }
            case 1: {
                DmaUnmapRequest unmap;
                unmap.argsz = static_cast<std::uint32_t>(sizeof(unmap));
                unmap.flags = (how & 1U) != 0 ? kDmaUnmapAll : 0U;
                if ((how & 3U) == 0) {
                    unmap.address = VfioWorld::kGuestBase;
                    unmap.size = std::uint64_t{VfioWorld::kMemoryBytes};
                }
                host_.send_struct(Command::DmaUnmap, unmap);
                break;
            }
            case 2:
                set_irqs(how, handles);
                break;
            case 3: {
                RegionAccess access;
                access.region = how & 15U;
                access.offset = std::uint64_t{input_.u16()};
                access.count = std::uint32_t{input_.u16()};
                host_.send_struct(Command::RegionRead, access);
                break;
            }
            case 4: {
                RegionInfo info;
                info.argsz = std::uint32_t{how};
                info.index = std::uint32_t{input_.u8()} % 10U;
                host_.send_struct(Command::DeviceGetRegionInfo, info);
                break;
            }
            case 5:
                (how & 3U) == 0 ? host_.send(Command::DeviceReset, {}) : migrate(how);
                break;
            case 6:
                version();
                break;
            default:
                write_multi(how);
                break;
        }
        close(handles);
    }

    void migrate(std::uint8_t how) {
        if ((how & 0xcU) == 0) {
            MigrationData wanted;
            wanted.argsz = static_cast<std::uint32_t>(sizeof(wanted));
            wanted.size = std::uint32_t{input_.u16()};
            host_.send_struct(Command::MigDataRead, wanted);
        } else if ((how & 0xcU) == 4) {
            auto bytes = bytes_of(MigrationData{});
            const auto state = moved_state();
            bytes.insert(bytes.end(), state.begin(), state.end());
            const core::le32 size(static_cast<std::uint32_t>(state.size()));
            std::memcpy(bytes.data() + offsetof(MigrationData, size), &size, sizeof(size));
            host_.send(Command::MigDataWrite, bytes);
        } else {
            DeviceFeature feature;
            feature.argsz = static_cast<std::uint32_t>(sizeof(feature));
            feature.flags = kFeatureDeviceState | feature_flags::kSet;
            auto bytes = bytes_of(feature);
            DeviceStateChange change;
            change.state = (how >> 4U) % 6U;
            const auto state = bytes_of(change);
            bytes.insert(bytes.end(), state.begin(), state.end());
            host_.send(Command::DeviceFeature, bytes);
        }
    }

    /// A function's state whose frame is right (moved_state.cc) and whose contents are the input's.
    std::vector<std::byte> moved_state() {
        std::vector<std::byte> body;
        const auto put = [&](std::size_t size, std::size_t padded) {
            const auto given = input_.take_run(size);
            body.insert(body.end(), given.begin(), given.end());
            body.resize(body.size() + padded - given.size());
        };
        put(64, 64);
        put(16, 4096);
        put(64, 4096);
        const auto lists = input_.take_run(std::size_t{input_.u8()} * 2);
        body.insert(body.end(), lists.begin(), lists.end());
        const std::array<core::le32, 4> header{
            0x4d454e52U, 2U, static_cast<std::uint32_t>(body.size()), core::crc32c(body)};
        const auto head = std::as_bytes(std::span(header));
        body.insert(body.begin(), head.begin(), head.end());
        return body;
    }

    void set_irqs(std::uint8_t how, std::vector<Handle>& handles) {
        IrqSet set;
        set.argsz = static_cast<std::uint32_t>(sizeof(set));
        set.index = how & 7U;
        set.flags = std::uint32_t{input_.u8()} & 0x3fU;
        set.start = std::uint32_t{input_.u8()} & 3U;
        set.count = (how >> 3U) & 3U;
        for (unsigned i = 0; (how & 0x40U) != 0 && i < set.count; ++i) {
            handles.push_back(host_.make_handle((how & 0x80U) != 0 ? input_.u8() : 0));
        }
        auto bytes = bytes_of(set);
        if ((set.flags & kIrqDataBool) != 0) {
            const auto given = input_.take_run(set.count);
            bytes.insert(bytes.end(), given.begin(), given.end());
        }
        host_.send(Command::DeviceSetIrqs, bytes, handles);
    }

    void version() {
        auto bytes = bytes_of(Version{});
        const auto text = input_.take_run(input_.u8());
        bytes.insert(bytes.end(), text.begin(), text.end());
        bytes.push_back(std::byte{0});
        host_.send(Command::Version, bytes);
    }

    void write_multi(std::uint8_t how) {
        WriteMulti many;
        many.count = how & 3U;
        auto bytes = bytes_of(many);
        for (unsigned i = 0; i < (how & 3U); ++i) {
            SingleWrite one;
            one.access.region = (how & 4U) != 0 ? kRegionBar0 : kRegionConfig;
            one.access.offset = std::uint64_t{input_.u16()} % 0x1100;
            one.access.count = std::uint32_t{input_.u8()} % 10U;
            const auto written = bytes_of(one);
            bytes.insert(bytes.end(), written.begin(), written.end());
        }
        host_.send(Command::RegionWriteMulti, bytes, {},
                   (how & 8U) != 0 ? header_flags::kNoReply : 0U);
    }

    /// Any header, any payload, any handles.
    void any_message() {
        sound_ = false;
        Header header;
        header.command = static_cast<std::uint16_t>(input_.u8() % 20U);
        header.flags = std::uint32_t{input_.u8()} & 0x31U;
        const std::size_t size = input_.u16() % 600U;
        header.size = static_cast<std::uint32_t>(sizeof(header) + size);
        std::vector<Handle> handles(input_.below(20));
        for (Handle& handle : handles) {
            handle = host_.make_handle(input_.u8());
        }
        auto bytes = bytes_of(header);
        const auto given = input_.take_run(size);
        bytes.insert(bytes.end(), given.begin(), given.end());
        const std::size_t cut = input_.u8() % bytes.size();
        host_.send_bytes(std::span(bytes).first(cut), cut > 0 ? handles : std::vector<Handle>{});
        host_.send_bytes(std::span(bytes).subspan(cut), cut > 0 ? std::vector<Handle>{} : handles);
        close(handles);
    }

    void close(const std::vector<Handle>& handles) {
        for (const Handle handle : handles) {
            world_.io.close(handle);
        }
    }

    template <typename T>
    static std::vector<std::byte> bytes_of(const T& value) {
        const auto bytes = core::as_bytes_of(value);
        return {bytes.begin(), bytes.end()};
    }

    void reap() {
        for (std::uint16_t qid = 1; set_up_ && sound_ && qid <= VfioWorld::kQueues; ++qid) {
            taken_[qid] += host_.reap(qid);
            CHECK(taken_[qid] <= pushed_[qid]);
        }
    }

    void finish() {
        if (host_.device.hold) {
            world_.on_reactor([this] { host_.device.release(); });
        }
        // With shadow doorbells the page is not looked at, and this driver writes nothing else.
        for (int i = 0; i < 4; ++i) {
            world_.settle();
            host_.listen();
            reap();
        }
        for (std::uint16_t qid = 1; qid <= VfioWorld::kQueues; ++qid) {
            CHECK(!sound_ || !set_up_ || shadow_ || taken_[qid] == pushed_[qid]);
        }
    }

    Input input_;
    VfioWorld host_;
    World& world_ = host_.world;
    std::array<std::uint32_t, VfioWorld::kQueues + 1U> pushed_{};
    std::array<std::uint32_t, VfioWorld::kQueues + 1U> taken_{};
    bool sound_ = true;  // only what a QEMU and a guest do
    bool set_up_ = false;
    bool shadow_ = false;
    bool deaf_ = false;
};

}  // namespace
}  // namespace remora::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    remora::fuzz::Script(remora::fuzz::Input(data, size)).run();
    return 0;
}
