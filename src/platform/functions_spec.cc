// SPDX-License-Identifier: Apache-2.0
#include "platform/functions_spec.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

namespace remora::platform {

using core::ErrorKind;
using core::fail;
using core::Result;

namespace {

/// PCI has 32 device numbers a bus (PCI Local Bus 3.0, 3.2.2.3.2).
constexpr std::uint32_t kLastSlot = 31;
constexpr std::uint32_t kLastPort = 9999;

std::unexpected<core::Error> bad(std::string_view part, std::string_view why) {
    return fail(ErrorKind::InvalidArgument,
                "\"" + std::string(part) + "\" " + std::string(why) +
                    "; write BUS, BUS:SLOT, BUS:FIRST-LAST or PREFIX[A-B], separated by commas");
}

std::optional<std::uint32_t> number(std::string_view text) {
    std::uint32_t value = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) {
        return std::nullopt;
    }
    return value;
}

/// "3" or "1-31".
std::optional<std::pair<std::uint32_t, std::uint32_t>> range(std::string_view text) {
    const auto dash = text.find('-');
    const auto first = number(text.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : number(text.substr(dash + 1));
    if (!first || !last || *first > *last) {
        return std::nullopt;
    }
    return std::pair{*first, *last};
}

bool is_bus_name(std::string_view text) {
    return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '.' || c == '_' || c == '-';
    });
}

/// Most places one part may give: enough to see that there are too many, never more work.
constexpr std::uint32_t kMostPerPart = std::max(kMaxFunctions, kMaxVirtualFunctions) + 1;

Result<std::vector<PciPlace>> parse_part(std::string_view part) {
    std::vector<PciPlace> places;
    if (const auto open = part.find('['); open != std::string_view::npos) {
        const auto ports = part.back() == ']' ? range(part.substr(open + 1, part.size() - open - 2))
                                              : std::nullopt;
        if (!ports || ports->second > kLastPort || !is_bus_name(part.substr(0, open))) {
            return bad(part, "is not root ports PREFIX[A-B]");
        }
        for (std::uint32_t i = 0; i <= ports->second - ports->first && i < kMostPerPart; ++i) {
            places.push_back(
                {std::string(part.substr(0, open)) + std::to_string(ports->first + i), 0});
        }
        return places;
    }
    const auto colon = part.find(':');
    const std::string_view bus = part.substr(0, colon);
    if (!is_bus_name(bus)) {
        return bad(part, "has no bus name");
    }
    if (colon == std::string_view::npos) {
        places.push_back({std::string(bus), 0});
        return places;
    }
    const auto slots = range(part.substr(colon + 1));
    if (!slots || slots->second > kLastSlot) {
        return bad(part, "has no slots 0 to 31 after ':'");
    }
    for (std::uint32_t slot = slots->first; slot <= slots->second; ++slot) {
        places.push_back({std::string(bus), slot});
    }
    return places;
}

bool is_taken(const FunctionPlaces& places, const PciPlace& place) {
    return std::ranges::any_of(places, [&](const auto& taken) { return taken.second == place; });
}

/// Gives the places in the list to `function` and those behind it, by the number that counts up.
Result<void> deal(std::string_view spec,
                  core::HostFunction function,
                  std::uint32_t core::HostFunction::* number,
                  FunctionPlaces& places) {
    std::size_t start = 0;
    while (start <= spec.size()) {
        const std::size_t end = std::min(spec.find(',', start), spec.size());
        const std::string_view part = spec.substr(start, end - start);
        auto parsed = parse_part(part);
        if (!parsed) {
            return std::unexpected(parsed.error());
        }
        for (PciPlace& place : *parsed) {
            if (is_taken(places, place)) {
                return bad(part, "gives a place twice");
            }
            places.emplace(function, std::move(place));
            ++(function.*number);
        }
        const FunctionCounts counts = count(places);
        if (counts.physical > kMaxFunctions) {
            return bad(part, "brings the host to more than 64 physical functions");
        }
        if (counts.all_virtual() > kMaxVirtualFunctions) {
            return bad(part, "brings the host to more than 64 virtual functions");
        }
        start = end + 1;
    }
    return {};
}

}  // namespace

Result<FunctionPlaces> parse_functions(std::string_view spec) {
    FunctionPlaces places;
    const auto dealt = deal(spec, 0, &core::HostFunction::pf, places);
    return dealt ? Result<FunctionPlaces>(std::move(places)) : std::unexpected(dealt.error());
}

Result<void> add_virtual_functions(std::string_view spec, FunctionPlaces& places) {
    const auto equals = spec.find('=');
    const auto pf = number(spec.substr(0, equals));
    if (equals == std::string_view::npos || !pf) {
        return fail(ErrorKind::InvalidArgument,
                    "\"" + std::string(spec) +
                        "\" does not begin with the physical function; write PF=PLACES, such as "
                        "0=br3:8-15");
    }
    if (!places.contains(*pf)) {
        return fail(ErrorKind::InvalidArgument, "\"" + std::string(spec) + "\": host function " +
                                                    std::to_string(*pf) + " has no place itself");
    }
    if (places.contains({*pf, 1})) {
        return fail(ErrorKind::InvalidArgument,
                    "\"" + std::string(spec) + "\": host function " + std::to_string(*pf) +
                        " has its virtual functions already; give them in one list");
    }
    return deal(spec.substr(equals + 1), {*pf, 1}, &core::HostFunction::vf, places);
}

FunctionCounts count(const FunctionPlaces& places) {
    FunctionCounts counts;
    for (const auto& [function, place] : places) {
        if (function.vf == 0) {
            ++counts.physical;
        } else {
            ++counts.virtual_of[function.pf];
        }
    }
    return counts;
}

}  // namespace remora::platform
