// SPDX-License-Identifier: Apache-2.0
// The OpenAPI document of the services of this build: it names every route that the descriptors
// have and no other, every reference in it leads somewhere, and it is the same each time.
#include "rest/openapi.h"

#include <functional>
#include <set>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "google/api/annotations.pb.h"
#include "remora/v1/remora.pb.h"
#include "storage/backend_aio.pb.h"
#include "storage/backend_malloc.pb.h"
#include "storage/backend_null.pb.h"
#include "storage/backend_nvme.pb.h"
#include "storage/frontend_nvme.pb.h"
#include "storage/frontend_virtio_blk.pb.h"
#include "tests/unit/rest/made_service.h"

namespace remora::test {

namespace {

namespace opi = opi_api::storage::v1;
using nlohmann::json;

std::vector<const google::protobuf::ServiceDescriptor*> all_services() {
    std::vector<const google::protobuf::ServiceDescriptor*> services;
    for (const auto* used :
         {remora::v1::Attachment::descriptor(), opi::MallocVolume::descriptor(),
          opi::NullVolume::descriptor(), opi::AioVolume::descriptor(), opi::NvmePath::descriptor(),
          opi::NvmeSubsystem::descriptor(), opi::VirtioBlk::descriptor()}) {
        for (int i = 0; i < used->file()->service_count(); ++i) {
            services.push_back(used->file()->service(i));
        }
    }
    return services;
}

rest::RouteTable table() {
    auto made = rest::RouteTable::build(all_services());
    EXPECT_TRUE(made) << made.error().message;
    return std::move(*made);
}

TEST(OpenApi, Document_namesEveryRouteAndNoOther) {
    const json document = json::parse(rest::openapi_document(table()));
    std::set<std::string> named;
    for (const auto& [path, operations] : document.at("paths").items()) {
        for (const auto& [verb, operation] : operations.items()) {
            EXPECT_TRUE(named.insert(operation.at("operationId").get<std::string>()).second);
            EXPECT_TRUE(operation.at("responses").contains("200")) << path;
            EXPECT_TRUE(operation.at("responses").contains("default")) << path;
            EXPECT_EQ(verb == "get" || verb == "delete", !operation.contains("requestBody"))
                << verb << " " << path;
        }
    }
    std::set<std::string> wanted;
    for (const auto* service : all_services()) {
        for (int i = 0; i < service->method_count(); ++i) {
            const auto* method = service->method(i);
            if (method->options().HasExtension(google::api::http) && !method->server_streaming()) {
                const auto& rule = method->options().GetExtension(google::api::http);
                wanted.insert(service->name() + "_" + method->name());
                for (int more = 0; more < rule.additional_bindings_size(); ++more) {
                    wanted.insert(service->name() + "_" + method->name() + "_" +
                                  std::to_string(more + 2));
                }
            }
        }
    }
    EXPECT_GT(wanted.size(), 60U);
    EXPECT_EQ(named, wanted);
}

void for_each_value(const json& value, const std::function<void(const json&)>& visit) {
    visit(value);
    for (const json& inner : value) {
        if (value.is_structured()) {
            for_each_value(inner, visit);
        }
    }
}

TEST(OpenApi, Document_isSound) {
    const json document = json::parse(rest::openapi_document(table()));
    EXPECT_EQ(document.at("openapi"), "3.0.3");
    int references = 0;
    for_each_value(document, [&](const json& value) {
        if (!value.is_object() || !value.contains("$ref")) {
            return;
        }
        ++references;
        EXPECT_EQ(value.size(), 1U) << value;  // What stands beside a reference is ignored.
        const auto target = value.at("$ref").get<std::string>();
        ASSERT_TRUE(target.starts_with("#/components/"));
        EXPECT_TRUE(document.contains(json::json_pointer(target.substr(1)))) << target;
    });
    EXPECT_GT(references, 100);
    for (const auto& [path, operations] : document.at("paths").items()) {
        for (const auto& [verb, operation] : operations.items()) {
            std::set<std::string> in_path;
            for (const json& one : operation.value("parameters", json::array())) {
                const auto name = one.at("name").get<std::string>();
                EXPECT_TRUE(one.contains("schema"));
                if (one.at("in") == "path") {
                    EXPECT_TRUE(one.at("required").get<bool>());
                    EXPECT_NE(path.find("{" + name + "}"), std::string::npos)
                        << path << " " << name;
                    EXPECT_TRUE(in_path.insert(name).second) << path;
                }
            }
            EXPECT_EQ(in_path.size(), static_cast<std::size_t>(std::ranges::count(path, '{')))
                << path;
        }
    }
}

TEST(OpenApi, Document_samplesAreAsAClientNeedsThem) {
    const json document = json::parse(rest::openapi_document(table()));
    const json& paths = document.at("paths");
    const json& create = paths.at("/v1/mallocVolumes").at("post");
    EXPECT_EQ(
        create.at("parameters"),
        json::parse(R"([{"name":"mallocVolumeId","in":"query","schema":{"type":"string"}}])"));
    EXPECT_EQ(create.at("requestBody").at("content").at("application/json").at("schema"),
              json::parse(R"({"$ref":"#/components/schemas/opi_api.storage.v1.MallocVolume"})"));
    EXPECT_TRUE(paths.contains("/v1/mallocVolumes/{mallocVolume}:stats"));
    EXPECT_TRUE(
        paths.contains("/v1/nvmeSubsystems/{nvmeSubsystem}/nvmeControllers/{nvmeController}"));
    const json& update = paths.at("/v1/mallocVolumes/{mallocVolume}").at("patch");
    EXPECT_FALSE(update.at("requestBody")
                     .at("content")
                     .at("application/json")
                     .at("schema")
                     .contains("required"));
    const json& schemas = document.at("components").at("schemas");
    EXPECT_EQ(schemas.at("opi_api.storage.v1.MallocVolume").at("required"),
              json::parse(R"(["blockSize","blocksCount"])"));
    EXPECT_EQ(schemas.at("opi_api.storage.v1.MallocVolume").at("properties").at("blockSize"),
              json::parse(R"({"type":"string","format":"int64"})"));
    EXPECT_EQ(schemas.at("opi_api.storage.v1.NvmeMultipath").at("enum").at(1),
              "NVME_MULTIPATH_DISABLE");
    EXPECT_TRUE(
        schemas.at("remora.v1.Attachment").at("properties").at("state").at("readOnly").get<bool>());
}

TEST(OpenApi, Document_isTheSameEachTime) {
    auto services = all_services();
    const std::string first = rest::openapi_document(*rest::RouteTable::build(services));
    std::ranges::reverse(services);
    EXPECT_EQ(rest::openapi_document(*rest::RouteTable::build(services)), first);
}

TEST(OpenApi, Path_wildcards_haveNamesOfTheirOwn) {
    const std::pair<const char*, const char*> cases[] = {
        {"/v1/volumes", "/v1/volumes"},
        {"/v1/{name=volumes/*}:stats", "/v1/volumes/{volume}:stats"},
        {"/v1/{name=inventory/*/inventory/*}",
         "/v1/inventory/{inventoryId}/inventory/{inventoryId2}"},
        {"/v1/{all=**}", "/v1/{rest}"},
        {"/v1/{id}", "/v1/{segment}"},
        {"/{a=*}/{b=*}", "/{segment}/{segment2}"},
    };
    for (const auto& [text, path] : cases) {
        EXPECT_EQ(rest::openapi_path(*rest::PathTemplate::parse(text)), path) << text;
    }
}

}  // namespace

}  // namespace remora::test
