// SPDX-License-Identifier: Apache-2.0
// Both kinds of ring, as the parameter of a test.
#pragma once

#include <string>

#include <gtest/gtest.h>

#include "tests/support/driver_ring.h"

namespace remora::test {

/// A name for each kind of ring, behind the test's own.
inline std::string ring_name(const testing::TestParamInfo<RingKind>& info) {
    return info.param == RingKind::Packed ? "packed" : "split";
}
/// The rings that every suite runs over.
inline auto both_rings() {
    return testing::Values(RingKind::Split, RingKind::Packed);
}

}  // namespace remora::test
