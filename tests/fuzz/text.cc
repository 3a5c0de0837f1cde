// SPDX-License-Identifier: Apache-2.0
// Target: the small languages that people write: endpoints, host functions, sizes, UUIDs. What is
// understood is written and read again to the same; what is refused is refused with a reason.
#include <string>
#include <string_view>

#include "core/check.h"
#include "core/host_function.h"
#include "core/units.h"
#include "core/uuid.h"
#include "platform/functions_spec.h"
#include "platform/host_platform.h"
#include "reactor/endpoint.h"
#include "tests/fuzz/support/input.h"

namespace remora::fuzz {
namespace {

void check_endpoint(std::string_view text) {
    const auto parsed = reactor::Endpoint::parse(text);
    if (!parsed) {
        CHECK(parsed.error().kind == core::ErrorKind::InvalidArgument);
        CHECK(!parsed.error().message.empty());
        return;
    }
    const auto again = reactor::Endpoint::parse(parsed->text());
    CHECK(again.has_value() && *again == *parsed);
    CHECK(!parsed->address.empty());
}

void check_functions(std::string_view text) {
    const auto places = platform::parse_functions(text);
    if (!places) {
        CHECK(places.error().kind == core::ErrorKind::InvalidArgument);
        return;
    }
    CHECK(!places->empty() && platform::count(*places).physical == places->size() &&
          places->size() <= platform::kMaxFunctions);
    std::string written;
    for (const auto& [function, place] : *places) {
        CHECK(!place.bus.empty());
        written += (written.empty() ? "" : ",") + place.bus + ":" + std::to_string(place.slot);
    }
    const auto again = platform::parse_functions(written);
    CHECK(again.has_value() && *again == *places);
}

void check_virtual_functions(std::string_view text) {
    platform::FunctionPlaces places = *platform::parse_functions("rp[0-3],br1:1-4");
    const std::size_t physical = places.size();
    const auto added = platform::add_virtual_functions(text, places);
    if (!added) {
        CHECK(added.error().kind == core::ErrorKind::InvalidArgument);
        return;
    }
    const platform::FunctionCounts counts = platform::count(places);
    CHECK(counts.physical == physical && counts.virtual_of.size() == 1 &&
          counts.all_virtual() == places.size() - physical &&
          counts.all_virtual() <= platform::kMaxVirtualFunctions);
}

void check_host_function(std::string_view text) {
    const auto function = core::HostFunction::parse(text);
    CHECK(!function || function->text() == text);
}

void check_size(std::string_view text) {
    const auto size = core::parse_size(text);
    if (!size) {
        CHECK(size.error().kind == core::ErrorKind::InvalidArgument);
        return;
    }
    const auto again = core::parse_size(std::to_string(*size));
    CHECK(again.has_value() && *again == *size);
    CHECK(!core::format_size(*size).empty());
}

void check_uuid(std::string_view text) {
    const auto uuid = core::Uuid::parse(text);
    CHECK(!uuid || (text.size() == 36 && core::Uuid::parse(uuid->text()) == uuid));
}

}  // namespace
}  // namespace remora::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace remora::fuzz;
    Input input(data, size);
    const std::string text = input.take_text(size);
    check_endpoint(text);
    check_functions(text);
    check_virtual_functions(text);
    check_host_function(text);
    check_size(text);
    check_uuid(text);
    return 0;
}
