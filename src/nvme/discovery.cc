// SPDX-License-Identifier: Apache-2.0
#include "nvme/discovery.h"

#include <algorithm>
#include <cstring>

#include "core/byte_reader.h"
#include "nvme/spec/fabrics.h"

namespace remora::nvme {

namespace {

constexpr std::uint64_t kRecord = sizeof(spec::DiscoveryLogEntry);
static_assert(sizeof(spec::DiscoveryLogHeader) == kRecord);

bool visible(const DirectoryEntry& entry, std::string_view hostnqn) {
    return entry.allowed_hosts.empty() ||
           std::ranges::find(entry.allowed_hosts, hostnqn) != entry.allowed_hosts.end();
}

spec::DiscoveryLogEntry to_wire(const DirectoryEntry& entry) {
    spec::DiscoveryLogEntry out{};
    const bool ipv6 = entry.endpoint.address.find(':') != std::string::npos;
    out.transport = spec::kTransportTcp;
    out.address_family = ipv6 ? spec::kAddressIpv6 : spec::kAddressIpv4;
    out.subtype = spec::kSubtypeNvm;
    out.requirements = spec::kTreqNotRequired | spec::kTreqFlowControlOff;
    out.port_id = entry.port_id;
    out.cntlid = spec::kDynamicController;
    constexpr std::uint16_t kAdminQueueSize = 32;
    out.admin_queue_size = kAdminQueueSize;
    spec::set_field_text(out.service_id, std::to_string(entry.endpoint.port), ' ');
    spec::set_field_text(out.subnqn, entry.subnqn, '\0');
    spec::set_field_text(out.address, entry.endpoint.address, ' ');
    return out;
}

/// Copies the part of `record`, which starts at `at` in the log, that lies in [offset, +to.size).
void copy_overlap(std::span<const std::byte> record,
                  std::uint64_t at,
                  std::uint64_t offset,
                  std::span<std::byte> to) {
    const std::uint64_t begin = std::max(at, offset);
    const std::uint64_t end = std::min(at + record.size(), offset + to.size());
    if (begin < end) {
        std::memcpy(to.data() + (begin - offset), record.data() + (begin - at), end - begin);
    }
}

std::uint64_t visible_count(const Directory& directory, std::string_view hostnqn) {
    std::uint64_t count = 0;
    for (const DirectoryEntry& entry : directory.entries) {
        count += visible(entry, hostnqn) ? 1U : 0U;
    }
    return count;
}

}  // namespace

std::uint64_t discovery_log_size(const Directory& directory, std::string_view hostnqn) {
    return (visible_count(directory, hostnqn) + 1) * kRecord;
}

void read_discovery_log(const Directory& directory,
                        std::string_view hostnqn,
                        std::uint64_t offset,
                        std::span<std::byte> to) {
    std::ranges::fill(to, std::byte{0});
    spec::DiscoveryLogHeader header{};
    header.generation = directory.generation;
    header.record_count = visible_count(directory, hostnqn);
    copy_overlap(core::as_bytes_of(header), 0, offset, to);
    std::uint64_t at = kRecord;
    for (const DirectoryEntry& entry : directory.entries) {
        if (!visible(entry, hostnqn)) {
            continue;
        }
        if (at + kRecord > offset && at < offset + to.size()) {
            const spec::DiscoveryLogEntry record = to_wire(entry);
            copy_overlap(core::as_bytes_of(record), at, offset, to);
        }
        at += kRecord;
    }
}

}  // namespace remora::nvme
