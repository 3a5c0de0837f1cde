// SPDX-License-Identifier: Apache-2.0
#include "nvme/namespace.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/check.h"
#include "nvme/ana.h"

namespace remora::nvme {

namespace {

using spec::le16;
using spec::le64;

/// Appends one namespace identification descriptor.
void append_descriptor(std::span<std::byte>& to,
                       std::uint8_t type,
                       std::span<const unsigned char> id) {
    spec::NamespaceDescriptor header{};
    header.type = type;
    header.length = static_cast<std::uint8_t>(id.size());
    CHECK(to.size() >= sizeof(header) + id.size());
    std::memcpy(to.data(), &header, sizeof(header));
    std::memcpy(to.data() + sizeof(header), id.data(), id.size());
    to = to.subspan(sizeof(header) + id.size());
}

/// EUI64 is big endian on the wire (NVM Express Base 2.0, Unique Identifier).
std::array<unsigned char, 8> eui64_bytes(std::uint64_t eui64) {
    std::array<unsigned char, 8> bytes{};
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        bytes[i] = static_cast<unsigned char>((eui64 >> (56U - 8U * i)) & 0xffU);
    }
    return bytes;
}

std::uint8_t reservation_capabilities(const Namespace& from) {
    if (!from.can_reserve) {
        return 0;
    }
    const unsigned persist = from.can_persist ? spec::kRescapPersist : 0U;
    return static_cast<std::uint8_t>(persist | spec::kRescapAllTypes | spec::kRescapIgnoreKey13);
}

/// What tells of other controllers and hosts.
template <typename T>
void show_sharing(const Namespace& from, T& to) {
    to.nmic = from.shared ? spec::kNmicShared : std::uint8_t{0};
    to.anagrpid = from.in_ana_group ? kAnaGroup : 0U;
    to.rescap = reservation_capabilities(from);
}

bool has_nguid(const Namespace& from) {
    return std::ranges::any_of(from.nguid, [](unsigned char byte) { return byte != 0; });
}

}  // namespace

void identify_namespace(const Namespace& from, spec::IdentifyNamespace& to) {
    const block::Geometry& geometry = from.geometry;
    to = {};
    to.nsze = geometry.block_count;
    to.ncap = geometry.block_count;
    to.nuse = geometry.block_count;
    show_sharing(from, to);
    // Else 000b, not reported (NVM Command Set 1.0, Identify Namespace, DLFEAT).
    to.dlfeat = geometry.unwritten_reads_zeros ? spec::kDlfeatReadsZero : std::uint8_t{0};
    to.mssrl = static_cast<std::uint16_t>(kCopyRangeBytes / geometry.block_size);
    to.mcl = static_cast<std::uint32_t>(kCopyBytes / geometry.block_size);
    to.msrc = static_cast<std::uint8_t>(spec::kCopyMaxRanges - 1);
    to.nsattr = geometry.read_only ? spec::kNsattrWriteProtected : std::uint8_t{0};
    to.lbaf[0].lba_shift = static_cast<std::uint8_t>(std::countr_zero(geometry.block_size));
    constexpr std::uint32_t kMaxGranularity = 0x10000;
    if (geometry.optimal_blocks > 1 && geometry.optimal_blocks <= kMaxGranularity) {
        const auto granularity = static_cast<std::uint16_t>(geometry.optimal_blocks - 1);
        to.nsfeat = spec::kNsfeatOptimalIo;
        to.npwg = granularity;
        to.npwa = granularity;
        to.npdg = granularity;
        to.npda = granularity;
        to.nows = granularity;
    }
    std::memcpy(to.nguid, from.nguid.data(), sizeof(to.nguid));
    if (from.eui64 != 0) {
        const auto bytes = eui64_bytes(from.eui64);
        std::memcpy(to.eui64, bytes.data(), sizeof(to.eui64));
    }
}

void identify_independent(const Namespace& from, spec::IdentifyIndependentNamespace& to) {
    to = {};
    show_sharing(from, to);
    to.nsattr = from.geometry.read_only ? spec::kNsattrWriteProtected : std::uint8_t{0};
    to.nstat = spec::kNstatReady;
}

void identify_descriptors(const Namespace& from, std::span<std::byte> to) {
    if (from.eui64 != 0) {
        append_descriptor(to, spec::kNidEui64, eui64_bytes(from.eui64));
    }
    if (has_nguid(from)) {
        append_descriptor(to, spec::kNidNguid, from.nguid);
    }
    if (!from.uuid.is_nil()) {
        append_descriptor(to, spec::kNidUuid, from.uuid.bytes);
    }
    constexpr std::array<unsigned char, 1> kNvmCommandSet{0};
    append_descriptor(to, spec::kNidCommandSet, kNvmCommandSet);
}

}  // namespace remora::nvme
