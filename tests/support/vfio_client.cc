// SPDX-License-Identifier: Apache-2.0
#include "tests/support/vfio_client.h"

#include <algorithm>
#include <cstring>
#include <sys/mman.h>

namespace remora::test {

using vfio_user::Command;
using vfio_user::Header;

SharedRam::SharedRam(std::size_t bytes) : fd_(memfd_create("remora-test", MFD_CLOEXEC)) {
    CHECK(fd_.valid() && ftruncate(fd_.get(), static_cast<off_t>(bytes)) == 0);
    void* base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
    CHECK(base != MAP_FAILED);
    base_ = static_cast<std::byte*>(base);
    size_ = bytes;
}

SharedRam::SharedRam(Fd fd, std::uint64_t offset, std::size_t bytes) : fd_(std::move(fd)) {
    void* base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(),
                      static_cast<off_t>(offset));
    if (base != MAP_FAILED) {
        base_ = static_cast<std::byte*>(base);
        size_ = bytes;
    }
}

SharedRam::~SharedRam() {
    if (base_ != nullptr) {
        munmap(base_, size_);
    }
}

std::optional<VfioClient> VfioClient::connect(const std::string& path) {
    Fd fd = connect_unix(path);
    return fd.valid() ? std::optional(VfioClient(std::move(fd))) : std::nullopt;
}

bool VfioClient::send_bytes(std::span<const std::byte> bytes, std::span<const int> fds) {
    return send_with_fds(fd_.get(), bytes, fds);
}

std::uint16_t VfioClient::send(Command command,
                               std::span<const std::byte> payload,
                               std::span<const int> fds,
                               std::uint32_t flags) {
    Header header;
    header.id = next_id_++;
    header.command = static_cast<std::uint16_t>(command);
    header.size = static_cast<std::uint32_t>(sizeof(header) + payload.size());
    header.flags = flags;
    std::vector<std::byte> bytes(sizeof(header) + payload.size());
    std::memcpy(bytes.data(), &header, sizeof(header));
    if (!payload.empty()) {
        std::memcpy(bytes.data() + sizeof(header), payload.data(), payload.size());
    }
    send_bytes(bytes, fds);
    return header.id;
}

std::optional<VfioReply> VfioClient::receive(int timeout_ms) {
    VfioReply reply;
    if (!receive_with_fds(fd_.get(), core::as_writable_bytes_of(reply.header), reply.fds,
                          timeout_ms) ||
        reply.header.size < sizeof(Header) ||
        reply.header.size > sizeof(Header) + vfio_user::kMaxPayloadBytes) {
        return std::nullopt;
    }
    reply.payload.resize(reply.header.size - sizeof(Header));
    if (!receive_with_fds(fd_.get(), reply.payload, reply.fds, timeout_ms)) {
        return std::nullopt;
    }
    return reply;
}

std::optional<VfioReply> VfioClient::call(Command command,
                                          std::span<const std::byte> payload,
                                          std::span<const int> fds) {
    const std::uint16_t id = send(command, payload, fds);
    auto reply = receive();
    if (!reply || reply->header.id != id ||
        reply->header.command != static_cast<std::uint16_t>(command) ||
        (reply->header.flags & vfio_user::header_flags::kTypeMask) !=
            vfio_user::header_flags::kReply) {
        return std::nullopt;
    }
    return reply;
}

std::optional<std::string> VfioClient::negotiate(std::string_view capabilities) {
    std::vector<std::byte> payload(sizeof(vfio_user::Version) + capabilities.size() + 1);
    std::memcpy(payload.data() + sizeof(vfio_user::Version), capabilities.data(),
                capabilities.size());
    const auto reply = call(Command::Version, payload);
    const auto version = reply ? reply->as<vfio_user::Version>() : std::nullopt;
    if (!version || reply->failed() || version->major != 0 || reply->payload.size() < 5 ||
        reply->payload.back() != std::byte{0}) {
        return std::nullopt;
    }
    return std::string(reinterpret_cast<const char*>(reply->payload.data()) + sizeof(*version));
}

int VfioClient::map(
    std::uint64_t address, std::uint64_t size, int fd, std::uint64_t offset, std::uint32_t flags) {
    vfio_user::DmaMapRequest request;
    request.argsz = static_cast<std::uint32_t>(sizeof(request));
    request.flags = flags;
    request.offset = offset;
    request.address = address;
    request.size = size;
    const std::array<int, 1> fds{fd};
    return error_of(call_with(Command::DmaMap, request,
                              fd < 0 ? std::span<const int>() : std::span<const int>(fds)));
}

int VfioClient::unmap(std::uint64_t address, std::uint64_t size) {
    vfio_user::DmaUnmapRequest request;
    request.argsz = static_cast<std::uint32_t>(sizeof(request));
    request.address = address;
    request.size = size;
    return error_of(call_with(Command::DmaUnmap, request));
}

std::optional<VfioReply> VfioClient::region_info(std::uint32_t index, std::uint32_t argsz) {
    vfio_user::RegionInfo request;
    request.argsz = argsz;
    request.index = index;
    return call_with(Command::DeviceGetRegionInfo, request);
}

std::optional<vfio_user::IrqInfo> VfioClient::irq_info(std::uint32_t index) {
    vfio_user::IrqInfo request;
    request.argsz = static_cast<std::uint32_t>(sizeof(request));
    request.index = index;
    const auto reply = call_with(Command::DeviceGetIrqInfo, request);
    return reply ? reply->as<vfio_user::IrqInfo>() : std::nullopt;
}

int VfioClient::set_irqs(std::uint32_t index,
                         std::uint32_t flags,
                         std::uint32_t start,
                         std::uint32_t count,
                         std::span<const int> fds,
                         std::span<const std::byte> data) {
    vfio_user::IrqSet request;
    request.argsz = static_cast<std::uint32_t>(sizeof(request) + data.size());
    request.flags = flags;
    request.index = index;
    request.start = start;
    request.count = count;
    std::vector<std::byte> payload(sizeof(request) + data.size());
    std::memcpy(payload.data(), &request, sizeof(request));
    if (!data.empty()) {
        std::memcpy(payload.data() + sizeof(request), data.data(), data.size());
    }
    return error_of(call(Command::DeviceSetIrqs, payload, fds));
}

int VfioClient::read(std::uint32_t region, std::uint64_t offset, std::span<std::byte> to) {
    vfio_user::RegionAccess access;
    access.offset = offset;
    access.region = region;
    access.count = static_cast<std::uint32_t>(to.size());
    const auto reply = call_with(Command::RegionRead, access);
    if (!reply || reply->failed()) {
        return error_of(reply);
    }
    if (reply->payload.size() != sizeof(access) + to.size()) {
        return -1;
    }
    std::memcpy(to.data(), reply->payload.data() + sizeof(access), to.size());
    return 0;
}

int VfioClient::write(std::uint32_t region, std::uint64_t offset, std::span<const std::byte> from) {
    vfio_user::RegionAccess access;
    access.offset = offset;
    access.region = region;
    access.count = static_cast<std::uint32_t>(from.size());
    std::vector<std::byte> payload(sizeof(access) + from.size());
    std::memcpy(payload.data(), &access, sizeof(access));
    std::memcpy(payload.data() + sizeof(access), from.data(), from.size());
    return error_of(call(Command::RegionWrite, payload));
}

int VfioClient::reset() {
    return error_of(call(Command::DeviceReset));
}

namespace {

struct StateRequest {
    vfio_user::DeviceFeature feature;
    vfio_user::DeviceStateChange change;
};

StateRequest state_request(std::uint32_t what, std::uint32_t state) {
    StateRequest request;
    request.feature.argsz = static_cast<std::uint32_t>(sizeof(request));
    request.feature.flags = vfio_user::kFeatureDeviceState | what;
    request.change.state = state;
    return request;
}

}  // namespace

int VfioClient::change_state(vfio_user::DeviceState to) {
    return error_of(
        call_with(vfio_user::Command::DeviceFeature,
                  state_request(vfio_user::feature_flags::kSet, static_cast<std::uint32_t>(to))));
}

std::optional<vfio_user::DeviceState> VfioClient::device_state() {
    vfio_user::DeviceFeature request = state_request(vfio_user::feature_flags::kGet, 0).feature;
    const auto reply = call_with(vfio_user::Command::DeviceFeature, request);
    if (!reply || reply->failed()) {
        return std::nullopt;
    }
    const auto now = reply->as<StateRequest>();
    return now ? std::optional(static_cast<vfio_user::DeviceState>(now->change.state.get()))
               : std::nullopt;
}

std::optional<std::vector<std::byte>> VfioClient::read_state(std::uint32_t bytes_a_time) {
    std::vector<std::byte> state;
    for (;;) {
        vfio_user::MigrationData wanted;
        wanted.argsz = static_cast<std::uint32_t>(sizeof(wanted)) + bytes_a_time;
        wanted.size = bytes_a_time;
        const auto reply = call_with(vfio_user::Command::MigDataRead, wanted);
        if (!reply || reply->failed() || reply->payload.size() < sizeof(wanted)) {
            return std::nullopt;
        }
        state.insert(state.end(), reply->payload.begin() + sizeof(wanted), reply->payload.end());
        if (reply->payload.size() < sizeof(wanted) + bytes_a_time) {
            return state;
        }
    }
}

int VfioClient::write_state(std::span<const std::byte> state, std::size_t bytes_a_time) {
    while (!state.empty()) {
        const auto part = state.first(std::min(bytes_a_time, state.size()));
        vfio_user::MigrationData header;
        header.argsz = static_cast<std::uint32_t>(sizeof(header) + part.size());
        header.size = static_cast<std::uint32_t>(part.size());
        std::vector<std::byte> payload(sizeof(header) + part.size());
        std::memcpy(payload.data(), &header, sizeof(header));
        std::ranges::copy(part, payload.begin() + sizeof(header));
        if (const int error = error_of(call(vfio_user::Command::MigDataWrite, payload));
            error != 0) {
            return error;
        }
        state = state.subspan(part.size());
    }
    return 0;
}

}  // namespace remora::test
