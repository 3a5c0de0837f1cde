// SPDX-License-Identifier: Apache-2.0
// The program image that takes this one's place in the process, and what one gives to the next:
// bytes in a descriptor, whose number is in the environment.
#pragma once

#include "control/handover.h"
#include "core/result.h"

namespace remora::apps {

/// What the image before this one gave; empty when there was none. Once, before there are threads.
core::Result<control::Handover> inherited_handover();

/// Whether `argv` names a program that can be started now. Errors: FailedPrecondition.
core::Result<void> check_successor(char** argv);
/// Goes on as the program that `argv` names, with these descriptors open. Returns only on an error.
core::Error become_successor(char** argv, const control::Handover& handover);

}  // namespace remora::apps
