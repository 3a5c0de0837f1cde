// SPDX-License-Identifier: Apache-2.0
#include "core/log.h"

#include <algorithm>
#include <chrono>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/log_limiter.h"

namespace remora {
namespace {

using log::kv;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

/// What `write()` puts on stderr.
template <typename F>
std::string logged(F write) {
    testing::internal::CaptureStderr();
    write();
    return testing::internal::GetCapturedStderr();
}

class LogTest : public testing::Test {
  public:
    LogTest() { log::set_level(log::Level::Info); }
    ~LogTest() override { log::set_level(log::Level::Info); }
};

TEST_F(LogTest, Info_writesMessageAndKeys) {
    const std::string line = logged([] {
        log::info("controller connected", kv("subsystem", "nqn.2016-06.io.spdk:a"), kv("qid", 3),
                  kv("live", true));
    });
    EXPECT_THAT(line, EndsWith("info controller connected subsystem=nqn.2016-06.io.spdk:a qid=3 "
                               "live=true\n"));
}

TEST_F(LogTest, Value_withSpacesQuotesOrEquals_isQuotedAndEscaped) {
    const std::string line =
        logged([] { log::warn("refused", kv("name", "a \"b\" \\c"), kv("other", "x=1")); });
    EXPECT_THAT(line, EndsWith("refused name=\"a \\\"b\\\" \\\\c\" other=\"x=1\"\n"));
}

TEST_F(LogTest, Value_empty_isShownAsQuotes) {
    EXPECT_THAT(logged([] { log::info("m", kv("key", "")); }), EndsWith("m key=\"\"\n"));
}

TEST_F(LogTest, Value_withLineBreak_staysOnOneLine) {
    const std::string line =
        logged([] { log::info("m", kv("peer", "x\n2026-01-01 error forged line")); });
    EXPECT_EQ(line.find('\n'), line.size() - 1);
}

TEST_F(LogTest, Value_withAnyControlCharacter_doesNotReachTheTerminal) {
    for (int code = 0; code < 0x80; ++code) {
        if (code >= 0x20 && code != 0x7f) {
            continue;
        }
        const std::string value = std::string("a") + static_cast<char>(code) + "b";
        const std::string line = logged([&value] { log::info("m", kv("peer", value)); });
        EXPECT_THAT(line, EndsWith("m peer=\"a b\"\n")) << "code " << code;
    }
}

TEST_F(LogTest, Value_withBraces_isNotAFormat) {
    EXPECT_THAT(logged([] { log::info("m {}", kv("key", "{0}")); }), EndsWith("m {} key={0}\n"));
}

TEST_F(LogTest, Level_belowTheSetOne_isNotWritten) {
    log::set_level(log::Level::Warn);
    EXPECT_THAT(logged([] { log::info("quiet"); }), IsEmpty());
    EXPECT_THAT(logged([] { log::error("loud"); }), HasSubstr("loud"));
}

TEST_F(LogTest, ParseLevel_knowsFourNames) {
    log::Level level = log::Level::Info;
    EXPECT_TRUE(log::parse_level("debug", level));
    EXPECT_EQ(level, log::Level::Debug);
    EXPECT_TRUE(log::parse_level("error", level));
    EXPECT_EQ(level, log::Level::Error);
    EXPECT_FALSE(log::parse_level("INFO", level));
    EXPECT_FALSE(log::parse_level("", level));
    EXPECT_EQ(level, log::Level::Error);
}

TEST(LogLimiterTest, RepeatedMessage_isLeftOutAndCounted) {
    using std::chrono::seconds;
    core::LogLimiter limiter;
    core::Nanos now = seconds(100);
    for (int i = 0; i < core::LogLimiter::kBurst; ++i) {
        ASSERT_EQ(limiter.admit("queue broken", now), 0U);
    }
    for (int i = 0; i < 7; ++i) {
        EXPECT_EQ(limiter.admit("queue broken", now), std::nullopt);
    }
    EXPECT_EQ(limiter.admit("session opened", now), 0U);  // another one is not concerned
    now += seconds(1);
    EXPECT_EQ(limiter.admit("queue broken", now), 7U);
    for (int i = 1; i < core::LogLimiter::kPerSecond; ++i) {
        EXPECT_EQ(limiter.admit("queue broken", now), 0U);
    }
    EXPECT_EQ(limiter.admit("queue broken", now), std::nullopt);
    now += seconds(1000);
    EXPECT_EQ(limiter.admit("queue broken", now), 1U);
}

TEST_F(LogTest, MessageWithoutEnd_fillsNoDisk) {
    const std::string lines = logged([] {
        for (int i = 0; i < 20'000; ++i) {
            log::info("the same again");
        }
        log::info("another one");
    });
    const auto count = std::ranges::count(lines, '\n');
    EXPECT_GE(count, core::LogLimiter::kBurst + 1);
    EXPECT_LT(count, core::LogLimiter::kBurst + 500);
    EXPECT_THAT(lines, HasSubstr("another one"));
}

}  // namespace
}  // namespace remora
