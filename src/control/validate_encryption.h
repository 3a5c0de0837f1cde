// SPDX-License-Identifier: Apache-2.0
// Rules for encrypted volumes. Pure functions.
#pragma once

#include <memory>

#include "core/result.h"
#include "services/crypto/xts_key.h"
#include "storage/middleend_encryption.pb.h"

namespace remora::control {

/// The key, as the cipher has it. Errors: InvalidArgument for a cipher that is not there, a key of
/// another length than the cipher's, or one of two equal halves; none of them shows the key.
core::Result<std::unique_ptr<const services::crypto::XtsKey>> read_key(
    const opi_api::storage::v1::EncryptedVolume& volume);

}  // namespace remora::control
