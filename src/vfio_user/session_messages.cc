// SPDX-License-Identifier: Apache-2.0
// What each message does.
#include <cerrno>
#include <cstring>
#include <string_view>

#include "core/log.h"
#include "core/probe.h"
#include "vfio_user/capabilities.h"
#include "vfio_user/session.h"

namespace remora::vfio_user {

using log::kv;

Session::Outcome Session::handle(Message& message) {
    switch (message.command()) {
        case Command::Version:
            return version(message);
        case Command::DmaMap:
            return dma_map(message);
        case Command::DmaUnmap:
            return dma_unmap(message);
        case Command::DeviceGetInfo:
            return device_info(message);
        case Command::DeviceGetRegionInfo:
            return region_info(message);
        case Command::DeviceGetIrqInfo:
            return irq_info(message);
        case Command::DeviceSetIrqs:
            return set_irqs(message);
        case Command::RegionRead:
            return region_read(message);
        case Command::RegionWrite:
            return region_write(message);
        case Command::RegionWriteMulti:
            return write_multi(message);
        case Command::DeviceReset:
            return reset(message);
        case Command::DeviceFeature:
            return feature(message);
        case Command::MigDataRead:
            return read_state(message);
        case Command::MigDataWrite:
            return write_state(message);
        // No counters for parts of a region are offered; what asks whether there are is told no.
        case Command::DeviceGetRegionIoFds:
            return refused(EOPNOTSUPP);
        case Command::DmaRead:
        case Command::DmaWrite:
            break;
    }
    return refused(EINVAL);
}

Session::Outcome Session::version(const Message& message) {
    Version asked;
    std::span<const std::byte> data;
    if (state_ != State::Greeting) {
        return refused(EINVAL);
    }
    if (!message.needs_reply() || !message.read(asked, data)) {
        return fatal("a version that is none");
    }
    if (asked.major != kMajorVersion) {
        return fatal("another major version");
    }
    Capabilities client;
    if (!data.empty()) {
        if (data.back() != std::byte{0}) {
            return fatal("capabilities without an end");
        }
        const std::string_view text(reinterpret_cast<const char*>(data.data()), data.size() - 1);
        const auto parsed = parse_capabilities(text);
        if (!parsed) {
            return fatal("capabilities that are no JSON object");
        }
        client = *parsed;
    }
    state_ = State::Open;
    Version agreed;
    agreed.major = kMajorVersion;
    agreed.minor = kMinorVersion;
    const std::string text = make_capabilities(client);
    const std::span<std::byte> to = connection_.reply_payload();
    std::memcpy(to.data(), &agreed, sizeof(agreed));
    std::memcpy(to.data() + sizeof(agreed), text.c_str(), text.size() + 1);
    return done(sizeof(agreed) + text.size() + 1);
}

Session::Outcome Session::dma_map(Message& message) {
    DmaMapRequest request;
    if (!message.read(request) || request.argsz < sizeof(request) || message.handles.count > 1) {
        return refused(EINVAL);
    }
    reactor::Handle none = reactor::kNoHandle;
    // What the map does not take is closed with the message.
    const auto added =
        memory_.add(request, message.handles.count == 1 ? message.handles.handles[0] : none);
    if (!added) {
        return refused(added.error());
    }
    device_.on_memory_changed();
    return done();
}

Session::Outcome Session::take_memory(std::uint64_t address, std::uint64_t size, Waiting how) {
    const auto bytes = memory_.retire(address, size);
    if (!bytes) {
        return refused(bytes.error());
    }
    if (bytes->empty()) {
        return done();
    }
    device_.on_memory_changed();
    if (!device_.is_memory_idle(*bytes)) {
        REMORA_COVER("vfio-user: memory is taken away under requests");
        waiting_ = how;
        return {.kind = Outcome::Kind::Wait};
    }
    memory_.release();
    return done();
}

Session::Outcome Session::dma_unmap(const Message& message) {
    DmaUnmapRequest request;
    if (!message.read(request) || request.argsz < sizeof(request) ||
        (request.flags & ~kDmaUnmapAll) != 0) {
        return refused(EINVAL);
    }
    if ((request.flags & kDmaUnmapAll) != 0) {
        return request.address == 0 && request.size == 0 ? unmap_all() : refused(EINVAL);
    }
    const Outcome taken = take_memory(request.address, request.size, Waiting::Unmap);
    return taken.kind == Outcome::Kind::Done ? answer(request) : taken;
}

Session::Outcome Session::answer_unmap() {
    DmaUnmapRequest request;
    CHECK(connection_.message().read(request));
    return answer(request);
}

Session::Outcome Session::unmap_all() {
    while (const DmaMapRequest* next = memory_.first()) {
        const Outcome taken = take_memory(next->address, next->size, Waiting::UnmapAll);
        if (taken.kind != Outcome::Kind::Done) {
            return taken;
        }
    }
    return answer_unmap();
}

Session::Outcome Session::device_info(const Message& message) {
    DeviceInfo info;
    if (!message.read(info) || info.argsz < sizeof(info)) {
        return refused(EINVAL);
    }
    info.argsz = static_cast<std::uint32_t>(sizeof(info));
    info.flags = kDeviceReset | kDevicePci;
    info.regions = kRegionCount;
    info.irqs = kIrqCount;
    return answer(info);
}

Session::Outcome Session::region_info(const Message& message) {
    RegionInfo asked;
    if (!message.read(asked) || asked.argsz < sizeof(asked) || asked.index >= kRegionCount) {
        return refused(EINVAL);
    }
    const Region& region = device_.region(asked.index);
    Outcome outcome =
        done(encode_region_info(region, asked.index, asked.argsz, connection_.reply_payload()));
    // With every answer that says the region can be mapped, also the shortened one.
    outcome.handle = region.map_size > 0 ? region.handle : reactor::kNoHandle;
    return outcome;
}

Session::Outcome Session::irq_info(const Message& message) {
    IrqInfo info;
    if (!message.read(info) || info.argsz < sizeof(info) || !irqs_.describe(info.index, info)) {
        return refused(EINVAL);
    }
    info.argsz = static_cast<std::uint32_t>(sizeof(info));
    return answer(info);
}

Session::Outcome Session::set_irqs(Message& message) {
    IrqSet request;
    std::span<const std::byte> data;
    if (!message.read(request, data) || request.argsz < sizeof(request)) {
        return refused(EINVAL);
    }
    device_.refresh_interrupts();
    const auto set = irqs_.set(request, data, message.handles);
    return set ? done() : refused(set.error());
}

int Session::check_access(const RegionAccess& access, std::uint32_t flag) const {
    if (access.region >= kRegionCount || access.count > kMaxTransferBytes) {
        return EINVAL;
    }
    const Region& region = device_.region(access.region);
    return (region.flags & flag) != 0 && inside(region, access.offset, access.count) ? 0 : EINVAL;
}

Session::Outcome Session::region_read(const Message& message) {
    RegionAccess access;
    if (!message.read(access)) {
        return refused(EINVAL);
    }
    if (const int error = check_access(access, kRegionRead); error != 0) {
        return refused(error);
    }
    const std::span<std::byte> to = connection_.reply_payload();
    if (!device_.read_region(access.region, access.offset,
                             to.subspan(sizeof(access), access.count))) {
        return refused(EINVAL);
    }
    std::memcpy(to.data(), &access, sizeof(access));
    return done(sizeof(access) + access.count);
}

Session::Outcome Session::region_write(const Message& message) {
    RegionAccess access;
    std::span<const std::byte> data;
    if (!message.read(access, data) || access.count != data.size()) {
        return refused(EINVAL);
    }
    if (const int error = check_access(access, kRegionWrite); error != 0) {
        return refused(error);
    }
    if (!device_.write_region(access.region, access.offset, data)) {
        return refused(EINVAL);
    }
    return answer(access);
}

/// QEMU's client gathers 200. They are carried out in one turn, and some take long.
constexpr std::uint64_t kMostWrites = 256;

Session::Outcome Session::write_multi(const Message& message) {
    WriteMulti many;
    std::span<const std::byte> rest;
    if (!message.read(many, rest) || rest.size() % sizeof(SingleWrite) != 0 ||
        many.count != rest.size() / sizeof(SingleWrite) || many.count > kMostWrites) {
        return refused(EINVAL);
    }
    core::ByteReader reader(rest);
    SingleWrite one;
    std::uint64_t written = 0;
    while (reader.read(one)) {
        const RegionAccess& access = one.access;
        if (access.count > sizeof(one.data) || check_access(access, kRegionWrite) != 0 ||
            !device_.write_region(access.region, access.offset,
                                  std::span(one.data).first(access.count))) {
            break;
        }
        ++written;
    }
    if (written == 0 && many.count != 0) {
        return refused(EINVAL);
    }
    many.count = written;
    return answer(many);
}

Session::Outcome Session::reset(const Message& message) {
    if (!message.payload().empty()) {
        return refused(EINVAL);
    }
    if (!device_.reset_function()) {
        waiting_ = Waiting::Reset;
        return {.kind = Outcome::Kind::Wait};
    }
    irqs_.reset();
    migration_.reset();
    return done();
}

}  // namespace remora::vfio_user
