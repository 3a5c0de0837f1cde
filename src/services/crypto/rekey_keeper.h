// SPDX-License-Identifier: Apache-2.0
// RekeyKeeper: makes the change of a volume's key survive a crash. RekeyPoint: what it keeps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/result.h"
#include "reactor/task.h"

namespace remora::services::crypto {

/// What has to be known after a crash. Blocks.
struct RekeyPoint {
    std::uint64_t position = 0;     ///< All before has the next key.
    std::uint32_t block_count = 0;  ///< From there on: has either; 0: none.
    std::vector<std::byte> marks;   ///< Of these: one of each sector (rekey_worker.h).
};

/// Who keeps the desired state makes the progress durable. On the control reactor. It waits for no
/// lock that is held while a Rekey is stopped. On an error what was kept before is still there.
class RekeyKeeper {
  public:
    virtual reactor::Task<core::Result<void>> keep_rekey(std::string volume, RekeyPoint point) = 0;
    /// The next key is the volume's only one.
    virtual reactor::Task<core::Result<void>> finish_rekey(std::string volume) = 0;

  protected:
    ~RekeyKeeper() = default;
};

struct RekeyProgress {
    std::uint64_t done_blocks = 0;
    std::uint64_t total_blocks = 0;
    std::string trouble;  ///< Why it does not go on; empty: it does.
};

}  // namespace remora::services::crypto
