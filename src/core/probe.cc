// SPDX-License-Identifier: Apache-2.0
#include "core/probe.h"

#ifdef REMORA_PROBES

namespace remora::core::probe {

Hooks hooks;

// The linker makes these two around the section; weak, for a program without a single mark.
extern const Mark kMarksBegin[] __asm__("__start_remora_marks") __attribute__((weak));
extern const Mark kMarksEnd[] __asm__("__stop_remora_marks") __attribute__((weak));

std::span<const Mark> marks() {
    if (kMarksBegin == nullptr) {
        return {};
    }
    return {kMarksBegin, kMarksEnd};
}

}  // namespace remora::core::probe

#endif
