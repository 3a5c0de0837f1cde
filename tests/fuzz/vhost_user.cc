// SPDX-License-Identifier: Apache-2.0
// Target: vhost-user messages with their descriptors, and the rings they set up. A real
// vhost-user-blk controller serves a front end that follows a script: sound set-ups, single
// messages of right and wrong sizes with right and wrong handles, raw bytes, requests, kicks,
// changed memory, replies nobody reads, lost connections, a second front end, a volume that stalls.
//
//   input: number of queues, then operations until it ends
//
// Beside what VhostWorld checks: as long as nothing but sound things happened, each request that
// was offered is given back once; a dead front end leaves nothing behind.
#include "tests/fuzz/support/input.h"
#include "tests/fuzz/support/vhost_world.h"

namespace remora::fuzz {
namespace {

using namespace virtio::vhost_user;

class Script {
  public:
    explicit Script(Input input)
        : input_(input), front_(static_cast<std::uint16_t>(1 + input_.below(3))) {}

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
                front_.listen();
            }
            if (sound_) {
                CHECK(static_cast<std::uint16_t>(front_.offered - front_.used_index()) <=
                      VhostWorld::kSlots);
            }
        }
        finish();
    }

  private:
    void step(unsigned op) {
        switch (op) {
            case 0:
                set_up_once();
                break;
            case 1:
            case 2:
            case 3:
                request();
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
                front_.send_bytes(input_.take_bytes(input_.u8()), {});
                break;
            case 8:
                sound_ = false;
                patch(input_, front_.ram());
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
                sound_ = false;
                front_.set_available(input_.u16());
                front_.kick();
                break;
            case 13:
                change_volume();
                break;
            case 14:
                sound_ = false;
                if (input_.flag()) {
                    world_.io.poison(front_.ram_handle());
                } else {
                    read_no_replies();
                }
                break;
            default:
                if (input_.flag()) {
                    offer_burst();
                }
                front_.kick();
                break;
        }
    }

    /// Heads one after another, whatever is there.
    void offer_burst() {
        sound_ = false;
        const std::uint8_t first = input_.u8();
        const unsigned step = input_.below(4);
        const unsigned count = input_.below(VhostWorld::kRingSize + 1U);
        for (unsigned i = 0; i < count; ++i) {
            front_.offer_head(
                static_cast<std::uint16_t>((first + step * i) % VhostWorld::kRingSize));
        }
    }

    /// From now on, or not any more; the socket has room for some bytes of a reply.
    void read_no_replies() {
        const std::uint8_t how = input_.u8();
        deaf_ = (how & 1U) != 0;
        world_.io.window = (how & 2U) != 0 ? std::size_t{how} : std::size_t{1} << 20U;
    }

    void set_up_once() {
        const std::uint8_t how = input_.u8();
        if (set_up_ && sound_) {
            return;  // a running ring's base is not what it says then
        }
        const bool packed = (how & 4U) != 0;
        sound_ = sound_ && !packed;
        front_.set_up((how & 1U) != 0, (how & 2U) != 0, packed);
        set_up_ = true;
    }

    void request() {
        static constexpr std::uint32_t kTypes[] = {0, 1, 4, 8, 11, 13, 0, 1};
        const std::uint8_t how = input_.u8();
        const std::uint32_t type = kTypes[how % std::size(kTypes)];
        std::uint32_t bytes = type == 4   ? 0
                              : type == 8 ? 20
                              : type > 8  ? 16
                                          : 512U * (1 + how / 64U);
        if (how / 16U % 4 == 3) {
            bytes = input_.u16();
        }
        if (front_.offer(type, input_.u8(), bytes, (how & 8U) != 0)) {
            front_.kick();
        }
    }

    void trouble_device() {
        static constexpr block::Status kHow[] = {block::Status::Ok, block::Status::IoError,
                                                 block::Status::NoSpace};
        const std::uint8_t how = input_.u8();
        front_.device.fail_with = kHow[how % std::size(kHow)];
        if ((how & 0x40U) != 0) {
            front_.device.hold = true;
        } else if (front_.device.hold) {
            world_.on_reactor([this] { front_.device.release(); });
        }
    }

    void come_again() {
        sound_ = false;
        const std::uint8_t how = input_.u8();
        if (how % 3 == 0) {
            front_.connect_second();
            return;
        }
        front_.disconnect();
        if ((how & 0x10U) != 0) {
            world_.settle();
        }
        front_.connect();
        if (how % 3 == 2) {
            front_.set_up((how & 0x20U) != 0, (how & 0x40U) != 0);
        }
    }

    void change_volume() {
        block::Geometry geometry = front_.device.geometry();
        const std::uint8_t how = input_.u8();
        geometry.block_count = 1 + how % 128U;
        geometry.read_only = how > 200;
        geometry.can_discard = (how & 1U) != 0;
        // Requests that wait in the volume were checked against what it was.
        if (front_.device.hold) {
            world_.on_reactor([this] { front_.device.release(); });
        }
        world_.settle();
        front_.device.set_geometry(geometry);
        world_.on_reactor([this] { front_.device.tell_geometry(); });
    }

    /// A message of a known type whose payload has the right size, fields from the input and the
    /// handles that it should have.
    void message() {
        static constexpr RequestType kTypes[] = {
            RequestType::SetFeatures,    RequestType::SetProtocolFeatures,
            RequestType::SetMemTable,    RequestType::SetVringNum,
            RequestType::SetVringAddr,   RequestType::SetVringBase,
            RequestType::GetVringBase,   RequestType::SetVringKick,
            RequestType::SetVringCall,   RequestType::SetVringErr,
            RequestType::SetVringEnable, RequestType::SetBackendReqFd,
            RequestType::GetConfig,      RequestType::GetInflightFd,
            RequestType::SetInflightFd,  RequestType::AddMemReg,
            RequestType::RemMemReg,      RequestType::ResetOwner,
            RequestType::ResetDevice,    RequestType::GetQueueNum};
        sound_ = false;
        const RequestType type = kTypes[input_.below(std::size(kTypes))];
        const std::uint8_t how = input_.u8();
        std::vector<Handle> handles;
        const auto payload = payload_of(type, how, handles);
        front_.send(type, payload, handles,
                    header_flags::kVersion | ((how & 0x80U) != 0 ? header_flags::kNeedReply : 0U));
        for (const Handle handle : handles) {
            world_.io.close(handle);
        }
    }

    std::vector<std::byte> payload_of(RequestType type,
                                      std::uint8_t how,
                                      std::vector<Handle>& handles) {
        using enum RequestType;
        if (type == SetMemTable || type == AddMemReg || type == RemMemReg) {
            return regions(type, how, handles);
        }
        if (type == SetVringNum || type == SetVringBase || type == GetVringBase ||
            type == SetVringEnable) {
            VringState state;
            state.index = how & 3U;
            state.number = std::uint32_t{input_.u8()};
            return bytes_of(state);
        }
        if (type == SetVringAddr) {
            VringAddress address;
            address.index = how & 3U;
            address.descriptors = VhostWorld::kUserBase + input_.u16();
            address.available = VhostWorld::kUserBase + input_.u16();
            address.used = VhostWorld::kUserBase + input_.u16();
            return bytes_of(address);
        }
        if (type == SetVringKick || type == SetVringCall || type == SetVringErr) {
            U64 number;
            number.value = std::uint64_t{how & 3U} | ((how & 4U) != 0 ? kVringNoDescriptor : 0U);
            if ((how & 4U) == 0) {
                handles.push_back(front_.make_handle(static_cast<std::uint8_t>(how >> 4U)));
            }
            return bytes_of(number);
        }
        if (type == SetBackendReqFd) {
            handles.push_back(front_.make_handle(how));
            return {};
        }
        if (type == GetConfig) {
            ConfigHeader header;
            header.offset = std::uint32_t{input_.u8()};
            header.size = std::uint32_t{how};
            auto bytes = bytes_of(header);
            bytes.resize(bytes.size() + how);
            return bytes;
        }
        if (type == GetInflightFd || type == SetInflightFd) {
            InflightDescription wanted;
            wanted.queue_count = std::uint16_t{input_.u8()};
            wanted.queue_size = static_cast<std::uint16_t>(1U << (how & 15U));
            wanted.mmap_size = std::uint64_t{input_.u16()};
            wanted.mmap_offset = std::uint64_t{input_.u8()};
            if (type == SetInflightFd) {
                handles.push_back(*world_.io.create_shared_memory(0x4000));
                patch(input_, world_.io.memory(handles.back()));
            }
            return bytes_of(wanted);
        }
        U64 number;
        number.value = input_.u64();
        const bool bits = type == SetFeatures || type == SetProtocolFeatures;
        return bits ? bytes_of(number) : std::vector<std::byte>{};
    }

    MemoryRegion region() {
        MemoryRegion out;
        const std::uint8_t at = input_.u8();
        out.guest_address = VhostWorld::kGuestBase + std::uint64_t{at} * 0x1000;
        out.user_address = VhostWorld::kUserBase + std::uint64_t{at & 15U} * 0x1000;
        out.size = std::uint64_t{input_.u16()};
        out.mmap_offset = std::uint64_t{input_.u8()} * 16;
        return out;
    }

    std::vector<std::byte> regions(RequestType type,
                                   std::uint8_t how,
                                   std::vector<Handle>& handles) {
        const bool table = type == RequestType::SetMemTable;
        const unsigned count = table ? how % 9U : 1U;
        for (unsigned i = 0; i < count && (table || type == RequestType::AddMemReg); ++i) {
            handles.push_back(*world_.io.create_shared_memory(0x4000));
        }
        if (!table) {
            SingleRegion single;
            single.region = region();
            return bytes_of(single);
        }
        MemoryTableMessage message;
        message.count = count;
        for (unsigned i = 0; i < count && i < kMaxTableRegions; ++i) {
            message.regions[i] = region();
        }
        return bytes_of(message);
    }

    template <typename T>
    static std::vector<std::byte> bytes_of(const T& value) {
        const auto bytes = core::as_bytes_of(value);
        return {bytes.begin(), bytes.end()};
    }

    /// Any header, any payload, any handles.
    void any_message() {
        sound_ = false;
        Header header;
        header.request = std::uint32_t{input_.u8()} % 48U;
        header.flags = (input_.u8() & 0xfeU) | 1U;
        const std::size_t size = input_.u16() % 600U;
        header.size = static_cast<std::uint32_t>(size);
        std::vector<Handle> handles(input_.below(20));
        for (Handle& handle : handles) {
            handle = front_.make_handle(input_.u8());
        }
        auto bytes = bytes_of(header);
        const auto given = input_.take_run(size);
        bytes.insert(bytes.end(), given.begin(), given.end());
        const std::size_t cut = input_.u8() % bytes.size();
        front_.send_bytes(std::span(bytes).first(cut), cut > 0 ? handles : std::vector<Handle>{});
        front_.send_bytes(std::span(bytes).subspan(cut), cut > 0 ? std::vector<Handle>{} : handles);
        for (const Handle handle : handles) {
            world_.io.close(handle);
        }
    }

    void finish() {
        if (front_.device.hold) {
            world_.on_reactor([this] { front_.device.release(); });
        }
        world_.settle();
        front_.listen();
        world_.settle();
        CHECK(!sound_ || !set_up_ || front_.used_index() == front_.offered);
    }

    Input input_;
    VhostWorld front_;
    World& world_ = front_.world;
    bool sound_ = true;  // only what a QEMU and a guest do
    bool set_up_ = false;
    bool deaf_ = false;
};

}  // namespace
}  // namespace remora::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    remora::fuzz::Script(remora::fuzz::Input(data, size)).run();
    return 0;
}
