// SPDX-License-Identifier: Apache-2.0
#include "core/host_function.h"

#include <gtest/gtest.h>

namespace remora::test {
namespace {

using core::HostFunction;

TEST(HostFunctionTest, Text_isReadBack_andIsTheOnlyOne) {
    for (const HostFunction function :
         {HostFunction(0), HostFunction(63), HostFunction(3, 2), HostFunction(0, 1),
          HostFunction(4294967295U, 4294967295U)}) {
        EXPECT_EQ(HostFunction::parse(function.text()), function) << function.text();
    }
    EXPECT_EQ(HostFunction(3).text(), "3");
    EXPECT_EQ(HostFunction(3, 2).text(), "3.2");
    for (const char* text : {"", ".", "3.", ".2", "3.0", "03", "3.02", "3.2.1", "-1", "3.-2", "+3",
                             " 3", "3 ", "3,2", "0x3", "4294967296", "3.4294967296", "three"}) {
        EXPECT_FALSE(HostFunction::parse(text)) << text;
    }
}

TEST(HostFunctionTest, Order_isThePhysicalOne_thenItsVirtualOnes) {
    EXPECT_LT(HostFunction(1), HostFunction(1, 1));
    EXPECT_LT(HostFunction(1, 9), HostFunction(2));
    EXPECT_LT(HostFunction(1, 9), HostFunction(1, 10));
}

}  // namespace
}  // namespace remora::test
