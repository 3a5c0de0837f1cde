// SPDX-License-Identifier: Apache-2.0
// AesXts: encrypts and decrypts runs of sectors as Linux's dm-crypt does with aes-xts-plain64, by
// the fastest kernel of the processor. Each reactor has its own; the key is shared.
//
// The tweak is the sector's number, 64 bits, little endian, zeros above. dm-crypt counts it in
// units of 512 bytes whatever the sector size is, unless it is given `iv_large_sectors`: then in
// sectors. Both are there; with sectors of 512 bytes they are the same.
#pragma once

#include <memory>
#include <span>

#include "core/result.h"
#include "services/crypto/xts_evp.h"
#include "services/crypto/xts_kernel.h"
#include "services/crypto/xts_key.h"

namespace remora::services::crypto {

enum class SectorNumbers : std::uint8_t {
    Sectors,   ///< 0, 1, 2, ...: `cryptsetup --iv-large-sectors`.
    Units512,  ///< With sectors of 4096 bytes 0, 8, 16, ...: dm-crypt's default.
};

/// 512, 1024, 2048 or 4096, as dm-crypt has them.
bool is_sector_size(std::size_t bytes);

class AesXts {
  public:
    /// `key` outlives it. Errors: Unimplemented when this processor has no such kernel; Internal
    /// when OpenSSL has no AES-XTS.
    static core::Result<std::unique_ptr<AesXts>> create(const XtsKey& key,
                                                        SectorNumbers numbers,
                                                        XtsKernel kernel = best_kernel());
    AesXts(const AesXts&) = delete;
    AesXts& operator=(const AesXts&) = delete;

    [[nodiscard]] XtsKernel kernel() const { return kernel_; }

    /// Whole sectors, the first of which is number `first_sector` of the volume. `out` is as long
    /// as `in`, and is the same memory or does not overlap. Every byte of `in` is read once.
    void encrypt(std::uint64_t first_sector,
                 std::size_t sector_size,
                 std::span<const std::byte> in,
                 std::span<std::byte> out);
    void decrypt(std::uint64_t first_sector,
                 std::size_t sector_size,
                 std::span<const std::byte> in,
                 std::span<std::byte> out);

  private:
    AesXts(const XtsKey& key, SectorNumbers numbers, XtsKernel kernel)
        : key_(key), numbers_(numbers), kernel_(kernel) {}
    [[nodiscard]] XtsRun run_of(std::uint64_t first_sector,
                                std::size_t sector_size,
                                std::span<const std::byte> in,
                                std::span<std::byte> out) const;

    const XtsKey& key_;
    SectorNumbers numbers_;
    XtsKernel kernel_;
    XtsFunctions functions_;
    std::unique_ptr<EvpXts> evp_;  // of that kernel only
};

}  // namespace remora::services::crypto
