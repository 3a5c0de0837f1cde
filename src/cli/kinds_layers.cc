// SPDX-License-Identifier: Apache-2.0
// remora.v1's storage services: arrays, checksums, faults on purpose.
#include <array>
#include <charconv>
#include <cmath>
#include <string>

#include "cli/kinds.h"
#include "cli/output.h"
#include "core/units.h"
#include "remora/v1/fault.pb.h"
#include "remora/v1/integrity.pb.h"
#include "remora/v1/raid.pb.h"

namespace remora::cli {

namespace {

namespace api = remora::v1;

/// "a,b,c" -> a, b, c.
template <typename Add>
void split(std::string_view flag, const std::string& list, Add add) {
    std::size_t begin = 0;
    while (begin <= list.size() && !list.empty()) {
        const std::size_t end = std::min(list.find(',', begin), list.size());
        if (end == begin) {
            refuse_argument(std::string(flag) + " " + list +
                            ": a name is missing; write them as a,b,c");
        }
        add(list.substr(begin, end - begin));
        begin = end + 1;
    }
}

std::string share_text(const api::BackgroundWork& work) {
    if (work.kind() == api::BackgroundWork::KIND_UNSPECIFIED) {
        return "";
    }
    const std::uint64_t percent =
        work.total_bytes() == 0 ? 0 : work.done_bytes() * 100 / work.total_bytes();
    return enum_text(api::BackgroundWork::Kind_Name(work.kind()), "KIND") + " " +
           std::to_string(percent) + " %";
}

// Arrays.

constexpr std::array kRaidFlags{
    Flag{"--level",
         "LEVEL",
         "How the members are used",
         FlagType::Text,
         true,
         {},
         "concat|0|1|5|10"},
    Flag{"--members", "REF,REF...", "The volumes that it is made of; what is on them is lost",
         FlagType::Text, true},
    Flag{"--spares", "REF,...", "Volumes that take the place of a member that fails"},
    Flag{"--chunk", "SIZE", "Of a member before the next one's turn, 4k to 256k", FlagType::Text,
         false, "64k"},
    Flag{"--background-mbs", "N", "MiB a second of rebuild, resync and scrub", FlagType::Number}};

void build_raid(const Values& values, Message& resource) {
    auto& raid = as<api::RaidVolume>(resource);
    const std::string& level = values.text("--level");
    raid.set_level(level == "concat" ? api::RAID_LEVEL_CONCAT
                   : level == "0"    ? api::RAID_LEVEL_0
                   : level == "1"    ? api::RAID_LEVEL_1
                   : level == "5"    ? api::RAID_LEVEL_5
                                     : api::RAID_LEVEL_10);
    split("--members", values.text("--members"),
          [&raid](const std::string& name) { raid.add_members(name); });
    split("--spares", values.text("--spares"),
          [&raid](const std::string& name) { raid.add_spares(name); });
    const std::uint64_t chunk = values.size("--chunk");
    if (chunk > std::uint64_t{1} << 30U) {
        refuse_argument("--chunk " + values.text("--chunk") + ": use 4k to 256k");
    }
    raid.set_chunk_bytes(static_cast<std::uint32_t>(chunk));
    raid.set_background_mbs(static_cast<std::uint32_t>(values.number("--background-mbs")));
}

std::string members_text(const Message& message) {
    std::string text;
    for (const api::RaidMember& member : as<api::RaidVolume>(message).member_states()) {
        text += (text.empty() ? "" : ", ") + short_name(member.volume());
        if (member.state() != api::RaidMember::STATE_ACTIVE) {
            text += " (" + enum_text(api::RaidMember::State_Name(member.state()), "STATE") + ")";
        }
    }
    return text;
}

constexpr std::array kRaidColumns{
    Column{"LEVEL",
           [](const Message& m) {
               return enum_text(api::RaidLevel_Name(as<api::RaidVolume>(m).level()), "RAID_LEVEL");
           }},
    Column{"SIZE",
           [](const Message& m) { return core::format_size(as<api::RaidVolume>(m).size_bytes()); }},
    Column{"HEALTH",
           [](const Message& m) {
               return enum_text(api::RaidVolume::Health_Name(as<api::RaidVolume>(m).health()),
                                "HEALTH");
           }},
    Column{"MEMBERS", members_text},
    Column{"WORK", [](const Message& m) { return share_text(as<api::RaidVolume>(m).work()); }}};

constexpr std::array<std::string_view, 2> kRaidChangeable{"spares", "background_mbs"};

// Checksums.

constexpr std::array kIntegrityFlags{
    Flag{"--volume", "REF", "What holds data and checksums; what is on it is lost", FlagType::Text,
         true},
    Flag{"--scrub-mbs", "N", "MiB a second of a scrub", FlagType::Number}};

void build_integrity(const Values& values, Message& resource) {
    auto& volume = as<api::IntegrityVolume>(resource);
    volume.set_volume_name_ref(values.text("--volume"));
    volume.set_scrub_mbs(static_cast<std::uint32_t>(values.number("--scrub-mbs")));
}

constexpr std::array kIntegrityColumns{
    Column{"VOLUME",
           [](const Message& m) { return as<api::IntegrityVolume>(m).volume_name_ref(); }},
    Column{"SIZE",
           [](const Message& m) {
               return core::format_size(as<api::IntegrityVolume>(m).size_bytes());
           }},
    Column{
        "MISMATCHES",
        [](const Message& m) { return std::to_string(as<api::IntegrityVolume>(m).mismatches()); }},
    Column{"WORK",
           [](const Message& m) { return share_text(as<api::IntegrityVolume>(m).work()); }}};

constexpr std::array<std::string_view, 1> kIntegrityChangeable{"scrub_mbs"};

// Faults. The flags make one rule of each kind; a site's file takes any number.

constexpr std::array kFaultFlags{
    Flag{"--volume", "REF", "The volume that suffers: an id, a name, a UUID, or REMOTEnNSID",
         FlagType::Text, true},
    Flag{"--fail", "OPS", "Fail these: read,write,flush,unmap, or all"},
    Flag{"--fail-probability", "P", "Which part of them, 0 to 1 (default: 1)"},
    Flag{"--fail-count", "N", "So many in all (default: without end)", FlagType::Number},
    Flag{"--error", "ERROR", "How they fail", FlagType::Text, false, "medium",
         "medium|no-space|path|data-corrupt|read-only"},
    Flag{"--delay", "OPS", "Hold these up: read,write,flush,unmap, or all"},
    Flag{"--delay-probability", "P", "Which part of them, 0 to 1 (default: 1)"},
    Flag{"--mean-us", "N", "By so many microseconds", FlagType::Number},
    Flag{"--spread-us", "N", "More and less, of uniform and normal delays", FlagType::Number},
    Flag{"--distribution", "NAME", "How the delays differ", FlagType::Text, false, "constant",
         "constant|uniform|exponential|normal"},
    Flag{"--first-lba", "N", "Only what touches the blocks from here on", FlagType::Number},
    Flag{"--block-count", "N", "So many blocks (default: to the end)", FlagType::Number}};

double read_probability(std::string_view flag, const std::string& text) {
    double value = 0;
    const char* end = text.data() + text.size();
    const auto [stopped, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc() || stopped != end || !std::isfinite(value)) {
        refuse_argument(std::string(flag) + " " + text + " is no part of 1, such as 0.01");
    }
    return value;
}

void set_scope(const Values& values,
               std::string_view flag,
               std::string_view probability,
               api::FaultScope& scope) {
    split(flag, values.text(flag), [&](const std::string& word) {
        if (word == "all") {
            return;
        }
        api::FaultScope::Operation operation{};
        std::string name = "OPERATION_";
        for (const char letter : word) {
            name += static_cast<char>(letter >= 'a' && letter <= 'z' ? letter - 'a' + 'A' : letter);
        }
        if (!api::FaultScope::Operation_Parse(name, &operation) ||
            operation == api::FaultScope::OPERATION_UNSPECIFIED) {
            refuse_argument(std::string(flag) + " " + word +
                            ": use read, write, flush, unmap or all");
        }
        scope.add_operations(operation);
    });
    if (values.given(probability)) {
        scope.set_probability(read_probability(probability, values.text(probability)));
    }
    scope.set_first_lba(static_cast<std::uint64_t>(values.number("--first-lba")));
    scope.set_block_count(static_cast<std::uint64_t>(values.number("--block-count")));
}

google::protobuf::Duration microseconds(std::int32_t count) {
    constexpr std::int32_t kPerSecond = 1'000'000;
    google::protobuf::Duration out;
    out.set_seconds(count / kPerSecond);
    out.set_nanos(count % kPerSecond * 1000);
    return out;
}

api::ErrorRule::Error error_of(const std::string& word) {
    return word == "no-space"       ? api::ErrorRule::ERROR_NO_SPACE
           : word == "path"         ? api::ErrorRule::ERROR_PATH
           : word == "data-corrupt" ? api::ErrorRule::ERROR_DATA_CORRUPT
           : word == "read-only"    ? api::ErrorRule::ERROR_READ_ONLY
                                    : api::ErrorRule::ERROR_MEDIUM;
}

api::DelayRule::Distribution distribution_of(const std::string& word) {
    return word == "uniform"       ? api::DelayRule::DISTRIBUTION_UNIFORM
           : word == "exponential" ? api::DelayRule::DISTRIBUTION_EXPONENTIAL
           : word == "normal"      ? api::DelayRule::DISTRIBUTION_NORMAL
                                   : api::DelayRule::DISTRIBUTION_CONSTANT;
}

void build_fault(const Values& values, Message& resource) {
    auto& fault = as<api::FaultInjection>(resource);
    fault.set_volume_name_ref(values.text("--volume"));
    if (values.given("--fail")) {
        api::ErrorRule& rule = *fault.add_errors();
        set_scope(values, "--fail", "--fail-probability", *rule.mutable_scope());
        rule.set_count(static_cast<std::uint64_t>(values.number("--fail-count")));
        rule.set_error(error_of(values.text("--error")));
    }
    if (values.given("--delay")) {
        api::DelayRule& rule = *fault.add_delays();
        set_scope(values, "--delay", "--delay-probability", *rule.mutable_scope());
        rule.set_distribution(distribution_of(values.text("--distribution")));
        *rule.mutable_mean() = microseconds(values.number("--mean-us"));
        if (values.given("--spread-us")) {
            *rule.mutable_spread() = microseconds(values.number("--spread-us"));
        }
    }
}

constexpr std::array kFaultColumns{
    Column{"VOLUME", [](const Message& m) { return as<api::FaultInjection>(m).volume_name_ref(); }},
    Column{"RULES",
           [](const Message& m) {
               const auto& fault = as<api::FaultInjection>(m);
               return std::to_string(fault.errors_size() + fault.delays_size());
           }},
    Column{"FAILED",
           [](const Message& m) {
               return std::to_string(as<api::FaultInjection>(m).failed_requests());
           }},
    Column{"DELAYED", [](const Message& m) {
               return std::to_string(as<api::FaultInjection>(m).delayed_requests());
           }}};

constexpr std::array<std::string_view, 3> kFaultChangeable{"errors", "delays", "seed"};

constexpr std::array kLayers{
    Kind{.name = "integrity",
         .plural = "integrity-volumes",
         .what = "a volume whose blocks have checksums, in another one",
         .service = "remora.v1.IntegrityService",
         .message = "IntegrityVolume",
         .collection = "volumes",
         .example = "checked0",
         .example_flags = "--volume disk0",
         .columns = kIntegrityColumns,
         .flags = kIntegrityFlags,
         .build = build_integrity,
         .counters = Counters::Volume,
         .pattern = "integrityVolumes",
         .changeable = kIntegrityChangeable},
    Kind{.name = "raid",
         .plural = "raids",
         .what = "a volume made of several others",
         .service = "remora.v1.RaidService",
         .message = "RaidVolume",
         .collection = "volumes",
         .example = "array0",
         .example_flags = "--level 5 --members disk0,disk1,disk2 --spares disk3",
         .columns = kRaidColumns,
         .flags = kRaidFlags,
         .build = build_raid,
         .counters = Counters::Volume,
         .pattern = "raidVolumes",
         .changeable = kRaidChangeable},
    Kind{.name = "fault",
         .plural = "faults",
         .what = "errors and delays of a volume, on purpose",
         .service = "remora.v1.FaultInjectionService",
         .message = "FaultInjection",
         .collection = "faultInjections",
         .example = "slow-reads",
         .example_flags = "--volume disk0 --delay read --mean-us 5000 --distribution exponential",
         .columns = kFaultColumns,
         .flags = kFaultFlags,
         .build = build_fault,
         .changeable = kFaultChangeable}};

}  // namespace

std::span<const Kind> layer_kinds() {
    return kLayers;
}

}  // namespace remora::cli
