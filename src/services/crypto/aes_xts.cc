// SPDX-License-Identifier: Apache-2.0
#include "services/crypto/aes_xts.h"

#include <bit>
#include <string>

#include "core/check.h"

namespace remora::services::crypto {

namespace {

constexpr std::size_t kUnit = 512;

}  // namespace

bool is_sector_size(std::size_t bytes) {
    return std::has_single_bit(bytes) && bytes >= kUnit && bytes <= 4096;
}

core::Result<std::unique_ptr<AesXts>> AesXts::create(const XtsKey& key,
                                                     SectorNumbers numbers,
                                                     XtsKernel kernel) {
    if (!has_kernel(kernel)) {
        return core::fail(core::ErrorKind::Unimplemented, "this processor has no AES-XTS kernel '" +
                                                              std::string(to_string(kernel)) + "'");
    }
    std::unique_ptr<AesXts> made(new AesXts(key, numbers, kernel));
    if (kernel != XtsKernel::Evp) {
        made->functions_ = functions_of(kernel, key.rounds());
        return made;
    }
    auto evp = EvpXts::create(key);
    if (!evp) {
        return std::unexpected(evp.error());
    }
    made->evp_ = std::move(*evp);
    return made;
}

XtsRun AesXts::run_of(std::uint64_t first_sector,
                      std::size_t sector_size,
                      std::span<const std::byte> in,
                      std::span<std::byte> out) const {
    DCHECK(is_sector_size(sector_size));
    CHECK(in.size() == out.size() && in.size() % sector_size == 0);
    const std::uint64_t step = numbers_ == SectorNumbers::Sectors ? 1 : sector_size / kUnit;
    return {.first_tweak = first_sector * step,
            .tweak_step = step,
            .sector_size = sector_size,
            .sectors = in.size() / sector_size,
            .in = in.data(),
            .out = out.data()};
}

void AesXts::encrypt(std::uint64_t first_sector,
                     std::size_t sector_size,
                     std::span<const std::byte> in,
                     std::span<std::byte> out) {
    const XtsRun run = run_of(first_sector, sector_size, in, out);
    if (evp_ != nullptr) {
        evp_->crypt(XtsDirection::Encrypt, run);
    } else {
        functions_.encrypt(key_.schedule(), run);
    }
}

void AesXts::decrypt(std::uint64_t first_sector,
                     std::size_t sector_size,
                     std::span<const std::byte> in,
                     std::span<std::byte> out) {
    const XtsRun run = run_of(first_sector, sector_size, in, out);
    if (evp_ != nullptr) {
        evp_->crypt(XtsDirection::Decrypt, run);
    } else {
        functions_.decrypt(key_.schedule(), run);
    }
}

}  // namespace remora::services::crypto
