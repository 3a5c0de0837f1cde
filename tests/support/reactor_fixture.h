// SPDX-License-Identifier: Apache-2.0
// ReactorFixture: runs a test's body as a coroutine on a real reactor of the test's thread.
//
//   TEST_F(ThingTest, Connect_refused_reportsUnavailable) {
//       run([&]() -> Task<> { const auto r = co_await connect(...); EXPECT_FALSE(r); });
//   }
#pragma once

#include <gtest/gtest.h>

#include "tests/support/one_reactor.h"

namespace remora::test {

class ReactorFixture : public testing::Test, public OneReactor {};

}  // namespace remora::test
