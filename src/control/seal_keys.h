// SPDX-License-Identifier: Apache-2.0
// SealKeys: where the key comes from that secrets are sealed with in the store, and the random
// bytes that sealing takes. Behind an interface so that tests and a simulation need no files and
// leave nothing to chance.
#pragma once

#include <cstddef>
#include <span>

#include "control/secret.h"
#include "core/result.h"

namespace remora::control {

constexpr std::size_t kSealKeyBytes = 32;

class SealKeys {
  public:
    virtual ~SealKeys() = default;
    /// To seal with: made where there is none yet. Of kSealKeyBytes, kept no longer than the act
    /// takes. Errors say what would be right.
    virtual core::Result<Secret> for_sealing() = 0;
    /// To open what was sealed: never made.
    virtual core::Result<Secret> for_opening() = 0;
    /// Errors: Internal.
    virtual core::Result<void> fill_random(std::span<std::byte> out) = 0;
};

}  // namespace remora::control
