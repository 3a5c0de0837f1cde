// SPDX-License-Identifier: Apache-2.0
#include "nvme/discovery.h"

#include <algorithm>

#include "nvme/log_window.h"
#include "nvme/spec/fabrics.h"

namespace remora::nvme {

namespace {

constexpr std::uint64_t kRecord = sizeof(spec::DiscoveryLogEntry);
static_assert(sizeof(spec::DiscoveryLogHeader) == kRecord);

bool visible(const DirectoryEntry& entry, std::string_view hostnqn) {
    return entry.allowed_hosts.empty() ||
           std::ranges::find(entry.allowed_hosts, hostnqn) != entry.allowed_hosts.end();
}

std::uint8_t subtype_of(DirectoryEntry::Kind kind) {
    switch (kind) {
        case DirectoryEntry::Kind::Subsystem:
            break;
        case DirectoryEntry::Kind::Self:
            return spec::kSubtypeCurrentDiscovery;
        case DirectoryEntry::Kind::Referral:
            return spec::kSubtypeDiscovery;
    }
    return spec::kSubtypeNvm;
}

spec::DiscoveryLogEntry to_wire(const DirectoryEntry& entry) {
    spec::DiscoveryLogEntry out{};
    const bool ipv6 = entry.endpoint.address.find(':') != std::string::npos;
    out.transport = spec::kTransportTcp;
    out.address_family = ipv6 ? spec::kAddressIpv6 : spec::kAddressIpv4;
    out.subtype = subtype_of(entry.kind);
    if (entry.kind == DirectoryEntry::Kind::Self) {
        // Every endpoint tells the same; a connection may be kept for its events.
        out.entry_flags = spec::kEflagsDuplicateInformation | spec::kEflagsPersistentConnections;
    }
    // SECTYPE says that there is no TLS. "Not required" would be as true, but libnvme 1.3 takes it
    // for an offer of TLS, and `nvme connect-all` then fails for the lack of a key.
    out.requirements = spec::kTreqNotSpecified | spec::kTreqFlowControlOff;
    out.port_id = entry.port_id;
    out.cntlid = spec::kDynamicController;
    constexpr std::uint16_t kAdminQueueSize = 32;
    out.admin_queue_size = kAdminQueueSize;
    spec::set_field_text(out.service_id, std::to_string(entry.endpoint.port), ' ');
    spec::set_field_text(out.subnqn, entry.subnqn, '\0');
    spec::set_field_text(out.address, entry.endpoint.address, ' ');
    return out;
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
    LogWindow page(offset, to);
    spec::DiscoveryLogHeader header{};
    header.generation = directory.generation;
    header.record_count = visible_count(directory, hostnqn);
    page.append(header);
    for (const DirectoryEntry& entry : directory.entries) {
        if (!visible(entry, hostnqn)) {
            continue;
        }
        if (page.wants(kRecord)) {
            page.append(to_wire(entry));
        } else {
            page.skip(kRecord);
        }
    }
}

}  // namespace remora::nvme
