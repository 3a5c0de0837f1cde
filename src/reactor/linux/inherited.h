// SPDX-License-Identifier: Apache-2.0
// What a program image leaves to the one that takes its place in the process (execve): descriptors,
// and bytes in a descriptor.
#pragma once

#include <string>
#include <string_view>

#include "core/result.h"
#include "reactor/io.h"

namespace remora::reactor {

/// Bytes for the next image, in memory of their own, whose handle it inherits.
core::Result<Handle> leave_bytes(std::string_view bytes);
/// What leave_bytes() left; closes the handle.
core::Result<std::string> take_bytes(Handle handle);
/// Whether the next image has the handle. Errors: it is none.
core::Result<void> set_inherited(Handle handle, bool inherited);

}  // namespace remora::reactor
