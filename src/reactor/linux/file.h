// SPDX-License-Identifier: Apache-2.0
// Files through the reactor's ring: direct I/O where the file system can, flush is fdatasync.
#pragma once

#include <memory>
#include <string>

#include "core/result.h"
#include "reactor/io.h"
#include "reactor/linux/ring.h"

namespace remora::reactor {

core::Result<std::unique_ptr<File>> open_linux_file(Ring& ring,
                                                    const std::string& path,
                                                    const FileOptions& options);

}  // namespace remora::reactor
