// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/control/bad_input_cases.h"

#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include <google/protobuf/field_mask.pb.h>

#include "control/names.h"
#include "control/validate.h"
#include "google/api/field_behavior.pb.h"

namespace remora::test {

namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::FieldMask;
using google::protobuf::Message;
using google::protobuf::MethodDescriptor;
using enum grpc::StatusCode;

/// A client's mistake of any sort.
const Codes kRefused{INVALID_ARGUMENT,    NOT_FOUND,     ALREADY_EXISTS,
                     FAILED_PRECONDITION, UNIMPLEMENTED, RESOURCE_EXHAUSTED};

constexpr const char* kAnyCount = "opi_api.storage.v1.NvmeControllerSpec.max_namespaces";
constexpr std::size_t kHuge = std::size_t{1} << 20U;

const std::vector<std::string> kMalformedNames{
    "",       "-ABC-DEF",         "a//b",    "/a",           "a/",
    "a b",    "volumes/a\n",      "\x1b[2J", "volumes/-x",   "volumes/x?y",
    "a\tb/c", "volumes/\xc3\xa9", "*",       "http://x.org", "volumes/x:y"};
const std::vector<std::string> kUnknownNames{"volumes/no-such",
                                             "nvmeSubsystems/none",
                                             "no-such",
                                             "a/b/c/d/e/f",
                                             "../../etc",
                                             "..",
                                             "attachments/63",
                                             "nvmeSubsystems/s0/nvmeControllers",
                                             "nvmeRemoteControllers/r0/nvmePaths/p0/x"};
const std::vector<std::string> kBadIds{"Abc",
                                       "1abc",
                                       "abc-",
                                       "a_b",
                                       "a/b",
                                       "a.b",
                                       "-",
                                       "a b",
                                       "a\nb",
                                       "..",
                                       "\xc3\xa9",
                                       "2F6E1F4C-8D53-4C8E-9D0A-3F5B1C7A9E10",
                                       "2f6e1f4c-8d53-4c8e-9d0a-3f5b1c7a9e1",
                                       std::string(64, 'a'),
                                       std::string(kHuge, 'a')};
const std::vector<std::string> kBadNqns{"nqn",
                                        "nqn.2024-01",
                                        "nqn.2024-01.",
                                        "nqn.2024-13.org.example:x",
                                        "nqn.2024-1.org.example:x",
                                        "nqn.2024-01.org.example:",
                                        "nqn.2024-01.org.exa mple:x",
                                        "nqn.2024-01.org.example:x\n",
                                        "nqn.2024-01.org.example:\x1b[31m",
                                        "nqn.2024-01.org.\xc3\xa9:x",
                                        "iqn.2024-01.org.example:x",
                                        "NQN.2024-01.org.example:x",
                                        "nqn.2024-01.org.example:" + std::string(200, 'a')};
const std::vector<std::string> kBadAddresses{
    "localhost", "256.1.1.1",  "1.2.3",        "::g",         "1.2.3.4:80",       "[::1]",
    "1.2.3.4 ",  "01.2.3.4.5", "fe80::1%eth0", "/run/x.sock", "unix:/run/x.sock", "\n",
    "1.2.3.4\n"};
const std::vector<std::string> kBadPorts{
    "x", "65536", "-1", "4420 ", " 4420", "0x10", "+1", "1e3", "99999999999999999999", "44\n20"};
const std::vector<std::string> kBadUuids{"123",
                                         "2f6e1f4c-8d53-4c8e-9d0a-3f5b1c7a9e1",
                                         "2f6e1f4c-8d53-4c8e-9d0a-3f5b1c7a9e100",
                                         "2f6e1f4c-8d53-4c8e-9d0a-3f5b1c7a9e1g",
                                         "{2f6e1f4c-8d53-4c8e-9d0a-3f5b1c7a9e1}",
                                         "2f6e1f4c8d534c8e9d0a3f5b1c7a9e1 ",
                                         "x"};
/// What a text might do to a reader of the log, to a path or to a buffer.
const std::vector<std::string> kHostileTexts{"x\n\x1b[31mred\r", "../../x",
                                             "\xc2\x9b"
                                             "2J",
                                             std::string("a\0b", 3), std::string(kHuge, 'a')};

bool has_behavior(const FieldDescriptor& field, google::api::FieldBehavior wanted) {
    const auto& options = field.options();
    for (int i = 0; i < options.ExtensionSize(google::api::field_behavior); ++i) {
        if (options.GetExtension(google::api::field_behavior, i) == wanted) {
            return true;
        }
    }
    return false;
}

class Deriver {
  public:
    Deriver(const MethodDescriptor& method,
            const Message& good,
            const GoodRequest& row,
            const Emit& emit)
        : row_(row),
          good_(good),
          emit_(emit),
          creates_(method.name().starts_with("Create")),
          updates_(method.name().starts_with("Update")) {}

    void fields_of(const Descriptor& message) {
        for (int i = 0; i < message.field_count(); ++i) {
            const FieldDescriptor& field = *message.field(i);
            if (has_behavior(field, google::api::OUTPUT_ONLY)) {
                continue;  // What a client says there is nobody's concern.
            }
            path_.push_back(&field);
            bad_values_of(field);
            path_.pop_back();
        }
    }

  private:
    using Change = std::function<void(Message&, const FieldDescriptor&)>;

    /// Values of such fields are judged when the kind is there; a call that needs a kind which is
    /// not may say so first.
    [[nodiscard]] Codes or_absent(Codes codes) const {
        if (!row_.present()) {
            codes.insert({UNIMPLEMENTED, NOT_FOUND});
        }
        if (updates_) {
            codes.insert(FAILED_PRECONDITION);  // "it cannot be changed" is as good
        }
        return codes;
    }
    [[nodiscard]] std::string path() const {
        std::string text;
        for (const FieldDescriptor* field : path_) {
            text += (text.empty() ? "" : ".") + field->name();
        }
        return text;
    }
    [[nodiscard]] std::string parent_path() const {
        const std::string text = path();
        return text.substr(0, text.rfind('.') + 1);
    }
    /// Whether the good request has the message.
    [[nodiscard]] bool is_given() const {
        const Message* at = &good_;
        for (const FieldDescriptor* field : path_) {
            const auto* reflection = at->GetReflection();
            const bool is_there = field->is_repeated() ? reflection->FieldSize(*at, field) > 0
                                                       : reflection->HasField(*at, field);
            if (!is_there) {
                return false;
            }
            at = field->is_repeated() ? &reflection->GetRepeatedMessage(*at, field, 0)
                                      : &reflection->GetMessage(*at, field);
        }
        return true;
    }
    /// What an answer has to say: nothing certain of a member of a message that was not asked for,
    /// where another member may be what is wrong.
    [[nodiscard]] std::string told(const std::string& name) const {
        return given_ && row_.present() && !updates_ ? name : "";
    }
    /// How an answer calls the field: google.protobuf's wrappers have only a `value`, and of a
    /// Duration's parts nobody speaks.
    [[nodiscard]] const std::string& spoken_name() const {
        const bool is_time =
            path_.back()->containing_type()->full_name() == "google.protobuf.Duration";
        const bool wrapped = (is_time || path_.back()->name() == "value") && path_.size() > 1;
        return path_[path_.size() - (wrapped ? 2 : 1)]->name();
    }

    void emit(const std::string& what, const Change& change, Codes codes, std::string text = "") {
        const std::unique_ptr<Message> bad(good_.New());
        bad->CopyFrom(good_);
        Message* at = bad.get();
        for (std::size_t i = 0; i + 1 < path_.size(); ++i) {
            at = first_of(*at, *path_[i]);
        }
        change(*at, *path_.back());
        emit_({path() + ": " + what, *bad, std::move(codes), std::move(text)});
    }
    /// The message in the field; of several the first, made when there is none.
    static Message* first_of(Message& at, const FieldDescriptor& field) {
        const auto* reflection = at.GetReflection();
        if (!field.is_repeated()) {
            return reflection->MutableMessage(&at, &field);
        }
        return reflection->FieldSize(at, &field) > 0
                   ? reflection->MutableRepeatedMessage(&at, &field, 0)
                   : reflection->AddMessage(&at, &field);
    }
    void emit_text(const std::string& value, Codes codes, std::string text = "") {
        std::string shown = value.substr(0, 60);
        if (shown.size() < value.size()) {
            shown += "... of " + std::to_string(value.size());
        }
        emit(
            "\"" + shown + "\"",
            [&value](Message& at, const FieldDescriptor& field) {
                at.GetReflection()->SetString(&at, &field, value);
            },
            std::move(codes), std::move(text));
    }

    void bad_values_of(const FieldDescriptor& field) {
        if (has_behavior(field, google::api::REQUIRED)) {
            emit(
                "left out",
                [](Message& at, const FieldDescriptor& it) {
                    at.GetReflection()->ClearField(&at, &it);
                },
                {INVALID_ARGUMENT}, "missing required field: " + (given_ ? path() : parent_path()));
        }
        const auto type = field.cpp_type();
        if (field.message_type() == FieldMask::descriptor()) {
            bad_masks();
        } else if (type == FieldDescriptor::CPPTYPE_MESSAGE) {
            const bool given = given_;
            given_ = given && is_given();
            fields_of(*field.message_type());
            given_ = given;
        } else if (type == FieldDescriptor::CPPTYPE_ENUM) {
            bad_enum_numbers(field);
        } else if (type == FieldDescriptor::CPPTYPE_STRING && field.is_repeated()) {
            bad_members_of_list(field.name() == "kinds" ? Codes{INVALID_ARGUMENT} : kRefused);
        } else if (field.type() == FieldDescriptor::TYPE_BYTES) {
            bad_keys(field);
        } else if (type == FieldDescriptor::CPPTYPE_STRING) {
            bad_texts(field.name());
        } else if (type == FieldDescriptor::CPPTYPE_DOUBLE) {
            bad_parts_of_one();
        } else if (type != FieldDescriptor::CPPTYPE_BOOL &&
                   type != FieldDescriptor::CPPTYPE_UINT64) {  // There is no bad one.
            bad_numbers(field);
        }
    }

    void bad_enum_numbers(const FieldDescriptor& field) {
        for (const int number : {9999, -1}) {
            emit(
                std::to_string(number),
                [number](Message& at, const FieldDescriptor& it) {
                    if (it.is_repeated()) {
                        at.GetReflection()->AddEnumValue(&at, &it, number);
                    } else {
                        at.GetReflection()->SetEnumValue(&at, &it, number);
                    }
                },
                {INVALID_ARGUMENT}, given_ ? field.name() : "");
        }
    }

    void bad_masks() {
        const std::string resource = good_.GetDescriptor()->field(0)->name();
        const Descriptor& type = *good_.GetDescriptor()->field(0)->message_type();
        std::string leaf;
        for (int i = 0; i < type.field_count() && leaf.empty(); ++i) {
            leaf = type.field(i)->name() == "name" ? "" : type.field(i)->name();
        }
        for (const std::string& one :
             {std::string("no_such"), resource + ".name", std::string("name.x"),
              std::string("name.value.x"), std::string(""), std::string("."), "." + leaf,
              leaf + ".", leaf + "..x", leaf + " ", leaf + ",name", std::string("NAME"),
              std::string("**"), std::string("a\nb\x1b[31m"), std::string(kHuge, '.'),
              std::string(kHuge, 'a')}) {
            emit_mask({one});
        }
        emit_mask({"*", "name"});
        emit_mask({"name", "*"});
        emit_mask({"*", "*"});
        emit_mask({"name", "no_such"});
    }
    void emit_mask(const std::vector<std::string>& paths) {
        emit(
            "mask of \"" + paths.front().substr(0, 60) + "\"" +
                (paths.size() > 1 ? " and \"" + paths.back() + "\"" : ""),
            [&paths](Message& at, const FieldDescriptor& it) {
                auto& mask =
                    dynamic_cast<FieldMask&>(*at.GetReflection()->MutableMessage(&at, &it));
                mask.mutable_paths()->Assign(paths.begin(), paths.end());
            },
            row_.present() ? Codes{INVALID_ARGUMENT} : or_absent({INVALID_ARGUMENT}),
            row_.present() ? "update_mask" : "");
    }

    void bad_members_of_list(const Codes& codes) {
        for (const std::string& kind :
             {std::string(""), std::string("VirtioBlk"), std::string("no.such"),
              std::string("remora.v1.AnaPort"), std::string("opi_api.inventory.v1.SystemInfo"),
              std::string("google.protobuf.Any"), std::string("\n"), std::string(kHuge, 'a')}) {
            emit(
                "\"" + kind.substr(0, 60) + "\"",
                [&kind](Message& at, const FieldDescriptor& it) {
                    at.GetReflection()->AddString(&at, &it, kind);
                },
                codes, path_.back()->name());
        }
    }

    void bad_parts_of_one() {
        for (const double value : {-0.5, 0.0, 1.5, std::numeric_limits<double>::infinity(),
                                   std::numeric_limits<double>::quiet_NaN()}) {
            emit(
                std::to_string(value),
                [value](Message& at, const FieldDescriptor& it) {
                    at.GetReflection()->SetDouble(&at, &it, value);
                },
                {INVALID_ARGUMENT}, told(path_.back()->name()));
        }
    }

    void bad_keys(const FieldDescriptor& field) {
        const Codes codes = field.name() == "psk" ? kRefused : or_absent({INVALID_ARGUMENT});
        for (const std::size_t size : {std::size_t{1}, std::size_t{16}, std::size_t{31},
                                       std::size_t{33}, std::size_t{64}, kHuge}) {
            emit(
                std::to_string(size) + " bytes",
                [size](Message& at, const FieldDescriptor& it) {
                    at.GetReflection()->SetString(&at, &it, std::string(size, 'K'));
                },
                codes, row_.present() ? field.name() : "");
        }
    }

    void bad_numbers(const FieldDescriptor& field) {
        if (field.name() == "eui64" || field.name() == "nvme_controller_id") {
            return;  // 64 bits, any of them; and what the server alone chooses.
        }
        const bool is_64 = field.cpp_type() == FieldDescriptor::CPPTYPE_INT64;
        const bool is_unsigned = field.cpp_type() == FieldDescriptor::CPPTYPE_UINT32;
        std::vector<std::int64_t> values;
        if (is_unsigned) {
            values = {std::numeric_limits<std::uint32_t>::max()};
        } else if (is_64) {
            values = {-1, std::numeric_limits<std::int64_t>::min(),
                      std::numeric_limits<std::int64_t>::max()};
        } else {
            values = {-1, std::numeric_limits<std::int32_t>::min(),
                      std::numeric_limits<std::int32_t>::max()};
        }
        if (field.name() == "page_size" || field.full_name() == kAnyCount) {
            values.pop_back();  // Cut to what a page may have; only shown.
        }
        for (const std::int64_t value : values) {
            Codes codes = kRefused;
            if (field.name() == "page_size") {
                codes = {INVALID_ARGUMENT};
            }
            emit(
                std::to_string(value),
                [value](Message& at, const FieldDescriptor& it) { set_number(at, it, value); },
                codes, told(spoken_name()));
        }
    }
    static void set_number(Message& at, const FieldDescriptor& it, std::int64_t value) {
        const google::protobuf::Reflection& reflection = *at.GetReflection();
        if (it.cpp_type() == FieldDescriptor::CPPTYPE_INT64) {
            reflection.SetInt64(&at, &it, value);
        } else if (it.cpp_type() == FieldDescriptor::CPPTYPE_UINT32) {
            reflection.SetUInt32(&at, &it, static_cast<std::uint32_t>(value));
        } else {
            reflection.SetInt32(&at, &it, static_cast<std::int32_t>(value));
        }
    }

    void each(const std::vector<std::string>& values, const Codes& codes, const std::string& text) {
        for (const std::string& value : values) {
            emit_text(value, codes, text);
        }
    }

    void bad_texts(const std::string& name) {
        const Codes invalid{INVALID_ARGUMENT};
        const std::string said = told(name);
        const bool identifies = name == "name" || name == "remote_controller" || name == "parent" ||
                                name.ends_with("_name_ref");
        if (name == "name" && creates_) {
            return;  // The id says it.
        }
        if (name == "name_prefix" || (name == "parent" && row_.any_parent) ||
            name == "controller_name_ref") {
            return;  // Any text selects something, or nothing.
        }
        if (identifies) {
            bad_names(name);
        } else if (name == "page_token") {
            bad_tokens();
        } else if (creates_ && path_.size() == 1 && name.ends_with("_id")) {
            each(kBadIds, invalid, name);
        } else if (name.ends_with("nqn")) {
            each(kBadNqns, or_absent(invalid), said);
        } else if (name.ends_with("traddr")) {
            each(kBadAddresses, name == "traddr" ? or_absent(invalid) : kRefused,
                 name == "traddr" ? said : "");
        } else if (name == "trsvcid") {
            each(kBadPorts, or_absent(invalid), said);
        } else if (name.ends_with("uuid") || name == "nguid") {
            each(kBadUuids, or_absent(invalid), said);
            if (name != "nguid") {  // No NGUID may be written as zeros.
                emit_text("00000000-0000-0000-0000-000000000000", or_absent(invalid), said);
            }
        }
        for (const std::string& text : kHostileTexts) {
            // A path is a fine serial number, and the one inventory has any name.
            const bool any_name = good_.GetDescriptor()->name() == "GetInventoryRequest";
            const bool any_text = name == "serial_number" || name == "model_number";
            const bool fine = (any_text && text == "../../x") ||
                              (any_name && control::check_name("name", text).has_value());
            if (!fine) {
                emit_text(text, kRefused);
            }
        }
    }

    void bad_names(const std::string& name) {
        const bool is_reference = name.ends_with("_name_ref");
        const bool judged = row_.present() && !(updates_ && is_reference);
        // A capacity without a remote controller is of the daemon's own volumes.
        const bool may_be_none = path_.back()->containing_type()->name() == "Capacity";
        for (const std::string& malformed : kMalformedNames) {
            if (!malformed.empty() || !may_be_none || !(name == "remote_controller")) {
                emit_text(malformed, judged ? Codes{INVALID_ARGUMENT} : kRefused,
                          judged ? name : "");
            }
        }
        if (good_.GetDescriptor()->name() == "GetInventoryRequest") {
            return;  // There is one, under any name.
        }
        each(kUnknownNames, judged ? Codes{NOT_FOUND} : kRefused, "");
    }

    void bad_tokens() {
        for (const std::string& token :
             {std::string("garbage"), std::string("zz"), std::string("0"), std::string("00"),
              std::string("\n\x1b[31m"), std::string(kHuge, '0'),
              control::page_token("of another listing", "volumes/m0"),
              control::page_token("", "volumes/m0")}) {
            emit_text(token, {NOT_FOUND}, "page_token");
        }
    }

    const GoodRequest& row_;
    const Message& good_;
    const Emit& emit_;
    bool creates_;
    bool updates_;
    bool given_ = true;  ///< The good request has the message that path_ is in.
    std::vector<const FieldDescriptor*> path_;
};

}  // namespace

void derive_bad_requests(const MethodDescriptor& method,
                         const Message& good,
                         const GoodRequest& row,
                         const Emit& emit) {
    Deriver(method, good, row, emit).fields_of(*good.GetDescriptor());
}

}  // namespace remora::test
