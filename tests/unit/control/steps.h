// SPDX-License-Identifier: Apache-2.0
// Steps: each step of a fake that has an effect. A test can make the Nth fail, or let the world
// stop at the Nth (from then on nothing has an effect any more, as after kill -9: the code under
// test may run on, its world does not notice).
#pragma once

#include <string>

#include "core/result.h"

namespace remora::test {

using core::ErrorKind;
using core::fail;
using core::Result;

struct Steps {
    int taken = 0;
    int fail_at = 0;   ///< This step fails; 0: none.
    int crash_at = 0;  ///< This step and all after it fail; 0: none.

    Result<void> take(const std::string& what) {
        ++taken;
        if (taken == fail_at || (crash_at != 0 && taken >= crash_at)) {
            return fail(ErrorKind::Unavailable, "injected: " + what);
        }
        return {};
    }
};

}  // namespace remora::test
