// SPDX-License-Identifier: Apache-2.0
// What each vhost-user message does. A handler that answers Wait is called again with the same
// message once the queues have drained, so it changes nothing before it no longer has to wait.
#include <array>
#include <utility>

#include "core/byte_reader.h"
#include "virtio/split_queue.h"
#include "virtio/vhost_user/session.h"

namespace remora::virtio::vhost_user {

namespace {

/// What is the protocol's own among the feature bits.
constexpr std::uint64_t kOwnFeatures = bit(Feature::VhostUserProtocol) | bit(Feature::LogAll);
constexpr std::uint64_t kProtocolFeatures =
    bit(ProtocolFeature::MultiQueue) | bit(ProtocolFeature::LogSharedMemory) |
    bit(ProtocolFeature::ReplyAck) | bit(ProtocolFeature::BackendRequest) |
    bit(ProtocolFeature::Config) | bit(ProtocolFeature::InflightSharedMemory) |
    bit(ProtocolFeature::ResetDevice) | bit(ProtocolFeature::ConfigureMemSlots);

const std::string kWrongSize = "a payload of the wrong size";
const std::string kWrongHandles = "a wrong number of descriptors";

/// Whether the message may carry descriptors at all; those that may check the number themselves.
bool may_carry_handles(RequestType type) {
    return type == RequestType::SetMemTable || type == RequestType::AddMemReg ||
           type == RequestType::RemMemReg || type == RequestType::SetVringKick ||
           type == RequestType::SetVringCall || type == RequestType::SetVringErr ||
           type == RequestType::SetBackendReqFd || type == RequestType::SetInflightFd ||
           type == RequestType::SetLogBase || type == RequestType::SetLogFd;
}

bool is_vring_message(RequestType type) {
    return (type >= RequestType::SetVringNum && type <= RequestType::SetVringErr) ||
           type == RequestType::SetVringEnable;
}

bool is_memory_message(RequestType type) {
    return type == RequestType::SetMemTable || type == RequestType::AddMemReg ||
           type == RequestType::RemMemReg;
}

}  // namespace

Session::Outcome Session::handle(Message& message) {
    const RequestType type = message.type();
    if (message.handles.count != 0 && !may_carry_handles(type)) {
        return fatal(kWrongHandles);
    }
    if (is_vring_message(type)) {
        return handle_vring(message);
    }
    if (is_memory_message(type)) {
        return handle_memory(message);
    }
    // By number: the list is open, as front ends may be newer than we are.
    switch (static_cast<std::uint32_t>(type)) {
        case static_cast<std::uint32_t>(RequestType::GetFeatures):
            return get_features();
        case static_cast<std::uint32_t>(RequestType::SetFeatures):
            return set_features(message);
        case static_cast<std::uint32_t>(RequestType::SetOwner):
            return done();
        case static_cast<std::uint32_t>(RequestType::ResetOwner):
            return reset(false);
        case static_cast<std::uint32_t>(RequestType::ResetDevice):
            return reset(true);
        case static_cast<std::uint32_t>(RequestType::GetProtocolFeatures):
            return reply_u64(type, kProtocolFeatures);
        case static_cast<std::uint32_t>(RequestType::SetProtocolFeatures):
            return set_protocol_features(message);
        case static_cast<std::uint32_t>(RequestType::GetQueueNum):
            return reply_u64(type, vrings_.size());
        case static_cast<std::uint32_t>(RequestType::GetMaxMemSlots):
            return reply_u64(type, memory::GuestMemory::kMaxRegions);
        case static_cast<std::uint32_t>(RequestType::GetConfig):
            return get_config(message);
        case static_cast<std::uint32_t>(RequestType::SetConfig):
            return refused("nothing in the configuration space can be written");
        case static_cast<std::uint32_t>(RequestType::SetBackendReqFd):
            if (message.handles.count != 1) {
                return fatal(kWrongHandles);
            }
            return from(channel_.open(reactor_.io(), message.take_handle(0)));
        case static_cast<std::uint32_t>(RequestType::SetLogBase):
        case static_cast<std::uint32_t>(RequestType::SetLogFd):
            return handle_log(message);
        case static_cast<std::uint32_t>(RequestType::GetInflightFd):
        case static_cast<std::uint32_t>(RequestType::SetInflightFd):
            return handle_inflight(message);
        default:
            return refused("message " + std::to_string(message.header.request.get()) +
                           " is not supported");
    }
}

Session::Outcome Session::get_features() {
    return reply_u64(RequestType::GetFeatures, device_.features() | kOwnFeatures);
}

Session::Outcome Session::set_features(const Message& message) {
    U64 payload;
    if (!message.read(payload)) {
        return fatal(kWrongSize);
    }
    const std::uint64_t wanted = payload.value;
    if ((wanted & ~(device_.possible_features() | kOwnFeatures)) != 0) {
        return refused("features that are never offered");
    }
    // Logging begins and ends while requests are in flight; anything else waits for them.
    if (((wanted ^ features_) & ~bit(Feature::LogAll)) != 0 && !quiesce_all()) {
        return wait();
    }
    features_ = wanted;
    update_queues();
    if (!has(wanted, Feature::VhostUserProtocol)) {
        // Without protocol features there is no enable message: rings are enabled from the start.
        for (Vring& vring : vrings_) {
            vring.enabled = true;
        }
    }
    return from(start_all());
}

Session::Outcome Session::set_protocol_features(const Message& message) {
    U64 payload;
    if (!message.read(payload)) {
        return fatal(kWrongSize);
    }
    if ((payload.value & ~kProtocolFeatures) != 0) {
        return refused("protocol features that were not offered");
    }
    protocol_features_ = payload.value;
    return done();
}

Session::Outcome Session::get_config(const Message& message) {
    core::ByteReader reader(message.payload());
    ConfigHeader header;
    if (!reader.read(header)) {
        return fatal(kWrongSize);
    }
    const std::size_t offset = header.offset;
    const std::size_t size = header.size;
    if (reader.remaining() != size) {
        return fatal(kWrongSize);
    }
    if (offset > kMaxConfigBytes || size > kMaxConfigBytes - offset) {
        return reply(RequestType::GetConfig, {});  // an empty reply says that it failed
    }
    std::array<std::byte, kMaxConfigBytes> config{};
    device_.read_config(config);
    std::array<std::byte, sizeof(ConfigHeader) + kMaxConfigBytes> out{};
    std::memcpy(out.data(), &header, sizeof(header));
    std::memcpy(out.data() + sizeof(header), config.data() + offset, size);
    return reply(RequestType::GetConfig, std::span(out).first(sizeof(header) + size));
}

Session::Outcome Session::reset(bool forget_features) {
    if (!quiesce_all()) {
        return wait();
    }
    for (Vring& vring : vrings_) {
        vring = Vring{};
    }
    if (forget_features) {
        features_ = 0;
        inflight_.reset();
        log_.reset();
    }
    return done();
}

Session::Outcome Session::handle_memory(Message& message) {
    const RequestType type = message.type();
    if (type == RequestType::SetMemTable) {
        return set_mem_table(message);
    }
    return type == RequestType::AddMemReg ? add_mem_reg(message) : rem_mem_reg(message);
}

Session::Outcome Session::set_mem_table(const Message& message) {
    // The front end sends either all eight regions' room or only what it uses.
    MemoryTableMessage table;
    constexpr std::size_t kFixed = offsetof(MemoryTableMessage, regions);
    const std::span<const std::byte> payload = message.payload();
    if (payload.size() < kFixed || payload.size() > sizeof(table)) {
        return fatal(kWrongSize);
    }
    std::memcpy(&table, payload.data(), payload.size());
    const std::size_t count = table.count;
    if (count > kMaxTableRegions || payload.size() < kFixed + count * sizeof(MemoryRegion)) {
        return fatal(kWrongSize);
    }
    if (message.handles.count != count) {
        return fatal(kWrongHandles);
    }
    if (!quiesce_all()) {
        return wait();
    }
    const auto replaced = memory_.replace(reactor_.io(), std::span(table.regions).first(count),
                                          std::span(message.handles.handles).first(count));
    // Also after a failure: the queues then go on with the memory they had.
    const auto started = start_all();
    return from(replaced ? started : replaced);
}

Session::Outcome Session::add_mem_reg(const Message& message) {
    SingleRegion single;
    if (!message.read(single)) {
        return fatal(kWrongSize);
    }
    if (message.handles.count != 1) {
        return fatal(kWrongHandles);
    }
    if (auto added = memory_.add(reactor_.io(), single.region, message.handles.handles[0]);
        !added) {
        return refused(added.error().message);
    }
    update_queues();
    if (memory_change_.armed()) {
        reactor_.arm(memory_change_, reactor_.now() + kMemoryChange);
        return done();
    }
    // Rings may lie in regions that are yet to come.
    static_cast<void>(start_all());
    return done();
}

Session::Outcome Session::rem_mem_reg(const Message& message) {
    SingleRegion single;
    if (!message.read(single)) {
        return fatal(kWrongSize);
    }
    // Some front ends send the region's descriptor along; it is closed unused.
    if (message.handles.count > 1) {
        return fatal(kWrongHandles);
    }
    if (!quiesce_all()) {
        return wait();
    }
    const auto removed = memory_.remove(single.region);
    // A front end changes a region by removing it and adding it anew, with the guest running: its
    // requests may lie there, and the queues rest until then, or for as long as that can take.
    reactor_.arm(memory_change_, reactor_.now() + kMemoryChange);
    return from(removed);
}

Session::Outcome Session::handle_inflight(Message& message) {
    return message.type() == RequestType::GetInflightFd ? get_inflight_fd(message)
                                                        : set_inflight_fd(message);
}

Session::Outcome Session::get_inflight_fd(const Message& message) {
    InflightDescription wanted;
    core::ByteReader reader(message.payload());
    if (!reader.read(wanted) || message.header.size > kInflightWireBytes) {
        return fatal(kWrongSize);
    }
    if (wanted.queue_count == 0 || wanted.queue_count > vrings_.size() || wanted.queue_size == 0 ||
        wanted.queue_size > SplitQueue::kMaxSize) {
        return fatal("in-flight memory for queues that cannot be");
    }
    const std::uint64_t size = InflightRegion::bytes_for(wanted.queue_count, wanted.queue_size);
    auto memory = reactor_.io().create_shared_memory(size);
    if (!memory) {
        return fatal(memory.error().message);
    }
    wanted.mmap_size = size;
    wanted.mmap_offset = 0;
    std::array<std::byte, kInflightWireBytes> out{};
    std::memcpy(out.data(), &wanted, sizeof(wanted));
    const Outcome outcome =
        reply(RequestType::GetInflightFd, std::span(out).first(message.header.size), *memory);
    reactor_.io().close(*memory);
    return outcome;
}

Session::Outcome Session::set_inflight_fd(const Message& message) {
    InflightDescription description;
    core::ByteReader reader(message.payload());
    if (!reader.read(description) || message.header.size > kInflightWireBytes) {
        return fatal(kWrongSize);
    }
    if (message.handles.count != 1) {
        return fatal(kWrongHandles);
    }
    if (!quiesce_all()) {
        return wait();
    }
    auto region = InflightRegion::map(reactor_.io(), message.handles.handles[0],
                                      description.mmap_size, description.mmap_offset,
                                      description.queue_count, description.queue_size);
    if (!region) {
        static_cast<void>(start_all());  // with what they had
        return refused(region.error().message);
    }
    inflight_.emplace(std::move(*region));
    return from(start_all());
}

}  // namespace remora::virtio::vhost_user
