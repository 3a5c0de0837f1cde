// SPDX-License-Identifier: Apache-2.0
// Encrypting out of, and decrypting within, a scatter-gather list whose cuts know nothing of
// sectors: whole sectors are worked on where they lie, one that a cut goes through is put together
// in a scratch first.
#pragma once

#include <cstdint>
#include <span>

#include "core/segment.h"
#include "services/crypto/aes_xts.h"

namespace remora::services::crypto {

/// Where a transfer is: the cursor's byte is the first of sector `sector`. Value type.
struct CryptPosition {
    core::SegmentCursor cursor;
    std::uint64_t sector = 0;
};

/// Encrypts as many bytes as `out` has (whole sectors, and there in the list) and moves on.
/// A byte of the list is read once.
void encrypt_out(AesXts& cipher,
                 std::size_t sector_size,
                 CryptPosition& from,
                 std::span<std::byte> out);

/// Decrypts the next `bytes` (whole sectors) where they are and moves on.
void decrypt_within(AesXts& cipher, std::size_t sector_size, CryptPosition& at, std::size_t bytes);

}  // namespace remora::services::crypto
