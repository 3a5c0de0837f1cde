// SPDX-License-Identifier: Apache-2.0
// Admin, the part that asks which namespaces there are and what they look like.
#include <algorithm>
#include <cstring>

#include "backends/nvme_tcp/admin.h"
#include "backends/nvme_tcp/fabrics.h"
#include "core/byte_reader.h"
#include "core/endian.h"
#include "core/hash.h"
#include "core/log.h"

namespace remora::backends::nvme_tcp {

using core::ErrorKind;
using nvme::spec::Cns;
using nvme::spec::status_code;
using nvme::spec::StatusCode;

namespace {

/// An identity for a namespace that has an EUI64 only, or nothing: a version 8 UUID (RFC 9562).
core::Uuid uuid_from(std::uint64_t high, std::uint64_t low) {
    core::Uuid uuid;
    for (std::size_t i = 0; i < 8; ++i) {
        uuid.bytes[i] = static_cast<unsigned char>((high >> (56 - 8 * i)) & 0xffU);
        uuid.bytes[8 + i] = static_cast<unsigned char>((low >> (56 - 8 * i)) & 0xffU);
    }
    uuid.bytes[6] = static_cast<unsigned char>((uuid.bytes[6] & 0x0fU) | 0x80U);
    uuid.bytes[8] = static_cast<unsigned char>((uuid.bytes[8] & 0x3fU) | 0x80U);
    return uuid;
}

/// The namespace's own UUID, else its NGUID, else one made of its EUI64, else of its place.
core::Uuid choose_uuid(const core::Uuid& shown,
                       const NamespaceIdentity& identity,
                       const std::string& subnqn) {
    if (!shown.is_nil()) {
        return shown;
    }
    core::Uuid uuid;
    uuid.bytes = identity.nguid;
    if (!uuid.is_nil()) {
        return uuid;
    }
    const std::uint64_t place = core::fnv1a(subnqn);
    if (identity.eui64 != 0) {
        // Spread so that the version and variant bits replace none of the EUI64's.
        return uuid_from(identity.eui64 >> 16U << 16U, (identity.eui64 & 0xffffU) << 32U);
    }
    return uuid_from(place, identity.nsid);
}

struct Descriptors {
    core::Uuid uuid;
    std::array<unsigned char, 16> nguid{};
    std::uint64_t eui64 = 0;
    std::uint8_t command_set = 0;
};

// NVMe Base 2.0, Namespace Identification Descriptor list: ends at a zero length or at the end.
Descriptors parse_descriptors(std::span<const std::byte> bytes) {
    Descriptors out;
    core::ByteReader reader(bytes);
    nvme::spec::NamespaceDescriptor head;
    std::span<const std::byte> value;
    while (reader.read(head) && head.length != 0 && reader.take(head.length, value)) {
        if (head.type == nvme::spec::kNidUuid && value.size() == 16) {
            std::memcpy(out.uuid.bytes.data(), value.data(), 16);
        } else if (head.type == nvme::spec::kNidNguid && value.size() == 16) {
            std::memcpy(out.nguid.data(), value.data(), 16);
        } else if (head.type == nvme::spec::kNidEui64 && value.size() == 8) {
            core::be<std::uint64_t> eui;
            std::memcpy(&eui, value.data(), 8);
            out.eui64 = eui;
        } else if (head.type == nvme::spec::kNidCommandSet && value.size() == 1) {
            out.command_set = static_cast<std::uint8_t>(value[0]);
        }
    }
    return out;
}

void log_unusable(std::uint32_t nsid, const char* why) {
    log::warn("namespace left out", log::kv("nsid", nsid), log::kv("reason", why));
}

/// Whether asking again may help with a namespace whose Identify was refused: not when it has gone
/// since the list was read, or will never be described.
bool is_passing(std::uint32_t nsid, std::uint16_t status) {
    if (status_code(status) == StatusCode::InvalidNamespace) {
        return false;
    }
    if ((status & nvme::spec::kDoNotRetry) != 0) {
        log_unusable(nsid, "it cannot be identified");
        return false;
    }
    return true;
}

/// False, with a log line, for a shape that block::Device cannot have.
bool geometry_of(const nvme::spec::IdentifyNamespace& data,
                 const ControllerFacts& facts,
                 NamespaceIdentity& identity) {
    std::size_t format = data.flbas & 0xfU;
    if (data.nlbaf > 15) {
        format |= static_cast<std::size_t>((data.flbas >> 5U) & 3U) << 4U;
    }
    const nvme::spec::LbaFormat& lba = data.lbaf[format];
    if (lba.metadata_bytes != 0) {
        log_unusable(identity.nsid, "its format has metadata");
        return false;
    }
    if (lba.lba_shift < 9 || lba.lba_shift > 12) {
        log_unusable(identity.nsid, "its blocks are not of 512 to 4096 bytes");
        return false;
    }
    block::Geometry& geometry = identity.geometry;
    geometry.block_size = 1U << lba.lba_shift;
    geometry.block_count = data.nsze;
    if (!block::check_geometry(geometry)) {
        log_unusable(identity.nsid, "its size is not possible");
        return false;
    }
    if ((data.nsfeat & nvme::spec::kNsfeatOptimalIo) != 0) {
        geometry.optimal_blocks = data.npwg + 1U;
    }
    geometry.can_write_zeroes = facts.can_write_zeroes;
    // A discarded block reads as zeros at this waist. Deallocated blocks do so only where DLFEAT
    // says it; Write Zeroes with the deallocate bit always ends in zeros.
    const bool reads_zero = (data.dlfeat & 0x7U) == nvme::spec::kDlfeatReadsZero;
    const bool zeroing = facts.can_write_zeroes && (data.dlfeat & 0x8U) != 0;
    identity.discard_by_zeroing = !(facts.can_discard && reads_zero);
    geometry.can_discard = (facts.can_discard && reads_zero) || zeroing;
    geometry.volatile_cache = facts.volatile_cache;
    geometry.read_only = (data.nsattr & nvme::spec::kNsattrWriteProtected) != 0;
    return true;
}

}  // namespace

Task<Result<std::vector<std::uint32_t>>> Admin::active_namespaces(std::uint32_t limit,
                                                                  Nanos deadline) {
    std::vector<std::uint32_t> nsids;
    std::array<core::le32, nvme::spec::kNamespaceListEntries> page;
    std::uint32_t last = 0;
    while (true) {
        const auto bytes = std::as_writable_bytes(std::span(page));
        const auto result = co_await identify(Cns::ActiveNamespaces, last, bytes, deadline);
        if (!result) {
            co_return std::unexpected(result.error());
        }
        if (result->status != 0) {
            co_return core::fail(
                ErrorKind::Unavailable,
                queue_.name() + ": the namespace list failed with " + status_text(result->status));
        }
        for (const core::le32 nsid : page) {
            if (nsid == 0) {
                co_return nsids;
            }
            // Ascending, so that this ends (NVMe Base 2.0, Active Namespace ID list).
            if (nsid <= last || nsid >= nvme::spec::kBroadcastNsid - 1) {
                co_return core::fail(ErrorKind::Unavailable,
                                     queue_.name() + ": its namespace list is not in order");
            }
            if (nsids.size() == limit) {
                co_return core::fail(ErrorKind::ResourceExhausted,
                                     queue_.name() + ": it has more than " + std::to_string(limit) +
                                         " namespaces, the most taken");
            }
            last = nsid;
            nsids.push_back(last);
        }
    }
}

Task<Result<std::optional<NamespaceIdentity>>> Admin::describe_namespace(
    std::uint32_t nsid, const ControllerFacts& facts, Nanos deadline, bool& ask_again) {
    nvme::spec::IdentifyNamespace data;
    auto result =
        co_await identify(Cns::Namespace, nsid, core::as_writable_bytes_of(data), deadline);
    if (!result) {
        co_return std::unexpected(result.error());
    }
    const std::optional<NamespaceIdentity> none;
    if (data.nsze == 0 && result->status == 0) {
        co_return none;  // An inactive one reads as zeros.
    }
    if (result->status != 0) {
        ask_again = ask_again || is_passing(nsid, result->status);
        co_return none;
    }
    std::array<std::byte, nvme::spec::kIdentifyBytes> list{};
    result = co_await identify(Cns::NamespaceDescriptors, nsid, list, deadline);
    if (!result) {
        co_return std::unexpected(result.error());
    }
    // Controllers older than NVMe 1.3 do not know the descriptors. Any other refusal must not pass
    // for a namespace without a UUID: that would be another volume.
    if (result->status != 0 && status_code(result->status) != StatusCode::InvalidField) {
        ask_again = ask_again || is_passing(nsid, result->status);
        co_return none;
    }
    const Descriptors shown = result->status == 0 ? parse_descriptors(list) : Descriptors{};
    if (shown.command_set != 0) {
        log_unusable(nsid, "its command set is not NVM");
        co_return none;
    }
    NamespaceIdentity identity;
    identity.nsid = nsid;
    if (!geometry_of(data, facts, identity)) {
        co_return none;
    }
    identity.nguid = shown.nguid;
    if (identity.nguid == std::array<unsigned char, 16>{}) {
        std::memcpy(identity.nguid.data(), data.nguid, 16);
    }
    core::be<std::uint64_t> eui;
    std::memcpy(&eui, data.eui64, 8);
    identity.eui64 = shown.eui64 != 0 ? shown.eui64 : eui.get();
    identity.uuid = choose_uuid(shown.uuid, identity, subnqn_);
    identity.ana_group = facts.ana.reported ? data.anagrpid.get() : 0;
    co_return std::optional<NamespaceIdentity>(identity);
}

/// One pass over the log. `changed`: it was not the same from its first piece to its last.
Task<Result<std::map<std::uint32_t, AnaState>>> Admin::read_ana_log(const AnaFacts& facts,
                                                                    Nanos deadline,
                                                                    bool& changed) {
    AnaLogReader reader(facts);
    std::vector<std::byte> piece;
    int pieces = 0;
    while (const auto next = reader.next()) {
        piece.assign(next->bytes, std::byte{0});
        auto done = co_await get_log(nvme::spec::LogPage::Ana, next->offset, piece,
                                     nvme::spec::kAnaGroupsOnly, deadline);
        if (done) {
            done = reader.add(piece);
        }
        if (!done) {
            co_return std::unexpected(done.error());
        }
        ++pieces;
    }
    changed = false;
    if (pieces > 1) {
        AnaLogHeader after;
        const auto done =
            co_await get_log(nvme::spec::LogPage::Ana, 0, core::as_writable_bytes_of(after),
                             nvme::spec::kAnaGroupsOnly, deadline);
        if (!done) {
            co_return std::unexpected(done.error());
        }
        changed = after.change_count != reader.change_count();
    }
    co_return reader.states();
}

Task<Result<std::map<std::uint32_t, AnaState>>> Admin::ana_states(const AnaFacts& facts,
                                                                  Nanos deadline) {
    constexpr int kAttempts = 5;
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
        bool changed = false;
        auto states = co_await read_ana_log(facts, deadline, changed);
        if (!states) {
            co_return core::fail(queue_.name(), states.error());
        }
        if (!changed) {
            co_return states;
        }
    }
    co_return core::fail(ErrorKind::Unavailable,
                         queue_.name() + ": its ANA log changes faster than it can be read");
}

}  // namespace remora::backends::nvme_tcp
