// SPDX-License-Identifier: Apache-2.0
// RekeyWorker: one piece of a Rekey: read, encrypted anew, written. On a data reactor.
// SectorMarks: what a sector's ciphertext is known by again: the first eight bytes of its SHA-256.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "block/device_io.h"
#include "services/crypto/crypt_device.h"

namespace remora::services::crypto {

struct SectorMarks {
    static constexpr std::size_t kBytes = 8;
    /// Appends that of `sector`.
    static void append(std::vector<std::byte>& marks, std::span<const std::byte> sector);
    static bool matches(std::span<const std::byte> mark, std::span<const std::byte> sector);
};

class RekeyWorker {
  public:
    /// For `device`, which is between its key and `next`. Errors: those of AesXts and DeviceIo.
    static core::Result<std::unique_ptr<RekeyWorker>> create(CryptDevice& device,
                                                             const XtsKey& next);

    /// Reads the piece, which has the old key, and encrypts it anew in the buffer. Returns its
    /// marks. Errors: Unavailable.
    reactor::Task<core::Result<std::vector<std::byte>>> prepare(std::uint64_t lba,
                                                                std::uint32_t block_count);
    /// The same for a piece that may have been written in part: sectors with their `marks` stay.
    reactor::Task<core::Result<void>> prepare_again(std::uint64_t lba,
                                                    std::uint32_t block_count,
                                                    std::span<const std::byte> marks);
    /// Writes what was prepared, durably. Errors: Unavailable; it may be written in part.
    reactor::Task<core::Result<void>> write(std::uint64_t lba, std::uint32_t block_count);

  private:
    RekeyWorker(CryptDevice& device,
                std::unique_ptr<AesXts> from,
                std::unique_ptr<AesXts> to,
                std::unique_ptr<block::DeviceIo> io);
    void convert(std::uint64_t sector, std::span<std::byte> bytes);
    [[nodiscard]] std::span<std::byte> piece(std::uint32_t block_count);

    std::size_t sector_size_;
    std::size_t block_size_;
    std::unique_ptr<AesXts> from_;
    std::unique_ptr<AesXts> to_;
    std::unique_ptr<block::DeviceIo> io_;
};

}  // namespace remora::services::crypto
