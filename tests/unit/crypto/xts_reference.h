// SPDX-License-Identifier: Apache-2.0
// What Linux's dm-crypt would store, by OpenSSL and nothing of ours: the oracle of these tests.
#pragma once

#include <array>
#include <cstring>
#include <memory>
#include <openssl/evp.h>
#include <span>
#include <vector>

#include "core/check.h"
#include "core/prng.h"

namespace remora::services::crypto {

using Bytes = std::vector<std::byte>;

inline Bytes random_bytes(core::Prng& prng, std::size_t size) {
    Bytes bytes(size);
    for (std::byte& byte : bytes) {
        byte = static_cast<std::byte>(prng.below(256));
    }
    return bytes;
}

struct DmCrypt {
    std::span<const std::byte> key;  ///< 32 or 64 bytes.
    std::size_t sector_size = 512;
    bool iv_large_sectors = true;
};

/// Sectors from number `first` on, one OpenSSL context a sector, encrypted or decrypted.
inline Bytes reference(const DmCrypt& with,
                       bool encrypt,
                       std::uint64_t first,
                       std::span<const std::byte> in) {
    CHECK(in.size() % with.sector_size == 0);
    Bytes out(in.size());
    const EVP_CIPHER* cipher = with.key.size() == 32 ? EVP_aes_128_xts() : EVP_aes_256_xts();
    for (std::size_t at = 0; at < in.size(); at += with.sector_size) {
        const std::uint64_t sector = first + at / with.sector_size;
        const std::uint64_t number =
            with.iv_large_sectors ? sector : sector * (with.sector_size / 512);
        std::array<unsigned char, 16> iv{};
        for (std::size_t i = 0; i < 8; ++i) {
            iv[i] = static_cast<unsigned char>(number >> (8 * i));
        }
        const std::unique_ptr<EVP_CIPHER_CTX, void (*)(EVP_CIPHER_CTX*)> context(
            EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
        int written = 0;
        CHECK(EVP_CipherInit_ex(context.get(), cipher, nullptr,
                                reinterpret_cast<const unsigned char*>(with.key.data()), iv.data(),
                                encrypt ? 1 : 0) == 1);
        CHECK(EVP_CipherUpdate(context.get(), reinterpret_cast<unsigned char*>(out.data() + at),
                               &written, reinterpret_cast<const unsigned char*>(in.data() + at),
                               static_cast<int>(with.sector_size)) == 1);
        CHECK(static_cast<std::size_t>(written) == with.sector_size);
    }
    return out;
}

}  // namespace remora::services::crypto
