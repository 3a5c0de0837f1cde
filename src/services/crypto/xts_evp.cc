// SPDX-License-Identifier: Apache-2.0
#include "services/crypto/xts_evp.h"

#include <openssl/evp.h>

#include "core/check.h"
#include "core/endian.h"

namespace remora::services::crypto {

namespace {

const unsigned char* raw(const std::byte* bytes) {
    return reinterpret_cast<const unsigned char*>(bytes);
}

/// IEEE 1619 section 5.1: the sector's number, little endian, over a whole block.
struct Tweak {
    core::le64 number = 0;
    core::le64 zeros = 0;
};
static_assert(sizeof(Tweak) == kAesBlock);

}  // namespace

void EvpXts::Free::operator()(evp_cipher_ctx_st* context) const {
    EVP_CIPHER_CTX_free(context);
}

EvpXts::Context EvpXts::make_context(const XtsKey& key, XtsDirection direction) {
    EVP_CIPHER* cipher =
        EVP_CIPHER_fetch(nullptr, key.bits() == 128 ? "AES-128-XTS" : "AES-256-XTS", nullptr);
    Context context(EVP_CIPHER_CTX_new());
    const int encrypt = direction == XtsDirection::Encrypt ? 1 : 0;
    const bool made = cipher != nullptr && context != nullptr &&
                      EVP_CipherInit_ex2(context.get(), cipher, raw(key.bytes().data()), nullptr,
                                         encrypt, nullptr) == 1;
    EVP_CIPHER_free(cipher);  // the context keeps its own hold on it
    return made ? std::move(context) : nullptr;
}

core::Result<std::unique_ptr<EvpXts>> EvpXts::create(const XtsKey& key) {
    Context encrypt = make_context(key, XtsDirection::Encrypt);
    Context decrypt = make_context(key, XtsDirection::Decrypt);
    if (encrypt == nullptr || decrypt == nullptr) {
        return core::fail(core::ErrorKind::Internal,
                          "OpenSSL gives no AES-XTS; its default "
                          "provider must be there");
    }
    return std::unique_ptr<EvpXts>(new EvpXts(std::move(encrypt), std::move(decrypt)));
}

void EvpXts::crypt(XtsDirection direction, const XtsRun& run) {
    EVP_CIPHER_CTX* context = direction == XtsDirection::Encrypt ? encrypt_.get() : decrypt_.get();
    const int bytes = static_cast<int>(run.sector_size);
    Tweak tweak;
    for (std::size_t i = 0; i < run.sectors; ++i) {
        tweak.number = run.first_tweak + i * run.tweak_step;
        const std::size_t at = i * run.sector_size;
        int written = 0;
        const bool done =
            EVP_CipherInit_ex2(context, nullptr, nullptr,
                               reinterpret_cast<const unsigned char*>(&tweak), -1, nullptr) == 1 &&
            EVP_CipherUpdate(context, reinterpret_cast<unsigned char*>(run.out + at), &written,
                             raw(run.in + at), bytes) == 1;
        // Nothing in here depends on the data. To go on would be to store what nobody can read.
        CHECK(done && written == bytes);
    }
}

}  // namespace remora::services::crypto
