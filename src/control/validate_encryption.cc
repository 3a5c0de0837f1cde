// SPDX-License-Identifier: Apache-2.0
#include "control/validate_encryption.h"

#include <array>
#include <string>

#include "control/secret.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;
using services::crypto::XtsKey;
namespace opi = opi_api::storage::v1;

namespace {

struct Cipher {
    opi::EncryptionType type;
    const char* name;
    std::size_t key_bytes;
};
constexpr std::array kCiphers{Cipher{opi::ENCRYPTION_TYPE_AES_XTS_128, "AES_XTS_128", 32},
                              Cipher{opi::ENCRYPTION_TYPE_AES_XTS_256, "AES_XTS_256", 64}};

}  // namespace

Result<std::unique_ptr<const XtsKey>> read_key(const opi::EncryptedVolume& volume) {
    for (const Cipher& cipher : kCiphers) {
        if (cipher.type != volume.cipher()) {
            continue;
        }
        if (volume.key().size() != cipher.key_bytes) {
            return fail(ErrorKind::InvalidArgument,
                        "encrypted_volume.key: expected key size " +
                            std::to_string(cipher.key_bytes) + "b, provided size " +
                            std::to_string(volume.key().size()) + "b; " + cipher.name + " takes " +
                            std::to_string(cipher.key_bytes) +
                            " bytes: the key of the data, then as long a one of the tweaks");
        }
        auto key = XtsKey::create(bytes_of(volume.key()));
        if (!key) {
            return fail("encrypted_volume.key", key.error());
        }
        return key;
    }
    return fail(ErrorKind::InvalidArgument,
                "encrypted_volume.cipher: " + opi::EncryptionType_Name(volume.cipher()) +
                    " is not there; use ENCRYPTION_TYPE_AES_XTS_256 or "
                    "ENCRYPTION_TYPE_AES_XTS_128");
}

}  // namespace remora::control
