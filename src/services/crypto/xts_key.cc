// SPDX-License-Identifier: Apache-2.0
#include "services/crypto/xts_key.h"

#include <algorithm>
#include <openssl/crypto.h>
#include <string>

#include "services/crypto/xts_kernel.h"

namespace remora::services::crypto {

core::Result<std::unique_ptr<const XtsKey>> XtsKey::create(std::span<const std::byte> bytes) {
    if (bytes.size() != 32 && bytes.size() != kMaxBytes) {
        return core::fail(core::ErrorKind::InvalidArgument,
                          "a key of " + std::to_string(bytes.size()) +
                              " bytes does not fit AES-XTS, which takes 32 bytes (two AES-128 "
                              "keys) or 64 (two AES-256 keys)");
    }
    const std::size_t half = bytes.size() / 2;
    if (CRYPTO_memcmp(bytes.data(), bytes.data() + half, half) == 0) {
        return core::fail(core::ErrorKind::InvalidArgument,
                          "the two halves of an AES-XTS key must differ");
    }
    return std::unique_ptr<const XtsKey>(new XtsKey(bytes));
}

XtsKey::XtsKey(std::span<const std::byte> bytes) : size_(bytes.size()) {
    std::ranges::copy(bytes, bytes_.begin());
    if (!has_kernel(XtsKernel::AesNi)) {
        return;
    }
    const std::size_t half = size_ / 2;
    expand_key(bytes.first(half), schedule_.encrypt);
    invert_key(schedule_.encrypt, rounds(), schedule_.decrypt);
    expand_key(bytes.last(half), schedule_.tweak);
}

XtsKey::~XtsKey() {
    OPENSSL_cleanse(&schedule_, sizeof(schedule_));
    OPENSSL_cleanse(bytes_.data(), bytes_.size());
}

}  // namespace remora::services::crypto
