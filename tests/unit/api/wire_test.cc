// SPDX-License-Identifier: Apache-2.0
// The compiled .proto files say exactly what the published wire tables (tests/data/wire) say:
// every package, import, service, route, signature, message, field number, type, label, behaviour,
// reference, resource and enum value, and nothing more: an option that the tables do not speak of
// is a fact "surplus". Either side's surplus is a failure.
#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "google/api/annotations.pb.h"
#include "google/api/client.pb.h"
#include "google/api/field_behavior.pb.h"
#include "google/api/resource.pb.h"
#include "inventory/inventory.pb.h"
#include "storage/backend_aio.pb.h"
#include "storage/backend_malloc.pb.h"
#include "storage/backend_null.pb.h"
#include "storage/backend_nvme.pb.h"
#include "storage/frontend_nvme.pb.h"
#include "storage/frontend_virtio_blk.pb.h"
#include "storage/frontend_virtio_scsi.pb.h"
#include "storage/middleend_encryption.pb.h"
#include "storage/middleend_qos_volume.pb.h"
#include "storage/opicommon.pb.h"

namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using google::protobuf::Message;
using google::protobuf::MethodDescriptor;
using google::protobuf::ServiceDescriptor;
using nlohmann::json;

constexpr std::array kTables{"opicommon",
                             "backend_malloc",
                             "backend_null",
                             "backend_aio",
                             "backend_nvme",
                             "frontend_nvme",
                             "frontend_virtio_blk",
                             "frontend_virtio_scsi",
                             "middleend_encryption",
                             "middleend_qos_volume",
                             "inventory"};

// Makes the linker keep every generated file, so that its descriptors are in the pool.
const std::vector<const Descriptor*>& linked_messages() {
    static const std::vector<const Descriptor*> messages{
        opi_api::storage::v1::PciEndpoint::descriptor(),
        opi_api::storage::v1::MallocVolume::descriptor(),
        opi_api::storage::v1::NullVolume::descriptor(),
        opi_api::storage::v1::AioVolume::descriptor(),
        opi_api::storage::v1::NvmePath::descriptor(),
        opi_api::storage::v1::NvmeSubsystem::descriptor(),
        opi_api::storage::v1::VirtioBlk::descriptor(),
        opi_api::storage::v1::VirtioScsiLun::descriptor(),
        opi_api::storage::v1::EncryptedVolume::descriptor(),
        opi_api::storage::v1::QosVolume::descriptor(),
        opi_api::inventory::v1::Inventory::descriptor()};
    return messages;
}

/// What is left of options when those that the tables speak of have been taken out.
void add_surplus(const Message& rest, json& facts) {
    if (rest.ByteSizeLong() != 0) {
        facts["surplus"].push_back(rest.ShortDebugString());
    }
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

/// The name in JSON that follows from the field's name.
std::string json_name(const std::string& name) {
    std::string out;
    bool upper = false;
    for (const char c : name) {
        if (c == '_') {
            upper = true;
            continue;
        }
        out.push_back(upper && c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c);
        upper = false;
    }
    return out;
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
    auto rest = field.options();
    rest.ClearExtension(google::api::field_behavior);
    rest.ClearExtension(google::api::resource_reference);
    add_surplus(rest, facts);
    if (field.json_name() != json_name(field.name())) {
        facts["json_name"] = field.json_name();
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
        auto rest = resource;
        rest.clear_type();
        rest.clear_singular();
        rest.clear_plural();
        rest.clear_pattern();
        add_surplus(rest, facts);
    }
    auto rest = message.options();
    rest.ClearExtension(google::api::resource);
    add_surplus(rest, facts);
    for (int i = 0; i < message.nested_type_count(); ++i) {
        facts["nested"].push_back(message.nested_type(i)->name());
    }
    for (int i = 0; i < message.field_count(); ++i) {
        facts["fields"].push_back(field_facts(*message.field(i), package));
    }
    return facts;
}

json http_facts(const google::api::HttpRule& rule) {
    json facts;
    switch (rule.pattern_case()) {
        case google::api::HttpRule::kGet:
            facts = {{"verb", "get"}, {"path", rule.get()}};
            break;
        case google::api::HttpRule::kPut:
            facts = {{"verb", "put"}, {"path", rule.put()}};
            break;
        case google::api::HttpRule::kPost:
            facts = {{"verb", "post"}, {"path", rule.post()}};
            break;
        case google::api::HttpRule::kDelete:
            facts = {{"verb", "delete"}, {"path", rule.delete_()}};
            break;
        case google::api::HttpRule::kPatch:
            facts = {{"verb", "patch"}, {"path", rule.patch()}};
            break;
        case google::api::HttpRule::kCustom:
            facts = {{"verb", rule.custom().kind()}, {"path", rule.custom().path()}};
            break;
        case google::api::HttpRule::PATTERN_NOT_SET:
            break;
    }
    if (!rule.body().empty()) {
        facts["body"] = rule.body();
    }
    for (const google::api::HttpRule& other : rule.additional_bindings()) {
        facts["additional"].push_back(http_facts(other));
    }
    if (!rule.response_body().empty()) {
        facts["response_body"] = rule.response_body();
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
    facts["http"] = http_facts(method.options().GetExtension(google::api::http));
    for (int i = 0; i < method.options().ExtensionSize(google::api::method_signature); ++i) {
        facts["signature"].push_back(
            method.options().GetExtension(google::api::method_signature, i));
    }
    if (method.client_streaming() || method.server_streaming()) {
        facts["streaming"] = true;
    }
    auto rest = method.options();
    rest.ClearExtension(google::api::http);
    rest.ClearExtension(google::api::method_signature);
    add_surplus(rest, facts);
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
    auto rest = file.options();
    rest.clear_go_package();
    rest.clear_java_package();
    rest.clear_java_multiple_files();  // changes no byte on the wire
    add_surplus(rest, facts);
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
    ASSERT_EQ(linked_messages().size(), kTables.size());
    const json want = table(GetParam());
    const FileDescriptor* file =
        DescriptorPool::generated_pool()->FindFileByName(want.at("file").get<std::string>());
    ASSERT_NE(file, nullptr) << want.at("file");

    const json got = file_facts(*file);

    EXPECT_EQ(got, want) << "difference (JSON patch from table to compiled): "
                         << json::diff(want, got).dump(1);
}

INSTANTIATE_TEST_SUITE_P(All, WireTable, testing::ValuesIn(kTables), [](const auto& info) {
    return std::string(info.param);
});

TEST(WireTables, EveryTableOfTheFolder_isCompared) {
    std::set<std::string> there;
    for (const auto& entry : std::filesystem::directory_iterator(REMORA_WIRE_DATA)) {
        if (entry.path().extension() == ".json") {
            there.insert(entry.path().stem());
        }
    }

    EXPECT_EQ(there, std::set<std::string>(kTables.begin(), kTables.end()));
}

TEST(WireTables, OpiStorage_hasNineServicesWith87Methods) {
    std::set<std::string> services;
    std::set<std::string> methods;
    for (const Descriptor* linked : linked_messages()) {
        const FileDescriptor& file = *linked->file();
        for (int i = 0; file.package() == "opi_api.storage.v1" && i < file.service_count(); ++i) {
            const ServiceDescriptor& service = *file.service(i);
            services.insert(service.name());
            for (int m = 0; m < service.method_count(); ++m) {
                methods.insert(service.method(m)->full_name());
            }
        }
    }

    EXPECT_EQ(services, (std::set<std::string>{
                            "AioVolumeService", "FrontendNvmeService", "FrontendVirtioBlkService",
                            "FrontendVirtioScsiService", "MallocVolumeService",
                            "MiddleendEncryptionService", "MiddleendQosVolumeService",
                            "NullVolumeService", "NvmeRemoteControllerService"}));
    EXPECT_EQ(methods.size(), 87U);
}

}  // namespace
