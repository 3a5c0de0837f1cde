// SPDX-License-Identifier: Apache-2.0
// The checker and what is no script: bit flips, TermReq, a side that is not judged, counts.
#include <gtest/gtest.h>

#include "core/crc32c.h"
#include "core/prng.h"
#include "tests/sim/oracle/nvme_tcp_talk.h"

namespace remora::sim {
namespace {

constexpr std::uint16_t kFailed = 0x06;
constexpr std::uint8_t kBoth = layout::kLastFlag | layout::kSuccessFlag;

constexpr auto kToTarget = NvmeTcpChecker::Direction::HostToTarget;
constexpr auto kToHost = NvmeTcpChecker::Direction::TargetToHost;

TEST(CheckerTest, TableCrc_isCrc32c) {
    core::Prng prng(1);
    for (std::size_t size = 0; size < 100; ++size) {
        std::vector<std::byte> bytes(size);
        for (std::byte& byte : bytes) {
            byte = static_cast<std::byte>(prng.next());
        }
        EXPECT_EQ(TableCrc::of(bytes), core::crc32c(bytes));
    }
}

TEST(CheckerTest, TermReq_endsItsDirection) {
    for (const bool more : {false, true}) {
        CheckerOptions options{.name = "test"};
        options.judge_term_req = false;
        Talk talk({}, options);
        talk.live();
        talk.flush(1);
        talk.term(true);
        talk.resp(1);  // was on its way
        if (more) {
            talk.flush(2);
        }
        EXPECT_EQ(talk.violations.size(), more ? 1U : 0U);
        talk.checker.final_check();
        EXPECT_EQ(talk.violations.size(), 1U);  // it was never closed
    }
}

TEST(CheckerTest, Digests_wrongWithoutAFlip_areTheSendersFault) {
    for (const bool data : {false, true}) {
        Talk talk({.digests = true});
        talk.live();
        talk.flip(data ? 100 : 40);
        talk.short_write(1, 512, 512);
        ASSERT_EQ(talk.violations.size(), 1U);
        EXPECT_NE(talk.violations[0].find(data ? "data digest" : "header digest"),
                  std::string::npos);
    }
}

TEST(CheckerTest, Flip_inDataToTarget_mustNotSucceed) {
    for (const std::uint16_t status : {std::uint16_t{0x22}, std::uint16_t{0}}) {
        for (const bool in_capsule : {true, false}) {
            Talk talk({.digests = true});
            talk.live();
            talk.checker.corrupted(kToTarget);
            if (in_capsule) {
                talk.flip(100);
                talk.short_write(1, 512, 512);
            } else {
                talk.write(1, 512);
                talk.r2t(1, 7, 0, 512);
                talk.flip(60);
                talk.h2c(1, 7, 0, 512);
            }
            talk.resp(1, status);
            ASSERT_EQ(talk.violations.size(), status == 0 ? 1U : 0U);
        }
    }
}

TEST(CheckerTest, Flip_inHeader_mustEndTheConnection) {
    for (const std::size_t at : {0U, 2U, 6U, 40U, 73U}) {
        for (const bool close : {true, false}) {
            Talk talk({.digests = true});
            talk.live();
            talk.flush(1);
            talk.checker.corrupted(kToTarget);
            talk.flip(at);
            talk.flush(2);
            talk.resp(1);
            EXPECT_TRUE(talk.violations.empty());
            if (close) {
                talk.term(false, 3);
                talk.checker.closed();
            }
            talk.checker.final_check();
            EXPECT_EQ(talk.violations.size(), close ? 0U : 1U);
        }
    }
}

TEST(CheckerTest, Flip_inHeader_mustNotBeActedOn) {
    Talk talk({.digests = true});
    talk.live();
    talk.checker.corrupted(kToTarget);
    talk.flip(40);
    talk.flush(2);
    talk.resp(2);
    EXPECT_EQ(talk.violations.size(), 1U);

    Talk to_host({.digests = true});
    to_host.live();
    to_host.flush(1);
    to_host.checker.corrupted(kToHost);
    to_host.flip(20);
    to_host.resp(1);
    to_host.flush(1);  // the host has not seen it completed
    EXPECT_EQ(to_host.violations.size(), 1U);
}

TEST(CheckerTest, Flip_withoutDigests_isNotJudged) {
    Talk talk({});
    talk.live();
    talk.checker.corrupted(kToTarget);
    talk.flip(10);
    talk.flush(1);
    talk.resp(1);
    talk.resp(1);
    talk.checker.final_check();
    EXPECT_TRUE(talk.violations.empty());
}

TEST(CheckerTest, UnjudgedSide_turnsAllOff) {
    CheckerOptions options{.name = "test"};
    options.judge_host = false;
    Talk talk({}, options);
    talk.live();
    talk.flush(1);
    talk.flush(1);
    talk.resp(1);
    talk.resp(1);
    EXPECT_TRUE(talk.violations.empty());
}

TEST(CheckerTest, Stats_count) {
    Talk talk({});
    talk.live();
    talk.read(1, 16);
    talk.c2h(1, 0, 16, kBoth);
    talk.write(1, 16);
    talk.flush(2);
    talk.r2t(1, 0, 0, 16);
    talk.resp(2, kFailed);
    const CheckerStats& stats = talk.checker.stats();
    EXPECT_EQ(stats.pdus[layout::kCapsuleCmd], 4U);
    EXPECT_EQ(stats.pdus[layout::kR2t], 1U);
    EXPECT_EQ(stats.max_outstanding, 2U);
    EXPECT_EQ(stats.max_r2ts, 1U);
    EXPECT_EQ(stats.success_flags, 1U);
    EXPECT_EQ(stats.failures, 1U);
    EXPECT_EQ(stats.in_capsule, 1U);
    EXPECT_EQ(talk.checker.outstanding(), 1U);
}

TEST(CheckerTest, BlockSize_isComparedWhenKnown) {
    for (const std::uint32_t nlb : {7U, 8U}) {
        CheckerOptions options{.name = "test"};
        options.block_size = 512;
        Talk talk({}, options);
        talk.live();
        talk.cmd(1, layout::kRead, {.length = 4096, .cdw12 = nlb});
        EXPECT_EQ(talk.violations.size(), nlb == 7 ? 0U : 1U);
    }
}

}  // namespace
}  // namespace remora::sim
