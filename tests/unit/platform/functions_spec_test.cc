// SPDX-License-Identifier: Apache-2.0
#include "platform/functions_spec.h"

#include <gtest/gtest.h>

namespace remora::test {
namespace {

using platform::FunctionPlaces;
using platform::parse_functions;
using platform::PciPlace;

TEST(FunctionsSpecTest, EveryForm_isRead) {
    const auto places = parse_functions("rp0,br1:3,br2:30-31,port[8-9]");
    ASSERT_TRUE(places);
    const FunctionPlaces wanted{{0, {"rp0", 0}},  {1, {"br1", 3}},   {2, {"br2", 30}},
                                {3, {"br2", 31}}, {4, {"port8", 0}}, {5, {"port9", 0}}};
    EXPECT_EQ(*places, wanted);
    EXPECT_EQ(parse_functions("br1:1-31,br2:1-31,br3:1-2")->size(), 64U);
    EXPECT_EQ(parse_functions("rp[0-63]")->size(), 64U);
}

TEST(FunctionsSpecTest, WrongForms_areRefused) {
    for (const char* spec : {"",
                             ",",
                             "a,",
                             ":3",
                             "a:",
                             "a:x",
                             "a:3-",
                             "a:5-3",
                             "a:32",
                             "a:0-32",
                             "a[",
                             "a[1-",
                             "a[1-2]x",
                             "[1-2]",
                             "a b",
                             "a,a",
                             "a:1-3,a:2",
                             "rp[0-64]",
                             "rp[0-4294967295]",
                             "rp[1-99999999999]"}) {
        const auto places = platform::parse_functions(spec);
        ASSERT_FALSE(places) << spec;
        EXPECT_EQ(places.error().kind, core::ErrorKind::InvalidArgument) << spec;
    }
}

TEST(FunctionsSpecTest, VirtualFunctions_areDealtToTheirOwn) {
    FunctionPlaces places = *parse_functions("rp[0-2]");
    ASSERT_TRUE(platform::add_virtual_functions("2=br1:3-4,vp[0-1]", places));
    ASSERT_TRUE(platform::add_virtual_functions("0=br1:1", places));

    EXPECT_EQ(places.at({2, 1}), (PciPlace{"br1", 3}));
    EXPECT_EQ(places.at({2, 4}), (PciPlace{"vp1", 0}));
    EXPECT_EQ(places.at({0, 1}), (PciPlace{"br1", 1}));
    const platform::FunctionCounts counts = platform::count(places);
    EXPECT_EQ(counts.physical, 3U);
    EXPECT_EQ(counts.virtual_functions(0), 1U);
    EXPECT_EQ(counts.virtual_functions(1), 0U);
    EXPECT_EQ(counts.virtual_functions(2), 4U);
    EXPECT_EQ(counts.all_virtual(), 5U);
    FunctionPlaces full = *parse_functions("rp0,rp1");
    EXPECT_TRUE(platform::add_virtual_functions("0=br1:0-31", full));
    EXPECT_TRUE(platform::add_virtual_functions("1=br2:0-31", full));
    EXPECT_FALSE(platform::add_virtual_functions("0=br3:1", full));
}

TEST(FunctionsSpecTest, VirtualFunctions_wrongForms_areRefused) {
    for (const char* spec :
         {"", "=", "br1:3", "0", "0=", "x=br1:3", "-1=br1:3", "0=,", "0=br1:x", "3=br1:3", "0=rp1",
          "0=br1:3,br1:3", "1=br1:3", "0=br1:1-31,br2:1-31,br3:1-3", "0=vp[0-64]",
          "0=vp[0-4294967295]", "0=br1:32"}) {
        FunctionPlaces places = *parse_functions("rp[0-2]");
        ASSERT_TRUE(platform::add_virtual_functions("1=br9:1", places));
        const auto added = platform::add_virtual_functions(spec, places);
        ASSERT_FALSE(added) << spec;
        EXPECT_EQ(added.error().kind, core::ErrorKind::InvalidArgument) << spec;
    }
}

}  // namespace
}  // namespace remora::test
