// SPDX-License-Identifier: Apache-2.0
// SealKeyFile: the seal key in a file: one that an operator gives, one of systemd's credentials, or
// one that is made in the state folder when the first secret is to be sealed. It is read for each
// sealing and opening, and wiped; blocks for as long as that takes.
//
// A key that lies beside the state it seals keeps whoever has the database alone from its secrets
// (a backup, a disk of the state folder's that is thrown away in part), not who has the folder.
#pragma once

#include <string>

#include "control/seal_keys.h"

namespace remora::control {

struct SealKeyPlace {
    enum class Origin {
        Option,      ///< `--seal-key`.
        Credential,  ///< systemd's LoadCredential= or LoadCredentialEncrypted=.
        Own,         ///< In the state folder; made at first need.
    };
    Origin origin = Origin::Own;
    std::string path;
};

/// The first of the three that there is. `option` and `credentials` (the folder) may be empty.
SealKeyPlace find_seal_key(const std::string& option,
                           const std::string& credentials,
                           const std::string& state_directory);

class SealKeyFile final : public SealKeys {
  public:
    explicit SealKeyFile(SealKeyPlace place) : place_(std::move(place)) {}

    /// Whether the file can be used, if somebody else is to make it: to be asked at start. Errors:
    /// FailedPrecondition for one that others may read or that has another size; NotFound.
    [[nodiscard]] core::Result<void> check() const;

    core::Result<Secret> for_sealing() override;
    core::Result<Secret> for_opening() override;
    core::Result<void> fill_random(std::span<std::byte> out) override;

  private:
    [[nodiscard]] core::Result<Secret> read() const;
    /// Whole or not at all, whatever ends the process: written aside, synced, then renamed.
    core::Result<void> make();

    SealKeyPlace place_;
};

}  // namespace remora::control
