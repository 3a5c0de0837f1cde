// SPDX-License-Identifier: Apache-2.0
// Sealing: how a secret lies in the store (AES-256-GCM, NIST SP 800-38D, by OpenSSL), and how one
// is recognised without being known (HMAC-SHA-256 under a random salt).
//
// Nonces are 96 random bits: a seal key may seal 2^32 secrets (SP 800-38D, 8.3). `owner` and the
// seal key's identifier are associated data, so a sealed secret opens for nobody else.
//
// A verifier tells a guess from the key, so it is safe beside keys of random bytes, which cannot be
// guessed, and not beside passwords.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "control/seal_keys.h"
#include "remora/state/v1/state.pb.h"

namespace remora::control {

/// Errors: those of `keys`; Internal.
core::Result<remora::state::v1::SealedSecret> seal(SealKeys& keys,
                                                   std::string_view owner,
                                                   std::span<const std::byte> secret);

/// Errors: those of `keys`; FailedPrecondition when it needs another seal key; DataLoss when it was
/// changed, or is another owner's.
core::Result<Secret> unseal(SealKeys& keys,
                            std::string_view owner,
                            const remora::state::v1::SealedSecret& sealed);

/// Errors: those of `keys`; Internal.
core::Result<remora::state::v1::KeyVerifier> make_verifier(SealKeys& keys,
                                                           std::span<const std::byte> key);
/// Whether `key` is the one that the verifier was made of.
bool verifies(const remora::state::v1::KeyVerifier& verifier, std::span<const std::byte> key);

}  // namespace remora::control
