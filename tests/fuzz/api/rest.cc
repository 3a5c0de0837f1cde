// SPDX-License-Identifier: Apache-2.0
// Target: what clients send over HTTP: heads, URLs, path templates and paths, update masks, JSON
// bodies, and whole requests through the transcoder.
//
//   input: which parser, then its text (whole requests: see run_transcoder())
//
// Whatever is taken is within its bounds and reads back the same: a head that was reduced says the
// same of its body, what a message's JSON says is the message, and what the transcoder sends is
// what gRPC takes. What is refused has a reason.
#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <google/protobuf/field_mask.pb.h>
#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/util/message_differencer.h>
#include <nlohmann/json.hpp>

#include "core/check.h"
#include "inventory/inventory.pb.h"
#include "remora/v1/fault.pb.h"
#include "remora/v1/integrity.pb.h"
#include "remora/v1/raid.pb.h"
#include "remora/v1/remora.pb.h"
#include "rest/head.h"
#include "rest/json_input.h"
#include "rest/path_template.h"
#include "rest/transcoder.h"
#include "rest/update_mask.h"
#include "rest/url.h"
#include "storage/backend_aio.pb.h"
#include "storage/backend_malloc.pb.h"
#include "storage/backend_null.pb.h"
#include "storage/backend_nvme.pb.h"
#include "storage/frontend_nvme.pb.h"
#include "storage/frontend_virtio_blk.pb.h"
#include "storage/frontend_virtio_scsi.pb.h"
#include "storage/middleend_encryption.pb.h"
#include "storage/middleend_qos_volume.pb.h"
#include "tests/fuzz/support/input.h"
#include "tests/unit/control/bad_input_rows.h"

namespace remora::fuzz {
namespace {

using google::protobuf::FieldMask;
using google::protobuf::Message;
using google::protobuf::MethodDescriptor;
using google::protobuf::util::MessageDifferencer;

namespace opi = opi_api::storage::v1;

/// Naming a message of each file keeps its descriptors in the program.
const std::vector<const MethodDescriptor*>& methods() {
    static const std::vector<const MethodDescriptor*> all = [] {
        for (const auto* used :
             {opi_api::inventory::v1::Inventory::descriptor(), remora::v1::Attachment::descriptor(),
              remora::v1::RaidVolume::descriptor(), remora::v1::IntegrityVolume::descriptor(),
              remora::v1::FaultInjection::descriptor(), opi::AioVolume::descriptor(),
              opi::MallocVolume::descriptor(), opi::NullVolume::descriptor(),
              opi::NvmePath::descriptor(), opi::NvmeSubsystem::descriptor(),
              opi::VirtioBlk::descriptor(), opi::VirtioScsiLun::descriptor(),
              opi::EncryptedVolume::descriptor(), opi::QosVolume::descriptor()}) {
            CHECK(used != nullptr);
        }
        return test::served_methods();
    }();
    return all;
}

template <typename R>
bool told(const R& result) {
    CHECK(result.has_value() || !result.error().message.empty());
    return result.has_value();
}

void run_head(const std::string& text) {
    const auto head = rest::parse_head(text);
    if (!head) {
        CHECK(head.error().status >= 400 && head.error().status < 600);
        CHECK(!head.error().message.empty());
        return;
    }
    CHECK(head->text.ends_with("\r\n\r\n") && head->text.size() <= text.size() + 64);
    CHECK(std::ranges::count(head->text, '\n') <= 12);
    CHECK(head->content_length <= rest::kLargestBody);
    CHECK(!head->chunked || head->content_length == 0);
    CHECK(head->text.find("\r\n\r\n") == head->text.size() - 4);
    const auto again = rest::parse_head(head->text);
    CHECK(again.has_value());
    CHECK(again->chunked == head->chunked && again->content_length == head->content_length);
}

std::string percent_encoded(const std::string& text) {
    constexpr std::string_view kHex = "0123456789ABCDEF";
    std::string out;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        out += {'%', kHex[byte >> 4U], kHex[byte & 0xfU]};
    }
    return out;
}

void run_url(const std::string& text) {
    for (const rest::Slash slash : {rest::Slash::Decode, rest::Slash::Keep}) {
        const auto decoded = rest::percent_decode(text, slash);
        if (told(decoded)) {
            CHECK(decoded->size() <= text.size() && rest::is_utf8(*decoded));
        }
        if (decoded && slash == rest::Slash::Decode) {
            const auto again = rest::percent_decode(percent_encoded(*decoded), slash);
            CHECK(again.has_value() && *again == *decoded);
        }
    }
    const auto query = rest::parse_query(text);
    if (!told(query)) {
        return;
    }
    CHECK(query->size() <= rest::kMostParameters);
    std::string written;
    for (const rest::Parameter& one : *query) {
        written += (written.empty() ? "" : "&") + percent_encoded(one.name) + "=" +
                   percent_encoded(one.value);
    }
    const auto again = rest::parse_query(written);
    CHECK(again.has_value());
    CHECK(std::ranges::equal(*query, *again, [](const auto& a, const auto& b) {
        return a.name == b.name && a.value == b.value;
    }));
}

void run_path(const std::string& text) {
    const std::string pattern = text.substr(0, text.find('\n'));
    const auto made = rest::PathTemplate::parse(pattern);
    const auto path =
        rest::RequestPath::parse(text.substr(std::min(pattern.size() + 1, text.size())));
    const bool both = told(made) && told(path);
    if (made) {
        CHECK(!rest::PathTemplate::more_specific(*made, *made));
        for (const auto& variable : made->variables()) {
            CHECK(!variable.field_path.empty());
            CHECK(variable.first + variable.count <= made->segments().size());
        }
        const auto shape = rest::PathTemplate::parse(made->shape());
        CHECK(shape.has_value() && shape->shape() == made->shape());
    }
    if (both && made->matches(*path)) {
        CHECK(made->capture(*path).size() == made->variables().size());
    }
}

void run_mask(const std::string& text) {
    FieldMask mask;
    if (!told(rest::read_mask(text, mask, "update_mask"))) {
        return;
    }
    CHECK(static_cast<std::size_t>(mask.paths_size()) <= text.size() + 1);
    std::string joined;
    for (const std::string& path : mask.paths()) {
        joined += (joined.empty() ? "" : ",") + path;
    }
    FieldMask again;
    CHECK(rest::read_mask(joined, again, "update_mask").has_value());
    CHECK(MessageDifferencer::Equals(mask, again));
}

/// What its JSON says of a message is the message.
void check_json(const Message& message) {
    const auto text = rest::to_json(message);
    CHECK(text.has_value());
    const auto json = rest::parse_json(*text);
    CHECK(json.has_value());
    const std::unique_ptr<Message> again(message.New());
    const auto read = rest::read_message(*json, *again, "body");
    CHECK(read.has_value());
    CHECK(again->SerializeAsString() == message.SerializeAsString());
}

void run_json(Input& input) {
    const MethodDescriptor& method = *methods()[input.u8() % methods().size()];
    const std::string text = input.take_text(input.size());
    const auto json = rest::parse_json(text);
    if (!told(json)) {
        return;
    }
    const std::unique_ptr<Message> message(google::protobuf::MessageFactory::generated_factory()
                                               ->GetPrototype(method.input_type())
                                               ->New());
    if (told(rest::read_message(*json, *message, "body"))) {
        check_json(*message);
        rest::mask_of(json->is_object() ? *json : nlohmann::json::object(), *method.input_type());
    }
}

/// In place of gRPC: it would take every request.
class CheckingCaller final : public rest::Caller {
  public:
    grpc::Status call(const MethodDescriptor& method,
                      const Message& request,
                      Message& /*response*/,
                      core::Nanos limit,
                      const std::string& /*peer*/) override {
        CHECK(request.GetDescriptor() == method.input_type());
        CHECK(limit.count() > 0 && limit <= rest::kLongestDeadline);
        std::string bytes;
        CHECK(request.SerializeToString(&bytes));
        const std::unique_ptr<Message> again(request.New());
        CHECK(again->ParseFromString(bytes));  // as gRPC does it: all text is UTF-8
        return grpc::Status::OK;
    }
};

/// Verb (one byte), then lines: target, content type, origin, timeout; the rest is the body.
void run_transcoder(Input& input) {
    CHECK(!methods().empty());
    static CheckingCaller caller;
    static const auto transcoder =
        std::move(*rest::Transcoder::make(test::served_services(), caller));
    constexpr const char* kVerbs[] = {"GET", "POST", "PATCH", "DELETE", "PUT", "OPTIONS", "HEAD"};
    rest::HttpRequest request;
    request.method = kVerbs[input.below(7)];
    std::string text = input.take_text(input.size());
    for (std::string* part :
         {&request.target, &request.content_type, &request.origin, &request.timeout}) {
        *part = text.substr(0, text.find('\n'));
        text.erase(0, part->size() + 1);
    }
    if (!request.target.starts_with('/')) {
        request.target.insert(0, "/");  // parse_head() sees to it
    }
    request.host = "localhost";
    request.body = text;
    const rest::HttpAnswer answer = transcoder->answer(request);
    CHECK(answer.status >= 200 && answer.status < 600 && answer.status != 500);
    CHECK(nlohmann::json::accept(answer.body) || answer.status == 204 || answer.body.empty());
    CHECK(answer.status == 200 || answer.body.size() < 4 * request.target.size() + 4096);
}

void run(Input input) {
    static const google::protobuf::LogSilencer quiet;
    const std::uint8_t which = input.u8() % 6U;
    if (which == 4) {
        return run_json(input);
    }
    if (which == 5) {
        return run_transcoder(input);
    }
    const std::string text = input.take_text(input.size());
    if (which == 0) {
        run_head(text);
    } else if (which == 1) {
        run_url(text);
    } else if (which == 2) {
        run_path(text);
    } else {
        run_mask(text);
    }
}

}  // namespace
}  // namespace remora::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    remora::fuzz::run(remora::fuzz::Input(data, size));
    return 0;
}
