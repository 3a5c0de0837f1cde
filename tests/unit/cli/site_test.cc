// SPDX-License-Identifier: Apache-2.0
// Reading a site's file: what is taken, and what is refused at which place.
#include "cli/site.h"

#include <functional>

#include <gmock/gmock.h>
#include <google/protobuf/util/field_mask_util.h>
#include <gtest/gtest.h>

#include "storage/backend_malloc.pb.h"
#include "storage/frontend_nvme.pb.h"

namespace remora::cli {

namespace {

namespace opi = opi_api::storage::v1;
using testing::HasSubstr;

/// The sentence that refuses the text; "" when it is taken.
std::string refusal(const std::string& text) {
    try {
        read_site("f", text);
    } catch (const Refused& refused) {
        EXPECT_EQ(refused.code(), grpc::StatusCode::INVALID_ARGUMENT);
        return refused.what();
    }
    return "";
}

std::string repeated(const std::string& text, int times) {
    std::string all;
    for (int i = 0; i < times; ++i) {
        all += text;
    }
    return all;
}

struct Bad {
    const char* text;
    const char* sentence;
};

}  // namespace

TEST(Site, Bad_resources_are_refused_at_their_place) {
    const std::vector<Bad> cases{
        {"just words", "f:1:1: a resource is expected here"},
        {"- kind: malloc\n", "f:1:3: the resource has no name"},
        {"name: a\n", "f:1:1: the resource has no kind"},
        {"kind: maloc\nname: a", "f:1:7: there is no kind 'maloc'; use one of: malloc, null, aio"},
        {"kind: [malloc]\nname: a", "f:1:7: there is no kind"},
        {"kind: remote-namespace\nname: a/1", "f:1:7: a remote-namespace is found by the daemon"},
        {"kind: malloc\nname: a\nsize: 1M", "f:3:1: a resource has no 'size'"},
        {"kind: controller\nname: tcp", "f:2:7: 'tcp' does not say whose controller it is"},
        {"kind: controller\nname: a/b/c", "f:2:7: 'a/b/c' does not say whose"},
        {"kind: controller\nname: nvmeSubsystems/s/nvmeNamespaces/n", "f:2:7: 'nvmeSubsystems/s/"},
        {"kind: malloc\nname: nullVolumes/a", "f:2:7: 'nullVolumes/a' is no name of a malloc"},
        {"kind: malloc\nname: ''", "f:2:7: this is no name of a malloc"},
        {"kind: malloc\nname: \"a\\nb\"", "f:2:7: this is no name of a malloc"},
        {"kind: malloc\nname: [a]", "f:2:7: this is no name of a malloc"},
        {"kind: attachment\nname: three", "f:2:7: an attachment is called by its host function"},
        {"kind: attachment\nname: 3.0", "f:2:7: an attachment is called by its host function"},
        {"kind: malloc\nname: a\nspec: 5", "f:3:7: spec is expected to have fields"},
        {"kind: malloc\nname: a\nspec: {name: b}", "f:3:8: the name stands beside spec"},
        {"kind: malloc\nname: a\nspec:\n  blocksize: 5",
         "f:4:3: MallocVolume has no field 'blocksize'; it has: block_size, blocks_count, "
         "metadata_size, uuid, size"},
        {"kind: subsystem\nname: a\nspec: {spec: {nqn: b}}",
         "f:3:8: NvmeSubsystemSpec has no field 'spec'; it has: nqn, "},
        {"kind: malloc\nname: a\nspec: {block_size: 1, blockSize: 2}",
         "f:3:23: 'blockSize' is here a second time; the first is at f:3:8"},
        {"kind: malloc\nname: a\nspec: {block_size: big}",
         "f:3:20: block_size: 'big' is not a whole number from -9223372036854775808"},
        {"kind: malloc\nname: a\nspec: {block_size: 1.5}", "f:3:20: block_size: '1.5' is not"},
        {"kind: malloc\nname: a\nspec: {block_size: 9223372036854775808}", "is not a whole number"},
        {"kind: namespace\nname: a/b\nspec: {host_nsid: 2147483648}", "2147483647"},
        {"kind: malloc\nname: a\nspec: {block_size: }", "block_size has no value"},
        {"kind: malloc\nname: a\nspec: {uuid: ~}", "f:3:14: uuid has no value"},
        {"kind: malloc\nname: a\nspec: {uuid: [b]}", "f:3:14: uuid has one value"},
        {"kind: malloc\nname: a\nspec: {size: 64Q}", "f:3:14: '64Q' is no size"},
        {"kind: malloc\nname: a\nspec: {size: 0}", "f:3:14: '0' is no size"},
        {"kind: malloc\nname: a\nspec: {size: 1M, blocks_count: 1}", "say the same"},
        {"kind: remote-controller\nname: a\nspec: {multipath: both}",
         "f:3:19: multipath: 'both' is none of NVME_MULTIPATH_DISABLE, NVME_MULTIPATH_FAILOVER"},
        {"kind: remote-controller\nname: a\nspec: {tcp: {hdgst: 'true'}}",
         "neither true nor false"},
        {"kind: remote-controller\nname: a\nspec: {tcp: {hdgst: yes}}", "neither true nor false"},
        {"kind: remote-controller\nname: a\nspec: {tcp: on}", "f:3:13: tcp is expected to have"},
        {"kind: controller\nname: a/b\nspec: {fabricsId: {traddr: x}, pcieId: {portId: 0}}",
         "pcie_id and fabrics_id exclude each other"},
        {"kind: virtio-blk\nname: a\nspec: {pcie_id: {port_id: x}}", "port_id: 'x' is not a whole"},
        {"{kind: malloc, name: a}\n---\n- {kind: mallocs, name: mallocVolumes/a}\n",
         "f:3:3: malloc a is here a second time; the first is at f:1:1"},
    };
    for (const Bad& one : cases) {
        EXPECT_THAT(refusal(one.text), HasSubstr(one.sentence)) << one.text;
    }
}

TEST(Site, Secret_that_is_wrong_is_not_repeated) {
    const std::string sentence = refusal("kind: subsystem\nname: a\nspec: {psk: 'hush hush!'}");

    EXPECT_THAT(sentence, HasSubstr("f:3:13: psk: "));
    EXPECT_EQ(sentence.find("hush"), std::string::npos);
}

TEST(Site, Bad_yaml_is_refused_at_its_place) {
    const std::vector<Bad> cases{
        {"kind: malloc\n name: a", "f:2:"},
        {"kind: [malloc", "this is not YAML"},
        {"kind: malloc\nkind: null\n",
         "f:2:1: 'kind' is here a second time; the first is at f:1:1"},
        {"? [a]\n: b", "this cannot be a key"},
        {"kind: !secret malloc", "f:1:7: the tag !secret is not known here"},
        {"kind: *nobody", "this is not YAML"},
        {"a: &a [*a]", "the alias stands within what it stands for"},
        {"kind: \x01", "f:1:7: there is a control character"},
        {"kind: a\nname: \xff", "f:2:7: this is not UTF-8 text"},
        {"name: \xc0\xaf", "f:1:7: this is not UTF-8 text"},
        {"name: \xed\xa0\x80", "f:1:7: this is not UTF-8 text"},
    };
    for (const Bad& one : cases) {
        EXPECT_THAT(refusal(one.text), HasSubstr(one.sentence)) << one.text;
    }
}

TEST(Site, Bombs_are_refused) {
    std::string aliases = "- &a0 [x, x, x, x, x, x, x, x, x, x]\n";
    for (int i = 1; i < 9; ++i) {
        const std::string before = "*a" + std::to_string(i - 1);
        aliases += "- &a" + std::to_string(i) + " [" + repeated(before + ", ", 9) + before + "]\n";
    }
    std::string chain = "- &b0 [x]\n";
    for (int i = 1; i < 100; ++i) {
        chain += "- &b" + std::to_string(i) + " [*b" + std::to_string(i - 1) + "]\n";
    }

    EXPECT_THAT(refusal(aliases), HasSubstr("there are more than 50000 values"));
    EXPECT_THAT(refusal(chain), HasSubstr("more than 32 deep"));
    EXPECT_THAT(refusal(repeated("[", 100'000)), HasSubstr("more than 32 deep"));
    EXPECT_THAT(refusal(repeated("- ", 100'000)), HasSubstr("more than 32 deep"));
    EXPECT_THAT(refusal(repeated("- x\n", 60'000)), HasSubstr("more than 50000 values"));
    EXPECT_THAT(refusal(std::string((1U << 20U) + 1, ' ')), HasSubstr("larger than 1 MiB"));
}

TEST(Site, Words_are_what_their_fields_say) {
    const Site site = read_site("f",
                                "\xef\xbb\xbf# A comment\n"
                                "kind: subsystems   # in the plural\n"
                                "name: nvmeSubsystems/lab\n"
                                "spec: &it\n"
                                "  nqn: nqn.a\n"
                                "  serialNumber: 0x10\n"
                                "  model_number: true\n"
                                "  max_namespaces: '16'\n"
                                "  hostnqn: \"\"\n"
                                "---\n---\n"
                                "- kind: null\n"
                                "  name: 007\n"
                                "  spec: {block_size: 0}\n");

    ASSERT_EQ(site.resources.size(), 2U);
    const Declared& lab = site.resources[0];
    EXPECT_EQ(lab.typed, "lab");
    EXPECT_EQ(lab.name, "nvmeSubsystems/lab");
    const auto& spec = as<opi::NvmeSubsystem>(*lab.message).spec();
    EXPECT_EQ(spec.serial_number(), "0x10");
    EXPECT_EQ(spec.model_number(), "true");
    EXPECT_EQ(spec.max_namespaces(), 16);
    ASSERT_EQ(lab.fields.size(), 5U) << "an empty string is declared, too";
    EXPECT_EQ(path_text(lab.fields[4]), "spec.hostnqn");
    EXPECT_EQ(site.resources[1].kind->name, "null");
    EXPECT_EQ(site.resources[1].name, "volumes/007");
    EXPECT_EQ(site.resources[1].fields.size(), 1U);
}

TEST(Site, Aliases_stand_for_what_they_name) {
    const Site site = read_site("f",
                                "- {kind: malloc, name: a, spec: &small {size: 1M, uuid: &id u}}\n"
                                "- {kind: malloc, name: b, spec: *small}\n");

    ASSERT_EQ(site.resources.size(), 2U);
    EXPECT_EQ(site.resources[1].size, std::uint64_t{1} << 20U);
    EXPECT_EQ(as<opi::MallocVolume>(*site.resources[1].message).uuid(), "u");
}

TEST(Site, Fields_that_the_daemon_writes_are_left_out) {
    const Site site =
        read_site("f",
                  "{kind: subsystem, name: a, spec: {nqn: b}}\n---\n"
                  "{kind: attachment, name: 3, spec: {state: whatever, serial: x, hostnqn: c}}\n");

    ASSERT_EQ(site.resources[1].fields.size(), 1U);
    EXPECT_EQ(path_text(site.resources[1].fields[0]), "hostnqn");
}

TEST(Site, Size_is_in_blocks_of_what_is_there_or_512) {
    Site site = read_site("f",
                          "- {kind: malloc, name: a, spec: {size: 1M}}\n"
                          "- {kind: malloc, name: b, spec: {size: 1M}}\n"
                          "- {kind: malloc, name: c, spec: {size: 1000, block_size: 512}}\n");

    settle_size("f", site.resources[0], 0);
    settle_size("f", site.resources[1], 4096);

    EXPECT_EQ(as<opi::MallocVolume>(*site.resources[0].message).blocks_count(), 2048);
    EXPECT_EQ(as<opi::MallocVolume>(*site.resources[1].message).blocks_count(), 256);
    EXPECT_THROW(settle_size("f", site.resources[2], 0), Refused);
}

TEST(Fields, Every_kind_has_only_fields_that_can_be_written) {
    // What read, compare and export rely on, for all kinds there are and will be.
    const std::function<void(const google::protobuf::Descriptor&)> walk =
        [&](const google::protobuf::Descriptor& type) {
            for (int i = 0; i < type.field_count(); ++i) {
                const Field& field = *type.field(i);
                if (is_output_only(field)) {
                    continue;
                }
                if (is_by_json(field)) {
                    continue;
                }
                EXPECT_NE(field.cpp_type(), Field::CPPTYPE_DOUBLE) << field.full_name();
                EXPECT_NE(field.cpp_type(), Field::CPPTYPE_FLOAT) << field.full_name();
                if (!is_leaf(field)) {
                    walk(*field.message_type());
                }
            }
        };
    int walked = 0;
    for (const Kind& kind : kinds()) {
        if (can_create(kind)) {
            walk(*new_resource(kind)->GetDescriptor());
            ++walked;
        }
    }
    EXPECT_GE(walked, 11);
}

TEST(Fields, What_can_change_is_a_field_of_its_kind) {
    for (const Kind& kind : kinds()) {
        for (const auto paths : {kind.changeable, kind.chosen}) {
            for (const std::string_view path : paths) {
                EXPECT_TRUE(google::protobuf::util::FieldMaskUtil::GetFieldDescriptors(
                    new_resource(kind)->GetDescriptor(), std::string(path), nullptr))
                    << kind.name << ' ' << path;
            }
        }
    }
}

TEST(Yaml, What_is_written_is_read_back) {
    const nlohmann::ordered_json value = {{"plain", "lab/disk-0.img"},
                                          {"number", "12"},
                                          {"word", "Yes"},
                                          {"empty", ""},
                                          {"colon", "a: b"},
                                          {"dash", "- a"},
                                          {"nothing", nlohmann::ordered_json::object()}};

    const auto read = read_yaml("f", write_yaml({value, value}));

    ASSERT_EQ(read.size(), 1U);
    ASSERT_EQ(read[0].items.size(), 2U);
    for (const auto& [key, text] : value.items()) {
        const YamlNode* node = read[0].items[1].find(key);
        ASSERT_NE(node, nullptr) << key;
        EXPECT_EQ(node->text, text.is_string() ? text.get<std::string>() : "");
    }
    EXPECT_TRUE(read[0].items[1].find("word")->quoted);
    EXPECT_FALSE(read[0].items[1].find("plain")->quoted);
}

}  // namespace remora::cli
