// SPDX-License-Identifier: Apache-2.0
// The compiled .proto files say exactly what the published wire tables (tests/data/wire) say:
// every package, import, service, route, signature, message, field number, type, label, behaviour,
// reference, resource and enum value, and nothing more. Either side's surplus is a failure.
#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "google/api/annotations.pb.h"
#include "google/api/client.pb.h"
#include "google/api/field_behavior.pb.h"
#include "google/api/resource.pb.h"
#include "storage/backend_aio.pb.h"
#include "storage/backend_malloc.pb.h"
#include "storage/backend_null.pb.h"
#include "storage/backend_nvme.pb.h"
#include "storage/frontend_nvme.pb.h"
#include "storage/frontend_virtio_blk.pb.h"
#include "storage/opicommon.pb.h"

namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using google::protobuf::MethodDescriptor;
using nlohmann::json;

// Makes the linker keep every generated file, so that its descriptors are in the pool.
const std::vector<const Descriptor*>& linked_messages() {
    static const std::vector<const Descriptor*> messages{
        opi_api::storage::v1::PciEndpoint::descriptor(),
        opi_api::storage::v1::MallocVolume::descriptor(),
        opi_api::storage::v1::NullVolume::descriptor(),
        opi_api::storage::v1::AioVolume::descriptor(),
        opi_api::storage::v1::NvmePath::descriptor(),
        opi_api::storage::v1::NvmeSubsystem::descriptor(),
        opi_api::storage::v1::VirtioBlk::descriptor()};
    return messages;
}

std::string type_text(const FieldDescriptor& field, const std::string& package) {
    std::string full;
    if (field.message_type() != nullptr) {
        full = field.message_type()->full_name();
    } else if (field.enum_type() != nullptr) {
        full = field.enum_type()->full_name();
    } else {
        return field.type_name();
    }
    const std::string prefix = package + ".";
    return full.starts_with(prefix) ? full.substr(prefix.size()) : full;
}

json field_facts(const FieldDescriptor& field, const std::string& package) {
    json facts{{"name", field.name()},
               {"number", field.number()},
               {"type", type_text(field, package)},
               {"kind", field.type_name()}};
    if (field.is_repeated()) {
        facts["label"] = "repeated";
    } else if (field.has_optional_keyword()) {
        facts["label"] = "optional";
    }
    if (const auto* oneof = field.real_containing_oneof(); oneof != nullptr) {
        facts["oneof"] = oneof->name();
    }
    for (int i = 0; i < field.options().ExtensionSize(google::api::field_behavior); ++i) {
        facts["behavior"].push_back(google::api::FieldBehavior_Name(
            field.options().GetExtension(google::api::field_behavior, i)));
    }
    const auto& reference = field.options().GetExtension(google::api::resource_reference);
    if (!reference.type().empty()) {
        facts["ref"] = reference.type();
    }
    if (!reference.child_type().empty()) {
        facts["ref_child"] = reference.child_type();
    }
    return facts;
}

json message_facts(const Descriptor& message, const std::string& package) {
    json facts{{"name", message.name()}, {"fields", json::array()}};
    if (message.options().HasExtension(google::api::resource)) {
        const auto& resource = message.options().GetExtension(google::api::resource);
        facts["resource"] = {{"type", resource.type()},
                             {"singular", resource.singular()},
                             {"plural", resource.plural()},
                             {"pattern", json(std::vector<std::string>(resource.pattern().begin(),
                                                                       resource.pattern().end()))}};
    }
    for (int i = 0; i < message.field_count(); ++i) {
        facts["fields"].push_back(field_facts(*message.field(i), package));
    }
    return facts;
}

json method_facts(const MethodDescriptor& method) {
    json facts{{"name", method.name()},
               {"path", "/" + method.service()->full_name() + "/" + method.name()}};
    const std::string prefix = method.file()->package() + ".";
    const auto local = [&](const std::string& full) {
        return full.starts_with(prefix) ? full.substr(prefix.size()) : full;
    };
    facts["request"] = local(method.input_type()->full_name());
    facts["response"] = local(method.output_type()->full_name());
    const auto& rule = method.options().GetExtension(google::api::http);
    json http;
    switch (rule.pattern_case()) {
        case google::api::HttpRule::kGet:
            http = {{"verb", "get"}, {"path", rule.get()}};
            break;
        case google::api::HttpRule::kPut:
            http = {{"verb", "put"}, {"path", rule.put()}};
            break;
        case google::api::HttpRule::kPost:
            http = {{"verb", "post"}, {"path", rule.post()}};
            break;
        case google::api::HttpRule::kDelete:
            http = {{"verb", "delete"}, {"path", rule.delete_()}};
            break;
        case google::api::HttpRule::kPatch:
            http = {{"verb", "patch"}, {"path", rule.patch()}};
            break;
        case google::api::HttpRule::kCustom:
        case google::api::HttpRule::PATTERN_NOT_SET:
            break;
    }
    if (!rule.body().empty()) {
        http["body"] = rule.body();
    }
    facts["http"] = http;
    for (int i = 0; i < method.options().ExtensionSize(google::api::method_signature); ++i) {
        facts["signature"].push_back(
            method.options().GetExtension(google::api::method_signature, i));
    }
    return facts;
}

void add_enum_facts(const EnumDescriptor& value_set, const std::string& prefix, json& enums) {
    json values = json::object();
    for (int i = 0; i < value_set.value_count(); ++i) {
        values[value_set.value(i)->name()] = value_set.value(i)->number();
    }
    enums.push_back({{"name", prefix + value_set.name()}, {"values", values}});
}

json file_facts(const FileDescriptor& file) {
    json facts{{"file", file.name()},
               {"package", file.package()},
               {"syntax", FileDescriptor::SyntaxName(file.syntax())},
               {"go_package", file.options().go_package()},
               {"java_package", file.options().java_package()},
               {"imports", json::array()},
               {"services", json::array()},
               {"messages", json::array()},
               {"enums", json::array()}};
    for (int i = 0; i < file.dependency_count(); ++i) {
        facts["imports"].push_back(file.dependency(i)->name());
    }
    for (int i = 0; i < file.service_count(); ++i) {
        json service{{"name", file.service(i)->name()},
                     {"full", file.service(i)->full_name()},
                     {"rpcs", json::array()}};
        for (int m = 0; m < file.service(i)->method_count(); ++m) {
            service["rpcs"].push_back(method_facts(*file.service(i)->method(m)));
        }
        facts["services"].push_back(service);
    }
    for (int i = 0; i < file.enum_type_count(); ++i) {
        add_enum_facts(*file.enum_type(i), "", facts["enums"]);
    }
    for (int i = 0; i < file.message_type_count(); ++i) {
        const Descriptor& message = *file.message_type(i);
        facts["messages"].push_back(message_facts(message, file.package()));
        for (int e = 0; e < message.enum_type_count(); ++e) {
            add_enum_facts(*message.enum_type(e), message.name() + ".", facts["enums"]);
        }
    }
    return facts;
}

json table(const std::string& name) {
    std::ifstream in(std::string(REMORA_WIRE_DATA) + "/" + name + ".json");
    json whole = json::parse(in);
    json file = whole.at("files").at(0);
    auto& imports = file.at("imports").get_ref<json::array_t&>();
    std::sort(imports.begin(), imports.end());
    return file;
}

class WireTable : public testing::TestWithParam<const char*> {};

TEST_P(WireTable, CompiledDescriptor_equalsPublishedTable) {
    ASSERT_EQ(linked_messages().size(), 7U);
    const json want = table(GetParam());
    const FileDescriptor* file =
        DescriptorPool::generated_pool()->FindFileByName(want.at("file").get<std::string>());
    ASSERT_NE(file, nullptr) << want.at("file");

    const json got = file_facts(*file);

    EXPECT_EQ(got, want) << "difference (JSON patch from table to compiled): "
                         << json::diff(want, got).dump(1);
}

INSTANTIATE_TEST_SUITE_P(All,
                         WireTable,
                         testing::Values("opicommon",
                                         "backend_malloc",
                                         "backend_null",
                                         "backend_aio",
                                         "backend_nvme",
                                         "frontend_nvme",
                                         "frontend_virtio_blk"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
