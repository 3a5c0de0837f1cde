// SPDX-License-Identifier: Apache-2.0
#include "control/seal.h"

#include <algorithm>
#include <array>
#include <memory>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include "core/check.h"

namespace remora::control {

namespace state = ::remora::state::v1;
using core::ErrorKind;
using core::fail;
using core::Result;

namespace {

constexpr std::size_t kNonceBytes = 12;
constexpr std::size_t kTagBytes = 16;
constexpr std::size_t kKeyIdBytes = 8;
constexpr std::size_t kSaltBytes = 32;
constexpr std::size_t kMostSecretBytes = 4096;

// What is hashed or authenticated for one purpose is so for no other.
constexpr std::string_view kIdPurpose = "remora seal key identifier 1";
constexpr std::string_view kSealPurpose = "remora sealed secret 1";
constexpr std::string_view kVerifierPurpose = "remora key verifier 1";

struct FreeContext {
    void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};
using Context = std::unique_ptr<EVP_CIPHER_CTX, FreeContext>;

const unsigned char* octets(std::span<const std::byte> bytes) {
    return reinterpret_cast<const unsigned char*>(bytes.data());
}
const unsigned char* octets(std::string_view text) {
    return reinterpret_cast<const unsigned char*>(text.data());
}
unsigned char* octets(std::string& text) {
    return reinterpret_cast<unsigned char*>(text.data());
}

std::string hex(std::string_view bytes) {
    constexpr std::string_view kHex = "0123456789abcdef";
    std::string text;
    for (const char c : bytes) {
        const auto byte = static_cast<unsigned char>(c);
        text += {kHex[byte >> 4U], kHex[byte & 0xfU]};
    }
    return text;
}

/// `purpose` and the key, one behind the other.
Secret joined(std::string_view purpose, std::span<const std::byte> key) {
    Secret all(purpose.size() + key.size());
    const auto rest = std::ranges::copy(bytes_of(purpose), all.bytes().begin()).out;
    std::ranges::copy(key, rest);
    return all;
}

/// Names a seal key without telling of it: it has 256 bits that nobody guesses.
std::string id_of(const Secret& key) {
    const Secret input = joined(kIdPurpose, key.bytes());
    std::string digest(SHA256_DIGEST_LENGTH, '\0');
    SHA256(octets(input.bytes()), input.bytes().size(), octets(digest));
    digest.resize(kKeyIdBytes);
    return digest;
}

std::string associated_data(std::string_view key_id, std::string_view owner) {
    std::string data(kSealPurpose);
    data += '\0';
    data += key_id;
    data += owner;
    return data;
}

Result<std::string> random_bytes(SealKeys& keys, std::size_t size) {
    std::string bytes(size, '\0');
    if (auto filled = keys.fill_random(std::as_writable_bytes(std::span(bytes))); !filled) {
        return std::unexpected(filled.error());
    }
    return bytes;
}

std::string mac_of(std::string_view salt, std::span<const std::byte> key) {
    const Secret input = joined(kVerifierPurpose, key);
    std::string mac(SHA256_DIGEST_LENGTH, '\0');
    unsigned size = 0;
    CHECK(HMAC(EVP_sha256(), salt.data(), static_cast<int>(salt.size()), octets(input.bytes()),
               input.bytes().size(), octets(mac), &size) != nullptr);
    CHECK(size == mac.size());
    return mac;
}

std::unexpected<core::Error> no_cipher() {
    return fail(ErrorKind::Internal, "OpenSSL does not do AES-256-GCM");
}

std::unexpected<core::Error> damaged() {
    return fail(ErrorKind::DataLoss,
                "its sealed key was changed, or is that of another volume: the state database is "
                "damaged");
}

}  // namespace

Result<state::SealedSecret> seal(SealKeys& keys,
                                 std::string_view owner,
                                 std::span<const std::byte> secret) {
    CHECK(secret.size() <= kMostSecretBytes);
    const auto key = keys.for_sealing();
    if (!key) {
        return std::unexpected(key.error());
    }
    CHECK(key->bytes().size() == kSealKeyBytes);
    auto nonce = random_bytes(keys, kNonceBytes);
    if (!nonce) {
        return std::unexpected(nonce.error());
    }
    const std::string id = id_of(*key);
    const std::string data = associated_data(id, owner);
    std::string ciphertext(secret.size(), '\0');
    std::string tag(kTagBytes, '\0');
    const Context context(EVP_CIPHER_CTX_new());
    int size = 0;
    const bool done =
        context != nullptr &&
        EVP_EncryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, octets(key->bytes()),
                           octets(*nonce)) == 1 &&
        EVP_EncryptUpdate(context.get(), nullptr, &size, octets(data),
                          static_cast<int>(data.size())) == 1 &&
        EVP_EncryptUpdate(context.get(), octets(ciphertext), &size, octets(secret),
                          static_cast<int>(secret.size())) == 1 &&
        EVP_EncryptFinal_ex(context.get(), octets(ciphertext) + size, &size) == 1 &&
        EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG, kTagBytes, tag.data()) == 1;
    if (!done) {
        return no_cipher();
    }
    state::SealedSecret sealed;
    sealed.set_key_id(id);
    sealed.set_nonce(std::move(*nonce));
    sealed.set_ciphertext(std::move(ciphertext));
    sealed.set_tag(std::move(tag));
    return sealed;
}

Result<Secret> unseal(SealKeys& keys, std::string_view owner, const state::SealedSecret& sealed) {
    const auto key = keys.for_opening();
    if (!key) {
        return std::unexpected(key.error());
    }
    CHECK(key->bytes().size() == kSealKeyBytes);
    const std::string id = id_of(*key);
    if (sealed.key_id() != id) {
        return fail(ErrorKind::FailedPrecondition, "its key is sealed with the seal key " +
                                                       hex(sealed.key_id()) +
                                                       ", and remorad was given " + hex(id));
    }
    if (sealed.nonce().size() != kNonceBytes || sealed.tag().size() != kTagBytes ||
        sealed.ciphertext().size() > kMostSecretBytes) {
        return damaged();
    }
    const std::string data = associated_data(id, owner);
    Secret secret(sealed.ciphertext().size());
    auto* out = reinterpret_cast<unsigned char*>(secret.bytes().data());
    std::string tag = sealed.tag();
    const Context context(EVP_CIPHER_CTX_new());
    int size = 0;
    const bool ready =
        context != nullptr &&
        EVP_DecryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, octets(key->bytes()),
                           octets(sealed.nonce())) == 1 &&
        EVP_DecryptUpdate(context.get(), nullptr, &size, octets(data),
                          static_cast<int>(data.size())) == 1 &&
        EVP_DecryptUpdate(context.get(), out, &size, octets(sealed.ciphertext()),
                          static_cast<int>(sealed.ciphertext().size())) == 1 &&
        EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_SET_TAG, kTagBytes, tag.data()) == 1;
    if (!ready) {
        return no_cipher();
    }
    if (EVP_DecryptFinal_ex(context.get(), out + size, &size) != 1) {
        return damaged();
    }
    return secret;
}

Result<state::KeyVerifier> make_verifier(SealKeys& keys, std::span<const std::byte> key) {
    auto salt = random_bytes(keys, kSaltBytes);
    if (!salt) {
        return std::unexpected(salt.error());
    }
    state::KeyVerifier verifier;
    verifier.set_mac(mac_of(*salt, key));
    verifier.set_salt(std::move(*salt));
    return verifier;
}

bool verifies(const state::KeyVerifier& verifier, std::span<const std::byte> key) {
    const std::string mac = mac_of(verifier.salt(), key);
    return verifier.mac().size() == mac.size() &&
           CRYPTO_memcmp(verifier.mac().data(), mac.data(), mac.size()) == 0;
}

}  // namespace remora::control
