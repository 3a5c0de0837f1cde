// SPDX-License-Identifier: Apache-2.0
// Which route a request takes, and which rules are refused at start.
#include "rest/routes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/rest/made_service.h"

namespace remora::test {

namespace {

using rest::RequestPath;
using rest::RouteTable;

std::string chosen(const RouteTable& table, const std::string& verb, const std::string& path) {
    const auto match = table.find(verb, *RequestPath::parse(path));
    if (match.route != nullptr) {
        return match.route->method->name();
    }
    std::string allowed;
    for (const std::string& one : match.allowed) {
        allowed += (allowed.empty() ? "" : ",") + one;
    }
    return "(" + allowed + ")";
}

TEST(RouteTable, Find_mostSpecificWins_whateverTheOrder) {
    MadeServices made;
    const std::vector<MadeCall> calls = {
        {"Any", "GET", "/v1/{volume_uuid=**}"},
        {"Get", "GET", "/v1/{volume_uuid=volumes/*}"},
        {"Stats", "GET", "/v1/{volume_uuid=volumes/*}:stats"},
        {"Reset", "POST", "/v1/{volume_uuid=volumes/*}:reset", "*"},
        {"Special", "GET", "/v1/volumes/special"},
        {"List", "GET", "/v1/volumes"},
        {"Create", "POST", "/v1/volumes", "*"},
        {"Drop", "DELETE", "/v1/{volume_uuid=volumes/*}"},
        {"Odd", "LOCK", "/v1/{volume_uuid=volumes/*}"},
    };
    std::vector<MadeCall> reversed(calls.rbegin(), calls.rend());
    for (const auto* service : {made.add("Forward", calls), made.add("Backward", reversed)}) {
        ASSERT_NE(service, nullptr);
        const auto table = RouteTable::build({service});
        ASSERT_TRUE(table) << table.error().message;
        EXPECT_EQ(chosen(*table, "GET", "/v1/volumes"), "List");
        EXPECT_EQ(chosen(*table, "POST", "/v1/volumes"), "Create");
        EXPECT_EQ(chosen(*table, "GET", "/v1/volumes/special"), "Special");
        EXPECT_EQ(chosen(*table, "GET", "/v1/volumes/a"), "Get");
        EXPECT_EQ(chosen(*table, "GET", "/v1/volumes/a:stats"), "Stats");
        EXPECT_EQ(chosen(*table, "GET", "/v1/volumes/a:b"), "Get");
        EXPECT_EQ(chosen(*table, "GET", "/v1/volumes/a:reset"), "(POST)");
        EXPECT_EQ(chosen(*table, "GET", "/v1/volumes/a/b"), "Any");
        EXPECT_EQ(chosen(*table, "DELETE", "/v1/volumes/a"), "Drop");
        EXPECT_EQ(chosen(*table, "LOCK", "/v1/volumes/a"), "Odd");
        EXPECT_EQ(chosen(*table, "PUT", "/v1/volumes/a"), "(DELETE,GET,LOCK)");
        EXPECT_EQ(chosen(*table, "GET", "/v2/volumes"), "()");
    }
}

TEST(RouteTable, Build_twoOfOneShape_theLastNameHasIt) {
    MadeServices made;
    // As in OPI's storage API, where both kinds list themselves at /v1/volumes.
    const auto* encryption =
        made.add("MiddleendEncryptionService", {{"ListEncryptedVolumes", "GET", "/v1/volumes"}});
    const auto* qos =
        made.add("MiddleendQosVolumeService", {{"ListQosVolumes", "GET", "/v1/volumes"}});
    for (const auto& order : {std::vector{encryption, qos}, std::vector{qos, encryption}}) {
        const auto table = RouteTable::build(order);
        ASSERT_TRUE(table);
        EXPECT_EQ(chosen(*table, "GET", "/v1/volumes"), "ListQosVolumes");
        ASSERT_EQ(table->hidden().size(), 1U);
        EXPECT_EQ(table->hidden()[0].method->name(), "ListEncryptedVolumes");
    }
}

TEST(RouteTable, Build_additionalBindings_areRoutes) {
    MadeServices made;
    const auto* service = made.add("Several", {{"Get",
                                                "GET",
                                                "/v1/a/{volume_uuid}",
                                                "",
                                                "remora.v1.AttachVolumeRequest",
                                                "remora.v1.Attachment",
                                                {{"GET", "/v1/b/{hostnqn}"}, {"PUT", "/v1/b"}}}});
    const auto table = RouteTable::build({service});

    ASSERT_TRUE(table);
    ASSERT_EQ(table->routes().size(), 3U);
    EXPECT_EQ(table->routes()[2].binding, 2);
    EXPECT_EQ(chosen(*table, "GET", "/v1/b/x"), "Get");
    EXPECT_EQ(chosen(*table, "PUT", "/v1/b"), "Get");
}

TEST(RouteTable, Build_senselessRules_areRefused) {
    const MadeCall cases[] = {
        {"NoPattern", "", ""},
        {"NoPath", "GET", ""},
        {"BadPath", "GET", "/v1/{"},
        {"NoField", "GET", "/v1/{nothing=a/*}"},
        {"MessageField", "GET", "/v1/{discovery=a/*}"},
        {"NoSuchBody", "POST", "/v1/a", "nothing"},
        {"ScalarBody", "POST", "/v1/a", "volume_uuid"},
        {"NoSuchResponse",
         "GET",
         "/v1/a",
         "",
         "remora.v1.AttachVolumeRequest",
         "remora.v1.Attachment",
         {},
         "nothing"},
    };
    for (const MadeCall& call : cases) {
        MadeServices made;
        const auto* service = made.add(call.name, {call});
        ASSERT_NE(service, nullptr) << call.name;
        const auto table = RouteTable::build({service});
        ASSERT_FALSE(table) << call.name;
        EXPECT_THAT(table.error().message, testing::HasSubstr("made." + call.name)) << call.name;
    }
}

}  // namespace

}  // namespace remora::test
