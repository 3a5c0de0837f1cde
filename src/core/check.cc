// SPDX-License-Identifier: Apache-2.0
#include "core/check.h"

#include <cstdio>
#include <cstdlib>

namespace remora::core {

void check_failed(const char* file, int line, const char* expression) noexcept {
    std::fprintf(stderr, "remora: CHECK failed at %s:%d: %s\n", file, line, expression);
    std::fflush(stderr);
    std::abort();
}

}  // namespace remora::core
