// SPDX-License-Identifier: Apache-2.0
// Rules for volumes. Pure functions.
#pragma once

#include "control/model.h"
#include "core/result.h"
#include "core/uuid.h"

namespace remora::control {

/// Errors: InvalidArgument naming the field, or Unimplemented.
core::Result<void> validate(const opi::MallocVolume& volume);
core::Result<void> validate(const opi::NullVolume& volume);
core::Result<void> validate(const opi::AioVolume& volume);

/// A UUID field: the text's value; nil for an empty text.
core::Result<core::Uuid> read_uuid(std::string_view field, const std::string& text);

}  // namespace remora::control
