// SPDX-License-Identifier: Apache-2.0
// Commands on arrays and on volumes with checksums that are no verb of every kind.
#pragma once

#include <cstdint>
#include <string>

#include "cli/client.h"

namespace remora::cli {

struct ScrubFlags {
    std::string kind;  ///< raid or integrity.
    std::string name;
    bool cancel = false;
    bool wait = false;  ///< Until it has ended, with its progress.
};

void scrub(const Session& session, const ScrubFlags& flags);

struct ReplaceFlags {
    std::string array;
    std::string member;
    std::string with;  ///< "": the member itself.
    bool wait = false;
};

void replace_member(const Session& session, const ReplaceFlags& flags);

struct RekeyFlags {
    std::string name;
    std::string key_file;
    std::uint32_t background_mbs = 0;  ///< 0: the default.
    bool wait = false;
};

/// Without a key file: how far it is.
void rekey(const Session& session, const RekeyFlags& flags);

void remove_member(const Session& session, const std::string& array, const std::string& member);

}  // namespace remora::cli
