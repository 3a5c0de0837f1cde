// SPDX-License-Identifier: Apache-2.0
// Header and data digests: CRC32C, four bytes little endian behind what they cover
// (NVMe/TCP Transport Specification 1.0, digests).
#pragma once

#include <cstdint>
#include <cstring>
#include <span>

#include "core/crc32c.h"
#include "core/endian.h"
#include "nvme/tcp/pdu.h"

namespace remora::nvme::tcp {

/// The digest at the start of `from`, which has at least four bytes.
inline std::uint32_t load_digest(std::span<const std::byte> from) {
    le32 value;
    std::memcpy(&value, from.first(kDigestBytes).data(), kDigestBytes);
    return value;
}

/// Writes a digest to the start of `to`, which has at least four bytes.
inline void store_digest(std::span<std::byte> to, std::uint32_t digest) {
    const le32 value(digest);
    std::memcpy(to.first(kDigestBytes).data(), &value, kDigestBytes);
}

/// Appends the digest of `header` to it: `block` holds the header and four more bytes.
inline void seal_header(std::span<std::byte> block, std::size_t header_size) {
    store_digest(block.subspan(header_size), core::crc32c(block.first(header_size)));
}

}  // namespace remora::nvme::tcp
