// SPDX-License-Identifier: Apache-2.0
// Mappings of memory shared with a process that may be hostile.
#pragma once

#include <memory>

#include "core/result.h"
#include "reactor/io.h"

namespace remora::reactor {

core::Result<std::unique_ptr<Mapping>> map_shared_memory(Handle handle,
                                                         std::uint64_t offset,
                                                         std::uint64_t size);
core::Result<Handle> create_memfd(std::uint64_t size);

}  // namespace remora::reactor
