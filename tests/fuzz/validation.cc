// SPDX-License-Identifier: Apache-2.0
// Target: what clients of the API send. A resource and a patch of one kind in the wire form of
// protobuf, a field mask, and texts as names, ids and page tokens.
//
//   input: kind, sizes of resource and patch, both, then lines: paths of the mask, the last a text
//
// Every rule answers, with a reason when it refuses; an update that is refused changes nothing and
// one that is done does nothing the second time; names and tokens read back to the same.
#include <algorithm>
#include <memory>
#include <string>
#include <string_view>

#include <google/protobuf/field_mask.pb.h>
#include <google/protobuf/message.h>
#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/util/message_differencer.h>

#include "control/host_functions.h"
#include "control/names.h"
#include "control/validate.h"
#include "control/validate_disk.h"
#include "control/validate_nvme.h"
#include "control/validate_volume.h"
#include "core/check.h"
#include "tests/fuzz/support/input.h"

namespace remora::fuzz {
namespace {

using google::protobuf::FieldMask;
using google::protobuf::Message;
using google::protobuf::util::MessageDifferencer;

const platform::FunctionCounts kPlaces{8, {{3, 2}}};
constexpr int kMostPaths = 8;

template <typename R>
bool told(const R& result) {
    CHECK(result.has_value() || !result.error().message.empty());
    return result.has_value();
}

void check_endpoint(const core::Result<reactor::Endpoint>& endpoint) {
    if (told(endpoint)) {
        const auto again = reactor::Endpoint::parse(endpoint->text());
        CHECK(again.has_value() && *again == *endpoint);
    }
}

// Beside validate(): what is derived from a valid resource.
void check_valid(const control::opi::MallocVolume& volume) {
    static_cast<void>(told(control::validate(volume)));
}
void check_valid(const control::opi::NullVolume& volume) {
    static_cast<void>(told(control::validate(volume)));
}
void check_valid(const control::opi::AioVolume& volume) {
    static_cast<void>(told(control::validate(volume)));
}
void check_valid(const control::opi::NvmeSubsystem& subsystem) {
    if (told(control::validate(subsystem))) {
        CHECK(subsystem.spec().nqn().size() <= 223 &&
              subsystem.spec().serial_number().size() <= 20);
    }
}
void check_valid(const control::opi::NvmeController& controller) {
    if (!told(control::validate(controller, kPlaces))) {
        return;
    }
    if (control::is_host_function(controller)) {
        const core::HostFunction function = control::function_of(controller);
        CHECK(function.pf < kPlaces.physical &&
              function.vf <= kPlaces.virtual_functions(function.pf));
        return;
    }
    const auto endpoint = control::endpoint_of(controller);
    CHECK(endpoint.has_value());
    check_endpoint(endpoint);
}
void check_valid(const control::opi::NvmeNamespace& space) {
    if (told(control::validate(space))) {
        CHECK(control::read_nguid(space.spec().nguid()).has_value());
    }
}
void check_valid(const control::opi::NvmeRemoteController& controller) {
    static_cast<void>(told(control::validate(controller)));
}
void check_valid(const control::opi::NvmePath& path) {
    if (told(control::validate(path))) {
        const auto endpoint = control::endpoint_of(path);
        CHECK(endpoint.has_value() && endpoint->port != 0);
        check_endpoint(endpoint);
    }
}
void check_valid(const control::opi::VirtioBlk& disk) {
    static_cast<void>(told(control::validate(disk, kPlaces)));
}

void check_update(const Message& current, const Message& patch, const FieldMask& mask) {
    const control::FieldRules rules{
        {"spec.nqn", "size_bytes", "blocks_count"}, {"status", "name"}, "it is so"};
    const std::unique_ptr<Message> changed(current.New());
    changed->CopyFrom(current);
    if (!told(control::apply_update(*changed, patch, mask, rules))) {
        CHECK(MessageDifferencer::Equals(*changed, current));
        return;
    }
    const std::unique_ptr<Message> again(current.New());
    again->CopyFrom(*changed);
    CHECK(told(control::apply_update(*again, patch, mask, rules)));
    CHECK(MessageDifferencer::Equals(*again, *changed));
}

template <typename M>
void check_resource(Input& input) {
    const std::size_t resource_size = input.u16();
    const std::size_t patch_size = input.u16();
    const auto resource_bytes = input.take_bytes(resource_size);
    const auto patch_bytes = input.take_bytes(patch_size);
    M resource;
    M patch;
    if (!resource.ParseFromArray(resource_bytes.data(), static_cast<int>(resource_bytes.size())) ||
        !patch.ParseFromArray(patch_bytes.data(), static_cast<int>(patch_bytes.size()))) {
        return;
    }
    static_cast<void>(told(control::check_required(resource)));
    check_valid(resource);
    CHECK(told(control::check_same(resource, resource, {})));
    static_cast<void>(told(control::check_same(resource, patch, {"status"})));
    FieldMask mask;
    std::string text = input.take_text(input.size());
    for (int i = 0; i < kMostPaths && text.find('\n') != std::string::npos; ++i) {
        mask.add_paths(text.substr(0, text.find('\n')));
        text.erase(0, text.find('\n') + 1);
    }
    check_update(resource, patch, {});
    check_update(resource, patch, mask);
}

void check_names(const std::string& text) {
    core::Prng prng(1);
    if (const auto id = control::choose_id("id", text, prng); told(id)) {
        CHECK(id->size() <= control::kMaxIdLength && (text.empty() || *id == text));
        CHECK(control::check_name("name", *id).has_value());
    }
    static_cast<void>(told(control::check_name("name", text)));
    const control::Collection collection{"volumes", "mallocVolumes"};
    const std::string name = control::canonical_name(collection, text);
    CHECK(control::canonical_name(collection, name) == name);
    if (const auto child = control::split_child("nvmeNamespaces", text)) {
        CHECK(child->first + "/nvmeNamespaces/" + child->second == text);
        CHECK(control::last_segment(text) == child->second);
    }
    CHECK(text.ends_with(control::last_segment(text)));
    if (const auto nguid = control::read_nguid(text); told(nguid)) {
        CHECK(text.empty() || text.size() >= 32);
    }
    if (const auto uuid = control::read_uuid("uuid", text); told(uuid) && !text.empty()) {
        CHECK(core::Uuid::parse(uuid->text()) == *uuid);
    }
    static_cast<void>(told(control::check_nqn("nqn", text)));
    check_endpoint(control::read_endpoint("traddr", text, "4420", true));
    check_endpoint(control::read_endpoint("traddr", "::1", text, false));
}

void check_order(std::string_view text) {
    const control::NaturalLess less;
    const std::string_view a = text.substr(0, text.size() / 3);
    const std::string_view b = text.substr(a.size(), a.size());
    const std::string_view c = text.substr(2 * a.size());
    CHECK(!less(a, a) && !(less(a, b) && less(b, a)));
    CHECK(a == b || less(a, b) || less(b, a));
    CHECK(!(less(a, b) && less(b, c)) || less(a, c));
    CHECK(!(less(c, b) && less(b, a)) || less(c, a));
}

void check_pages(const std::string& text, std::int32_t size) {
    const auto written = control::read_page("volumes", 0, control::page_token("volumes", text));
    CHECK(written.has_value() && written->after == text && written->size == 50);
    CHECK(!control::read_page("disks", 0, control::page_token("volumes", text)).has_value());
    if (const auto page = control::read_page("volumes", size, text); told(page)) {
        CHECK(size >= 0 && page->size >= 1 && page->size <= 250);
        std::string lower = text;
        std::ranges::transform(lower, lower.begin(),
                               [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
        CHECK(text.empty() || control::page_token("volumes", page->after) == lower);
    }
}

void run(Input input) {
    // A parser's complaints about bytes that are no text would only be in the way.
    static const google::protobuf::LogSilencer quiet;
    const std::uint8_t kind = input.u8() % 12U;
    switch (kind) {
        case 0:
            return check_resource<control::opi::MallocVolume>(input);
        case 1:
            return check_resource<control::opi::NullVolume>(input);
        case 2:
            return check_resource<control::opi::AioVolume>(input);
        case 3:
            return check_resource<control::opi::NvmeSubsystem>(input);
        case 4:
            return check_resource<control::opi::NvmeController>(input);
        case 5:
            return check_resource<control::opi::NvmeNamespace>(input);
        case 6:
            return check_resource<control::opi::NvmeRemoteController>(input);
        case 7:
            return check_resource<control::opi::NvmePath>(input);
        case 8:
            return check_resource<control::opi::VirtioBlk>(input);
        default:
            break;
    }
    const auto size = input.take<std::int32_t>();
    const std::string text = input.take_text(input.size());
    check_names(text);
    check_order(text);
    check_pages(text, size);
    static_cast<void>(told(control::check_function(size, kPlaces.physical)));
    static_cast<void>(told(control::check_virtual_function(3, size, kPlaces)));
}

}  // namespace
}  // namespace remora::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    remora::fuzz::run(remora::fuzz::Input(data, size));
    return 0;
}
