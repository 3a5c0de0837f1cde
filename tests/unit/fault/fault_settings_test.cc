// SPDX-License-Identifier: Apache-2.0
#include "services/fault/fault_settings.h"

#include <limits>
#include <string>

#include <gtest/gtest.h>

namespace remora::services::fault {
namespace {

using namespace std::chrono_literals;
using block::Opcode;
using block::Status;
using Distribution = DelayRule::Distribution;

ErrorRule an_error() {
    return {.on = {.read = true}};
}
DelayRule a_delay() {
    return {.on = {.write = true}, .mean = 1ms};
}

TEST(FaultSettings, None_areValidAndEmpty) {
    EXPECT_TRUE(FaultSettings{}.empty());
    EXPECT_TRUE(check_settings({}));
    FaultSettings failing;
    failing.errors.push_back(an_error());
    EXPECT_FALSE(failing.empty());
    FaultSettings slow;
    slow.delays.push_back(a_delay());
    EXPECT_FALSE(slow.empty());
}

TEST(FaultSettings, OperationSet_hasWhatItNames) {
    const OperationSet unmap{.unmap = true};
    EXPECT_TRUE(unmap.has(Opcode::Discard));
    EXPECT_TRUE(unmap.has(Opcode::WriteZeroes));
    EXPECT_FALSE(unmap.has(Opcode::Write));
    EXPECT_TRUE((OperationSet{.read = true}).has(Opcode::Read));
    EXPECT_TRUE((OperationSet{.write = true}).has(Opcode::Write));
    EXPECT_TRUE((OperationSet{.flush = true}).has(Opcode::Flush));
    EXPECT_FALSE(OperationSet{}.any());
}

TEST(FaultSettings, Borders_areValid) {
    FaultSettings settings;
    settings.errors.assign(FaultSettings::kMostRules, an_error());
    settings.errors[0].first_lba = ~std::uint64_t{0};
    settings.errors[1].block_count = ~std::uint64_t{0};
    settings.errors[2].probability = std::numeric_limits<double>::denorm_min();
    settings.errors[3].status = Status::DataCorrupt;
    settings.delays.assign(FaultSettings::kMostRules, a_delay());
    settings.delays[0].mean = 1ns;
    settings.delays[1].mean = FaultSettings::kMostDelay;
    settings.delays[2].distribution = Distribution::Uniform;
    settings.delays[2].spread = 1ms;
    EXPECT_TRUE(check_settings(settings));
}

struct Refusal {
    std::string field;  ///< That the error names.
    void (*spoil)(FaultSettings& settings);
};

TEST(FaultSettings, EachRefusal_namesTheFieldAndWhatIsRight) {
    const Refusal refusals[] = {
        {"errors has 17 rules: use at most 16",
         [](FaultSettings& s) { s.errors.assign(17, an_error()); }},
        {"delays has 17 rules: use at most 16",
         [](FaultSettings& s) { s.delays.assign(17, a_delay()); }},
        {"errors[1].on names no operation", [](FaultSettings& s) { s.errors[1].on = {}; }},
        {"delays[1].on names no operation", [](FaultSettings& s) { s.delays[1].on = {}; }},
        {"errors[0].block_count goes past",
         [](FaultSettings& s) {
             s.errors[0].first_lba = ~std::uint64_t{0};
             s.errors[0].block_count = 1;
         }},
        {"errors[0].probability is 0.0", [](FaultSettings& s) { s.errors[0].probability = 0; }},
        {"errors[1].probability is 1.1", [](FaultSettings& s) { s.errors[1].probability = 1.1; }},
        {"delays[0].probability is nan: it has to be above 0 and at most 1",
         [](FaultSettings& s) {
             s.delays[0].probability = std::numeric_limits<double>::quiet_NaN();
         }},
        {"errors[0].status is no failure",
         [](FaultSettings& s) { s.errors[0].status = Status::Ok; }},
        {"errors[0].status is no failure",
         [](FaultSettings& s) { s.errors[0].status = static_cast<Status>(200); }},
        {"delays[0].mean has to be above 0 and at most 60 s",
         [](FaultSettings& s) { s.delays[0].mean = 0ns; }},
        {"delays[0].mean has to be above 0 and at most 60 s",
         [](FaultSettings& s) { s.delays[0].mean = 60s + 1ns; }},
        {"delays[0].distribution is none",
         [](FaultSettings& s) { s.delays[0].distribution = static_cast<Distribution>(9); }},
        {"delays[0].spread is only for uniform and normal delays",
         [](FaultSettings& s) { s.delays[0].spread = 1ns; }},
        {"delays[1].spread has to be at least 0 and at most the mean",
         [](FaultSettings& s) {
             s.delays[1].distribution = Distribution::Normal;
             s.delays[1].spread = -1ns;
         }},
        {"delays[1].spread has to be at least 0 and at most the mean",
         [](FaultSettings& s) {
             s.delays[1].distribution = Distribution::Uniform;
             s.delays[1].spread = 1ms + 1ns;
         }},
    };
    for (const Refusal& refusal : refusals) {
        FaultSettings settings{.errors = {an_error(), an_error()},
                               .delays = {a_delay(), a_delay()}};
        ASSERT_TRUE(check_settings(settings));
        refusal.spoil(settings);
        const auto valid = check_settings(settings);
        ASSERT_FALSE(valid) << refusal.field;
        EXPECT_EQ(valid.error().kind, core::ErrorKind::InvalidArgument);
        EXPECT_TRUE(valid.error().message.starts_with(refusal.field)) << valid.error().message;
    }
}

TEST(FaultCounts, Add_sumsRuleByRule) {
    FaultCounts sum{
        .errors = 1, .delayed = 2, .delayed_ns = 3, .error_hits = {1}, .delay_hits = {}};
    sum.add({.errors = 4, .delayed = 5, .delayed_ns = 6, .error_hits = {4, 7}, .delay_hits = {5}});
    EXPECT_EQ(
        sum,
        (FaultCounts{
            .errors = 5, .delayed = 7, .delayed_ns = 9, .error_hits = {5, 7}, .delay_hits = {5}}));
}

}  // namespace
}  // namespace remora::services::fault
