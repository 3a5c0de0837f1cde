// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/support/vfio_world.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/byte_reader.h"
#include "nvme/spec/fabrics.h"
#include "nvme/spec/pcie.h"

namespace remora::fuzz {

namespace spec = nvme::spec;
using frontends::vfio_user_nvme::Controller;
using frontends::vfio_user_nvme::ControllerSpec;
using reactor::Task;
using namespace vfio_user;

namespace {

const reactor::Endpoint kSocket = reactor::Endpoint::unix_path("/fuzz/nvme.sock");

}  // namespace

VfioWorld::VfioWorld(bool msix) {
    ram_ = *world.io.create_shared_memory(kMemoryBytes);
    event_ = world.io.create_event();
    ControllerSpec options;
    options.name = "nvme";
    options.socket_path = kSocket.address;
    options.io_queues = kQueues;
    options.msix = msix;
    options.identity.nqn = "nqn.2026-01.fuzz:nvme";
    options.identity.serial = "1";
    options.identity.max_namespaces = 4;
    world.run([&]() -> Task<> {
        auto made = Controller::create(options, context_);
        CHECK(made.has_value());
        controller = std::move(*made);
        co_return;
    });
    add_namespace(1);
    connect();
}

VfioWorld::~VfioWorld() {
    if (device.hold) {
        world.on_reactor([this] { device.release(); });
    }
    listen();
    world.run([this]() -> Task<> {
        const auto stopped = co_await controller->stop(std::chrono::seconds(5));
        CHECK(stopped.has_value());
        controller.reset();
    });
    CHECK(device.open_channels == 0);
    client_.reset();
    second_.reset();
    world.io.close(ram_);
    world.io.close(event_);
}

void VfioWorld::add_namespace(std::uint32_t nsid) {
    world.on_reactor([this, nsid] {
        nvme::Namespace from;
        from.nsid = nsid;
        (void)controller->add_namespace(from, device);
    });
}

void VfioWorld::remove_namespace(std::uint32_t nsid) {
    world.run([this, nsid]() -> Task<> {
        (void)co_await controller->remove_namespace(nsid, std::chrono::milliseconds(10));
    });
}

void VfioWorld::connect() {
    client_ = world.io.dial(kSocket);
    replies_.clear();
    queues_ = {};
    world.turn(2);
}

void VfioWorld::connect_second() {
    second_ = world.io.dial(kSocket);
    world.turn(2);
}

void VfioWorld::send_bytes(std::span<const std::byte> bytes, std::span<const Handle> handles) {
    if (client_ == nullptr || bytes.empty()) {
        return;
    }
    const core::Segment segment{const_cast<std::byte*>(bytes.data()), bytes.size()};
    static_cast<void>(client_->send(std::span(&segment, 1), handles));
}

void VfioWorld::send(Command command,
                     std::span<const std::byte> payload,
                     std::span<const Handle> handles,
                     std::uint32_t flags) {
    Header header;
    header.command = static_cast<std::uint16_t>(command);
    header.flags = flags;
    header.size = static_cast<std::uint32_t>(sizeof(header) + payload.size());
    std::vector<std::byte> bytes(sizeof(header) + payload.size());
    std::memcpy(bytes.data(), &header, sizeof(header));
    std::ranges::copy(payload, bytes.begin() + sizeof(header));
    send_bytes(bytes, handles);
}

void VfioWorld::write_region(std::uint32_t region,
                             std::uint64_t offset,
                             std::uint64_t value,
                             bool wide) {
    struct {
        RegionAccess access;
        core::le64 value;
    } payload;
    payload.access.offset = offset;
    payload.access.region = region;
    payload.access.count = wide ? 8U : 4U;
    payload.value = value;
    send(Command::RegionWrite,
         core::as_bytes_of(payload).first(sizeof(RegionAccess) + payload.access.count));
}

void VfioWorld::set_up(bool shadow) {
    send_struct(Command::Version, Version{});
    DmaMapRequest map;
    map.argsz = static_cast<std::uint32_t>(sizeof(map));
    map.flags = kDmaReadable | kDmaWriteable;
    map.address = kGuestBase;
    map.size = std::uint64_t{kMemoryBytes};
    send_struct(Command::DmaMap, map, std::span(&ram_, 1));
    IrqSet irqs;
    irqs.argsz = static_cast<std::uint32_t>(sizeof(irqs));
    irqs.flags = kIrqDataEventfd | kIrqActionTrigger;
    irqs.index = kIrqMsix;
    irqs.count = 1U;
    send_struct(Command::DeviceSetIrqs, irqs, std::span(&event_, 1));
    irqs.index = kIrqIntx;
    send_struct(Command::DeviceSetIrqs, irqs, std::span(&event_, 1));
    write_region(kRegionConfig, 4, 6, false);
    write_region(kRegionBar0, spec::kPropertyCc, 0, false);
    world.settle();
    listen();
    std::ranges::fill(ram().first(kLists), std::byte{0});
    for (std::size_t i = 0; i < queues_.size(); ++i) {
        queues_[i] = {.submissions = 2 * i * kPage, .completions = (2 * i + 1) * kPage};
    }
    write_region(kRegionBar0, spec::kRegisterAqa, (kEntries - 1) | ((kEntries - 1) << 16U), false);
    write_region(kRegionBar0, spec::kRegisterAsq, guest(queues_[0].submissions), true);
    write_region(kRegionBar0, spec::kRegisterAcq, guest(queues_[0].completions), true);
    write_region(kRegionBar0, spec::kPropertyCc, spec::cc::kNvmEntrySizes | spec::cc::kEnable,
                 false);
    if (shadow) {
        nvme::spec::Command buffers{};
        buffers.opcode = static_cast<std::uint8_t>(spec::PcieAdminOpcode::DoorbellBufferConfig);
        spec::PrpPair prps;
        prps.first = guest(kMemoryBytes - 2 * kPage);
        prps.second = guest(kMemoryBytes - kPage);
        std::memcpy(&buffers.sgl, &prps, sizeof(prps));
        push(0, buffers);
    }
    make_queue(1);
    make_queue(2);
    ring(0);
    world.settle();
    listen();
    reap(0);
}

void VfioWorld::make_queue(std::uint16_t qid) {
    nvme::spec::Command command{};
    spec::PrpPair prps;
    command.cdw10 = qid | ((kEntries - 1) << 16U);
    prps.first = guest(queues_[qid].completions);
    std::memcpy(&command.sgl, &prps, sizeof(prps));
    command.opcode = static_cast<std::uint8_t>(spec::PcieAdminOpcode::CreateIoCq);
    command.cdw11 = spec::kQueueContiguous | spec::kQueueInterrupts;
    push(0, command);
    prps.first = guest(queues_[qid].submissions);
    std::memcpy(&command.sgl, &prps, sizeof(prps));
    command.opcode = static_cast<std::uint8_t>(spec::PcieAdminOpcode::CreateIoSq);
    command.cdw11 = spec::kQueueContiguous | (std::uint32_t{qid} << 16U);
    push(0, command);
}

void VfioWorld::push(std::uint16_t qid, nvme::spec::Command command) {
    Queue& queue = queues_[qid];
    std::memcpy(ram().data() + queue.submissions + queue.tail * sizeof(command), &command,
                sizeof(command));
    queue.tail = (queue.tail + 1) % kEntries;
}

void VfioWorld::ring(std::uint16_t qid) {
    write_region(kRegionBar0, spec::kDoorbells + 4U * spec::sq_doorbell(qid), queues_[qid].tail,
                 false);
}

std::uint32_t VfioWorld::reap(std::uint16_t qid) {
    Queue& queue = queues_[qid];
    std::uint32_t taken = 0;
    for (; taken < kEntries; ++taken) {
        spec::Completion entry;
        std::memcpy(&entry, ram().data() + queue.completions + queue.head * sizeof(entry),
                    sizeof(entry));
        if ((entry.status_and_phase & 1U) != (queue.phase ? 1U : 0U)) {
            break;
        }
        queue.head = (queue.head + 1) % kEntries;
        queue.phase = queue.head == 0 ? !queue.phase : queue.phase;
    }
    if (taken > 0) {
        write_region(kRegionBar0, spec::kDoorbells + 4U * spec::cq_doorbell(qid), queue.head,
                     false);
    }
    return taken;
}

void VfioWorld::listen() {
    for (auto* stream : {client_.get(), second_.get()}) {
        std::array<std::byte, 4096> bytes;
        std::ptrdiff_t got = stream == nullptr ? 0 : 1;
        while (got > 0) {
            const core::Segment segment{bytes.data(), bytes.size()};
            reactor::HandleBox box;
            got = stream->recv(std::span(&segment, 1), &box);
            for (std::size_t i = 0; i < box.count; ++i) {
                CHECK(!world.io.memory(box.handles[i]).empty());
                world.io.close(box.handles[i]);
            }
            if (got > 0 && stream == client_.get()) {
                replies_.insert(replies_.end(), bytes.begin(), bytes.begin() + got);
            }
        }
    }
    take_replies();
}

void VfioWorld::take_replies() {
    Header header;
    std::size_t at = 0;
    while (replies_.size() - at >= sizeof(header)) {
        std::memcpy(&header, replies_.data() + at, sizeof(header));
        CHECK((header.flags & header_flags::kTypeMask) == header_flags::kReply);
        CHECK(header.size >= sizeof(header) && header.size - sizeof(header) <= kMaxPayloadBytes);
        // An error has nothing but its header.
        CHECK((header.flags & header_flags::kError) == 0 || header.size == sizeof(header));
        if (replies_.size() - at < header.size) {
            break;
        }
        at += header.size;
    }
    replies_.erase(replies_.begin(), replies_.begin() + static_cast<std::ptrdiff_t>(at));
}

Handle VfioWorld::make_handle(std::uint8_t kind) {
    switch (kind % 3U) {
        case 0:
            return world.io.create_event();
        case 1:
            return *world.io.create_shared_memory(1 + std::uint64_t{kind} * 1024);
        default:
            return world.io.create_socket();
    }
}

}  // namespace remora::fuzz
