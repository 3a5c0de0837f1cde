// SPDX-License-Identifier: Apache-2.0
// From a route's path, query and body to the call's request, masks of updates among it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rest/request_binder.h"
#include "tests/unit/rest/made_service.h"

namespace remora::test {

namespace {

using rest::RequestPath;
using rest::RouteTable;
using testing::HasSubstr;

constexpr const char* kOpi = "opi_api.storage.v1.";

class Binding : public testing::Test {
  public:
    Binding() {
        const std::string opi(kOpi);
        const auto* service = made_.add(
            "Bound",
            {{"Attach", "POST", "/v1/attachments", "*"},
             {"Detach", "POST", "/v1/{volume_uuid=disks/*}:detach", "*",
              "remora.v1.DetachVolumeRequest"},
             {"Find", "GET", "/v1/find/{discovery.traddr}"},
             {"Drop", "GET", "/v1/drop", "", "remora.v1.DetachVolumeRequest"},
             {"Create", "POST", "/v1/mallocVolumes", "malloc_volume",
              opi + "CreateMallocVolumeRequest", opi + "MallocVolume"},
             {"Update", "PATCH", "/v1/{malloc_volume.name=mallocVolumes/*}", "malloc_volume",
              opi + "UpdateMallocVolumeRequest", opi + "MallocVolume"},
             {"UpdateSubsystem", "PATCH", "/v1/{nvme_subsystem.name=nvmeSubsystems/*}",
              "nvme_subsystem", opi + "UpdateNvmeSubsystemRequest", opi + "NvmeSubsystem"}});
        table_ = std::move(*RouteTable::build({service}));
    }

    /// The request's text form, or the error's sentence.
    std::string bound(const std::string& verb,
                      const std::string& path,
                      const std::string& query,
                      const std::string& body = "") {
        const auto parsed = RequestPath::parse(path);
        const auto match = table_.find(verb, *parsed);
        EXPECT_NE(match.route, nullptr) << path;
        const auto request = rest::bind_request(
            *match.route, {match.route->path.capture(*parsed), *rest::parse_query(query), body});
        return request ? (*request)->ShortDebugString() : request.error().message;
    }

  private:
    MadeServices made_;
    RouteTable table_;
};

TEST_F(Binding, WholeBody_pathHasTheLastWord_queryNone) {
    EXPECT_EQ(bound("POST", "/v1/attachments", "hostnqn=q",
                    R"({"discovery":{"traddr":"a"},"hostFunction":3,"unknown":[{}]})"),
              "discovery { traddr: \"a\" } host_function: 3");
    EXPECT_EQ(bound("POST", "/v1/disks/u:detach", "", R"({"hostFunction":1,"allowMissing":true})"),
              "volume_uuid: \"disks/u\" allow_missing: true");
    EXPECT_EQ(bound("POST", "/v1/disks/u:detach", ""), "volume_uuid: \"disks/u\"");
    EXPECT_EQ(bound("POST", "/v1/attachments", "", "[]"), "body: an object is wanted");
}

TEST_F(Binding, FieldBody_restIsQuery_inEitherSpelling) {
    const char* body = R"({"blockSize":"512","blocks_count":8})";
    const char* whole =
        "malloc_volume { block_size: 512 blocks_count: 8 } malloc_volume_id: \"disk0\"";
    EXPECT_EQ(bound("POST", "/v1/mallocVolumes", "malloc_volume_id=disk0", body), whole);
    EXPECT_EQ(bound("POST", "/v1/mallocVolumes", "mallocVolumeId=disk0&no=thing&no.thing=1", body),
              whole);
    // What the body carries is not to be had from the query.
    EXPECT_EQ(bound("POST", "/v1/mallocVolumes", "mallocVolumeId=disk0&mallocVolume.uuid=x", body),
              whole);
}

TEST_F(Binding, Query_nestedFieldsAndTypes) {
    EXPECT_EQ(
        bound("GET", "/v1/find/10.0.0.1",
              "discovery.trsvcid=4420&discovery.traddr=x&hostFunction=%37&hostnqn=a+b"),
        "discovery { traddr: \"10.0.0.1\" trsvcid: \"4420\" } host_function: 7 hostnqn: \"a b\"");
    EXPECT_EQ(bound("GET", "/v1/drop", "allow_missing=1&volumeUuid=u&volumeUuid=w"),
              "volume_uuid: \"w\" allow_missing: true");
    EXPECT_EQ(bound("GET", "/v1/drop", "allow_missing=yes"),
              "query parameter allow_missing: true or false is wanted");
    EXPECT_EQ(bound("GET", "/v1/drop", "host_function=99999999999"),
              "query parameter host_function: an integer of 32 bits is wanted");
    EXPECT_EQ(bound("GET", "/v1/find/a", "discovery=x"),
              "query parameter discovery: it has fields of its own; name one of them");
    EXPECT_EQ(bound("GET", "/v1/drop", "host_function=1&volumeUuid=u"),
              "query parameter volumeUuid: another one of \"disk\" is given, too");
}

TEST_F(Binding, Patch_withoutMask_takesItFromTheBody) {
    EXPECT_EQ(bound("PATCH", "/v1/mallocVolumes/a", "", R"({"blocksCount":9,"name":"other"})"),
              "malloc_volume { name: \"mallocVolumes/a\" blocks_count: 9 } "
              "update_mask { paths: \"blocks_count\" }");
    // What the server alone writes is no wish, so that an answer of GET can be sent back.
    EXPECT_EQ(bound("PATCH", "/v1/nvmeSubsystems/a", "",
                    R"({"name":"x","spec":{"nqn":"n","maxNamespaces":"5","none":1,"psk":null},)"
                    R"("status":{"firmwareRevision":"1"}})"),
              "nvme_subsystem { name: \"nvmeSubsystems/a\" spec { nqn: \"n\" max_namespaces: 5 } "
              "status { firmware_revision: \"1\" } } update_mask { paths: \"spec.max_namespaces\" "
              "paths: \"spec.nqn\" paths: \"spec.psk\" }");
    EXPECT_THAT(bound("PATCH", "/v1/nvmeSubsystems/a", "", R"({"spec":{}})"),
                HasSubstr("update_mask { paths: \"spec\" }"));
    for (const char* body : {"", "{}", R"({"name":"x"})", R"({"unknown":1})"}) {
        EXPECT_THAT(bound("PATCH", "/v1/mallocVolumes/a", "", body),
                    HasSubstr("the body names no field to change"));
    }
}

TEST_F(Binding, Patch_withMask_takesThat) {
    const char* body = R"({"blocksCount":9,"blockSize":512})";
    for (const char* query :
         {"update_mask=blocks_count", "updateMask=blocksCount", "update_mask.paths=blocks_count"}) {
        EXPECT_THAT(bound("PATCH", "/v1/mallocVolumes/a", query, body),
                    HasSubstr("update_mask { paths: \"blocks_count\" }"));
    }
    EXPECT_THAT(bound("PATCH", "/v1/mallocVolumes/a", "updateMask=*", body),
                HasSubstr("update_mask { paths: \"*\" }"));
    EXPECT_THAT(bound("PATCH", "/v1/mallocVolumes/a", "updateMask=uuid,blockSize", body),
                HasSubstr("update_mask { paths: \"uuid\" paths: \"block_size\" }"));
    for (const char* mask : {"Z.b", "_z", "a__b", "a_B", "a_", "a.", ".a", "a_1", "1a"}) {
        EXPECT_THAT(bound("PATCH", "/v1/mallocVolumes/a", std::string("updateMask=") + mask, body),
                    HasSubstr("paths of fields"))
            << mask;
    }
    EXPECT_THAT(bound("PATCH", "/v1/mallocVolumes/a", "updateMask=a,,b", body),
                HasSubstr("query parameter updateMask: paths of fields"));
}

}  // namespace

}  // namespace remora::test
