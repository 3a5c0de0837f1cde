// SPDX-License-Identifier: Apache-2.0
// Target: a site's file as its user writes it.
//
//   input: the text
//
// What YAML takes is within its bounds; a site that is taken has resources with names and places
// in the text. What is refused says where.
#include <string>

#include <google/protobuf/stubs/logging.h>

#include "cli/failure.h"
#include "cli/site.h"
#include "cli/yaml.h"
#include "core/check.h"
#include "tests/fuzz/support/input.h"

namespace remora::fuzz {
namespace {

constexpr const char* kSource = "site.yaml";

std::size_t count(const cli::YamlNode& node, int depth) {
    CHECK(depth <= cli::kDeepestYaml && node.height >= 1);
    CHECK(node.place.line >= 1 && node.place.column >= 1);
    std::size_t nodes = 1;
    for (const cli::YamlNode& item : node.items) {
        CHECK(item.height < node.height);
        nodes += count(item, depth + 1);
    }
    for (const cli::YamlEntry& entry : node.entries) {
        CHECK(entry.value.height < node.height);
        CHECK(node.find(entry.key) == &entry.value);  // No key is there twice.
        nodes += count(entry.value, depth + 1);
    }
    return nodes;
}

void run(const std::string& text) {
    static const google::protobuf::LogSilencer quiet;
    try {
        std::size_t nodes = 0;
        for (const cli::YamlNode& document : cli::read_yaml(kSource, text)) {
            nodes += count(document, 1);
        }
        CHECK(nodes <= cli::kMostYamlNodes && text.size() <= cli::kMostYamlBytes);
        cli::Site site = cli::read_site(kSource, text);
        for (cli::Declared& one : site.resources) {
            CHECK(one.kind != nullptr && !one.name.empty() && one.message != nullptr);
            cli::settle_size(kSource, one, 512);
            std::string bytes;
            CHECK(one.message->SerializeToString(&bytes));
        }
    } catch (const cli::Refused& refused) {
        CHECK(std::string(refused.what()).starts_with(kSource));
    }
}

}  // namespace
}  // namespace remora::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    remora::fuzz::Input input(data, size);
    remora::fuzz::run(input.take_text(input.size()));
    return 0;
}
