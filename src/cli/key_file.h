// SPDX-License-Identifier: Apache-2.0
// Keys from files: as raw bytes, for the flags of `create` and for a site's file. Never printed.
#pragma once

#include <string>

#include "cli/holdings.h"
#include "cli/site.h"
#include "storage/opicommon.pb.h"

namespace remora::cli {

/// The key of an encrypted volume of this cipher; "-" is the standard input. Throws Refused, which
/// says `what` cannot be used and why, for a file of another size than the cipher's key.
std::string read_key_file(const std::string& what,
                          const std::string& path,
                          opi_api::storage::v1::EncryptionType cipher);

/// Fills in the keys that a site's file says are in files, of what is to be made: what exists has
/// its own. Relative paths are from the folder of `site_file`. Throws Refused.
void read_keys(Site& site, const std::string& site_file, const Holdings& holdings, bool all);

}  // namespace remora::cli
