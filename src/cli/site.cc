// SPDX-License-Identifier: Apache-2.0
#include "cli/site.h"

#include <algorithm>
#include <map>
#include <utility>

#include <nlohmann/json.hpp>

#include "cli/host_function.h"
#include "cli/settings.h"
#include "core/check.h"
#include "core/units.h"

namespace remora::cli {

namespace {

namespace pb = google::protobuf;
using nlohmann::ordered_json;
using Type = YamlNode::Type;

constexpr std::int64_t kDefaultBlockSize = 512;
constexpr const char* kKeyFile = "key-file";

std::string kind_choices() {
    std::string text;
    for (const Kind& kind : kinds()) {
        if (can_create(kind)) {
            text += (text.empty() ? "" : ", ") + std::string(kind.name);
        }
    }
    for (const Kind& kind : setting_kinds()) {
        text += ", " + std::string(kind.name);
    }
    return text;
}

/// One file while it is read.
/// What is within a list, for protobuf's own reader of JSON, which takes numbers as words, too.
ordered_json json_of(const YamlNode& node) {
    switch (node.type) {
        case Type::Null:
            break;
        case Type::Scalar:
            if (!node.quoted && (node.text == "true" || node.text == "false")) {
                return node.text == "true";
            }
            return node.text;
        case Type::List: {
            ordered_json list = ordered_json::array();
            for (const YamlNode& item : node.items) {
                list.push_back(json_of(item));
            }
            return list;
        }
        case Type::Map: {
            ordered_json map = ordered_json::object();
            for (const YamlEntry& entry : node.entries) {
                map[entry.key] = json_of(entry.value);
            }
            return map;
        }
    }
    return nullptr;
}

class Reader {
  public:
    explicit Reader(std::string_view source) : source_(source) {}

    Declared read(const YamlNode& node) {
        check_keys(node);
        Declared declared;
        declared.place = node.place;
        declared.kind = &read_kind(node);
        read_name(require(node, "name"), declared);
        declared.message = new_resource(*declared.kind);
        if (const YamlNode* spec = node.find("spec"); spec != nullptr) {
            read_spec(*spec, declared);
        }
        return declared;
    }

  private:
    [[noreturn]] void refuse(const YamlNode& node, const std::string& sentence) const {
        refuse_at(source_, node.place, sentence);
    }

    void check_keys(const YamlNode& node) const {
        if (node.type != Type::Map) {
            refuse(node, "a resource is expected here, with kind, name and spec");
        }
        for (const YamlEntry& entry : node.entries) {
            if (entry.key != "kind" && entry.key != "name" && entry.key != "spec") {
                refuse_at(source_, entry.place,
                          "a resource has no '" + entry.key + "', only kind, name and spec");
            }
        }
    }

    const YamlNode& require(const YamlNode& node, const char* key) const {
        const YamlNode* found = node.find(key);
        if (found == nullptr) {
            refuse(node, std::string("the resource has no ") + key);
        }
        return *found;
    }

    const Kind& read_kind(const YamlNode& node) const {
        // `kind: null` is YAML's null, and a kind of volume.
        const YamlNode& named = require(node, "kind");
        const Kind* kind = find_kind(named.text);
        if (kind == nullptr) {
            kind = find_setting_kind(named.text);
        }
        if (kind == nullptr || named.type == Type::List || named.type == Type::Map) {
            refuse(named, "there is no kind '" + named.text + "'; use one of: " + kind_choices());
        }
        if (!can_create(*kind) && !is_setting(*kind)) {
            refuse(named, "a " + std::string(kind->name) +
                              " is found by the daemon, and cannot be declared");
        }
        return *kind;
    }

    void read_name(const YamlNode& node, Declared& declared) const {
        const Kind& kind = *declared.kind;
        const std::string& text = node.text;
        const bool printable = std::ranges::all_of(
            text, [](unsigned char letter) { return letter > ' ' && letter < 0x7f; });
        if (node.type != Type::Scalar || text.empty() || !printable) {
            refuse(node, "this is no name of a " + std::string(kind.name) + ": write one such as " +
                             std::string(kind.example));
        }
        try {
            const std::string whole = full_name(kind, text);
            declared.typed = short_name(whole);
            declared.name = full_name(kind, declared.typed);
            const std::string pattern = std::string(kind.pattern) + "/" + declared.typed;
            if (whole != declared.name && whole != pattern) {
                refuse_argument("'" + text + "' is no name of a " + std::string(kind.name) +
                                ": write one such as " + std::string(kind.example));
            }
        } catch (const Refused& refused) {
            refuse(node, refused.what());
        }
        if (kind.uuid_is_name && !read_function(declared.typed)) {
            refuse(node, "an attachment is called by its host function, such as 3 or 3.2");
        }
    }

    void read_spec(const YamlNode& spec, Declared& declared) const {
        FieldPath path;
        if (const Field* field = spec_field(*declared.message->GetDescriptor())) {
            path.push_back(field);
        }
        read_message(spec, path, declared);
        if (const YamlNode* file = find_key_file(spec, declared)) {
            read_key_file_name(*file, declared);
        }
        if (const YamlNode* size = spec.find("size"); size != nullptr && takes_size(declared)) {
            read_size(*size, declared);
        }
    }

    /// The only kind whose secret is bytes, which a file's text is no place for.
    static bool takes_key_file(const Declared& declared) {
        const Field* key = declared.message->GetDescriptor()->FindFieldByName("key");
        return key != nullptr && key->type() == Field::TYPE_BYTES;
    }

    static const YamlNode* find_key_file(const YamlNode& spec, const Declared& declared) {
        return takes_key_file(declared) ? spec.find(kKeyFile) : nullptr;
    }

    void read_key_file_name(const YamlNode& node, Declared& declared) const {
        if (std::ranges::find(declared.fields, std::string("key"), path_text) !=
            declared.fields.end()) {
            refuse(node, "key-file and key say the same: leave one out");
        }
        if (node.type != Type::Scalar || node.text.empty() || node.text == "-") {
            refuse(node, "key-file is the path of the file that the key is in");
        }
        declared.key_file = node.text;
    }

    static bool takes_size(const Declared& declared) {
        return declared.message->GetDescriptor()->FindFieldByName("blocks_count") != nullptr;
    }

    void read_size(const YamlNode& node, Declared& declared) const {
        const auto counted =
            std::ranges::find(declared.fields, std::string("blocks_count"), path_text);
        if (counted != declared.fields.end()) {
            refuse(node, "size and blocks_count say the same: leave one out");
        }
        const auto bytes = core::parse_size(node.text);
        if (node.type != Type::Scalar || !bytes || *bytes == 0) {
            refuse(node, "'" + node.text + "' is no size: write one such as 64M, 10G or 1T");
        }
        declared.size = *bytes;
    }

    void read_message(const YamlNode& node, FieldPath& path, Declared& declared) const {
        if (node.type != Type::Map) {
            refuse(node, (path.empty() ? "spec" : path_text(path)) + " is expected to have fields");
        }
        const auto* type =
            path.empty() ? declared.message->GetDescriptor() : path.back()->message_type();
        std::map<int, Place> seen;  // By the number of the field.
        for (const YamlEntry& entry : node.entries) {
            if (path.empty() && ((entry.key == "size" && takes_size(declared)) ||
                                 (entry.key == kKeyFile && takes_key_file(declared)))) {
                continue;
            }
            const Field& field = find_field(*type, entry, path.empty() ? declared.kind : nullptr);
            const auto [before, is_new] = seen.emplace(field.number(), entry.place);
            if (!is_new) {
                refuse_at(source_, entry.place,
                          "'" + entry.key + "' is here a second time; the first is at " +
                              place_text(source_, before->second));
            }
            path.push_back(&field);
            if (!is_output_only(field)) {
                read_field(entry.value, path, declared);
            }
            path.pop_back();
        }
    }

    /// `kind` is null for what is within another field.
    const Field& find_field(const pb::Descriptor& type,
                            const YamlEntry& entry,
                            const Kind* kind) const {
        const auto is_name = [kind](const Field& field) {
            return is_identifier(field) || (kind != nullptr && field.name() == kind->name_field);
        };
        const Field* field = type.FindFieldByName(entry.key);
        if (field == nullptr) {
            field = type.FindFieldByCamelcaseName(entry.key);
        }
        if (kind != nullptr && field != nullptr && is_name(*field)) {
            refuse_at(source_, entry.place, "the name stands beside spec, not in it");
        }
        if (field != nullptr) {
            return *field;
        }
        std::string choices;
        for (int i = 0; i < type.field_count(); ++i) {
            if (!is_output_only(*type.field(i)) && !is_name(*type.field(i))) {
                choices += (choices.empty() ? "" : ", ") + type.field(i)->name();
            }
        }
        if (type.FindFieldByName("blocks_count") != nullptr) {
            choices += ", size";
        }
        if (const Field* key = type.FindFieldByName("key");
            key != nullptr && key->type() == Field::TYPE_BYTES) {
            choices += std::string(", ") + kKeyFile;
        }
        refuse_at(source_, entry.place,
                  type.name() + " has no field '" + entry.key + "'; it has: " + choices);
    }

    void read_field(const YamlNode& node, FieldPath& path, Declared& declared) const {
        const Field& field = *path.back();
        if (is_by_json(field)) {
            read_by_json(node, path, declared);
            return;
        }
        if (const auto* choice = field.real_containing_oneof()) {
            check_choice(node, path, *choice, declared);
        }
        if (!is_leaf(field)) {
            holder_of(*declared.message, path)
                .GetReflection()
                ->MutableMessage(&holder_of(*declared.message, path), &field);
            read_message(node, path, declared);
            return;
        }
        if (node.type == Type::Null) {
            refuse(node,
                   field.name() + " has no value: leave the line out, or write \"\" for none");
        }
        if (node.type != Type::Scalar) {
            refuse(node, field.name() + " has one value, no list or map");
        }
        const std::string wrong =
            set_from_text(holder_of(*declared.message, path), field, node.text, node.quoted);
        if (!wrong.empty()) {
            refuse(node, field.name() + ": " + (is_secret(field) ? "this will not do" : wrong));
        }
        declared.fields.push_back(path);
    }

    void read_by_json(const YamlNode& node, const FieldPath& path, Declared& declared) const {
        const Field& field = *path.back();
        if (field.is_repeated() && node.type != Type::List) {
            refuse(node, field.name() + " is a list: write [a, b], or a line with - for each");
        }
        const std::string wrong =
            set_from_json(holder_of(*declared.message, path), field, json_of(node));
        if (!wrong.empty()) {
            refuse(node, field.name() + ": " + wrong);
        }
        declared.fields.push_back(path);
    }

    /// Of the fields of a oneof, one.
    void check_choice(const YamlNode& node,
                      const FieldPath& path,
                      const pb::OneofDescriptor& choice,
                      Declared& declared) const {
        const Message& holder = holder_of(*declared.message, path);
        const Field* other = holder.GetReflection()->GetOneofFieldDescriptor(holder, &choice);
        if (other != nullptr && other != path.back()) {
            refuse(node, path.back()->name() + " and " + other->name() +
                             " exclude each other: leave one out");
        }
    }

    std::string source_;
};

}  // namespace

const Field* spec_field(const pb::Descriptor& type) {
    const Field* field = type.FindFieldByName("spec");
    return field != nullptr && field->cpp_type() == Field::CPPTYPE_MESSAGE ? field : nullptr;
}

Site read_site(std::string_view source, const std::string& text) {
    Site site;
    site.source = source;
    Reader reader(source);
    std::map<std::pair<std::string_view, std::string>, Place> seen;
    const auto take_one = [&](const YamlNode& node) {
        Declared declared = reader.read(node);
        const auto [before, is_new] =
            seen.emplace(std::pair(declared.kind->name, declared.name), declared.place);
        if (!is_new) {
            refuse_at(source, declared.place,
                      std::string(declared.kind->name) + " " + declared.typed +
                          " is here a second time; the first is at " +
                          place_text(source, before->second));
        }
        site.resources.push_back(std::move(declared));
    };
    for (const YamlNode& document : read_yaml(source, text)) {
        if (document.type != Type::List) {
            take_one(document);
            continue;
        }
        for (const YamlNode& item : document.items) {
            take_one(item);
        }
    }
    return site;
}

void settle_size(std::string_view source, Declared& declared, std::int64_t block_size) {
    if (!declared.size) {
        return;
    }
    const auto* type = declared.message->GetDescriptor();
    const Field* block = type->FindFieldByName("block_size");
    const Field* count = type->FindFieldByName("blocks_count");
    CHECK(block != nullptr && count != nullptr);
    const auto* reflection = declared.message->GetReflection();
    std::int64_t bytes = reflection->GetInt64(*declared.message, block);
    if (bytes == 0) {
        bytes = block_size == 0 ? kDefaultBlockSize : block_size;
        reflection->SetInt64(declared.message.get(), block, bytes);
        declared.fields.push_back({block});
    }
    const auto unit = static_cast<std::uint64_t>(bytes);
    if (bytes < 0 || *declared.size % unit != 0) {
        refuse_at(source, declared.place,
                  "the size of " + declared.typed + " is not a multiple of its block size, " +
                      std::to_string(bytes));
    }
    reflection->SetInt64(declared.message.get(), count,
                         static_cast<std::int64_t>(*declared.size / unit));
    declared.fields.push_back({count});
    declared.size.reset();
}

}  // namespace remora::cli
