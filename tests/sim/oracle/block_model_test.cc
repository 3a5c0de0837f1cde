// SPDX-License-Identifier: Apache-2.0
// The block model against time-lines, each a script of one block's life:
//
//   w:a z:a d:a f:a r:a   a write, zeroes, discard, flush or read named `a` begins
//   ok:a fail:a           it ends
//   got:a=b               read `a` ends Ok with the bytes of write `b`; 0 is zeros
//   R=b                   a whole read on its own
//   wait crash power wipe host    a second passes; the target or its host breaks
#include "tests/sim/oracle/block_model.h"

#include <charconv>
#include <map>
#include <sstream>

#include <gtest/gtest.h>

#include "core/check.h"
#include "core/prng.h"

namespace remora::sim {
namespace {

using End = VolumeOracle::End;

constexpr std::uint64_t kLba = 70;

class Player {
  public:
    explicit Player(bool write_through = false, Nanos late_landing = Nanos{0})
        : model(
              {.volume_id = 7,
               .seed = 42,
               .block_size = 512,
               .blocks = 100,
               .write_through = write_through,
               .late_landing = late_landing},
              [this] { return now; },
              [this](std::string text) { violations.push_back(std::move(text)); }) {
        bytes["0"].resize(512);
    }

    void play(const std::string& script) {
        std::istringstream words(script);
        for (std::string word; words >> word;) {
            const std::size_t colon = word.find(':');
            if (word.starts_with("R=")) {
                model.end_read(model.begin_read(kLba, 1), End::Ok, bytes.at(word.substr(2)));
            } else if (colon != std::string::npos) {
                step(word.substr(0, colon), word.substr(colon + 1));
            } else {
                event(word);
            }
        }
    }

    Nanos now{0};
    std::vector<std::string> violations;
    std::map<std::string, std::vector<std::byte>> bytes;
    std::map<std::string, VolumeOracle::OpId> ops;
    BlockModel model;

  private:
    void step(const std::string& verb, const std::string& name) {
        if (verb == "w") {
            bytes[name].resize(512);
            ops[name] = model.begin_write(kLba, 1, bytes[name]);
        } else if (verb == "z" || verb == "d") {
            ops[name] = model.begin_zero(kLba, 1, verb == "d");
        } else if (verb == "f") {
            ops[name] = model.begin_flush();
        } else if (verb == "r") {
            ops[name] = model.begin_read(kLba, 1);
        } else if (verb == "got") {
            const std::size_t equals = name.find('=');
            model.end_read(ops.at(name.substr(0, equals)), End::Ok,
                           bytes.at(name.substr(equals + 1)));
        } else {
            model.end(ops.at(name), verb == "ok" ? End::Ok : End::Failed);
        }
    }
    void event(const std::string& word) {
        if (word == "wait") {
            now += std::chrono::seconds(1);
        } else if (word == "crash") {
            model.process_crash();
        } else if (word == "power") {
            model.power_loss();
        } else if (word == "wipe") {
            model.wiped();
        } else {
            CHECK(word == "host");
            model.host_crash();
        }
    }
};

struct TimeLine {
    const char* name;
    const char* script;
    bool right;
    bool write_through = false;
};

constexpr TimeLine kTimeLines[] = {
    {"new_isZeros", "R=0", true},
    {"written_isRead", "w:a ok:a R=a", true},
    {"written_isNotZeros", "w:a ok:a R=0", false},
    {"overwritten_isGone", "w:a ok:a w:b ok:b R=a", false},
    {"overwritten_isNew", "w:a ok:a w:b ok:b R=b", true},
    {"overlappedWrites_first", "w:a w:b ok:a ok:b R=a", true},
    {"overlappedWrites_second", "w:a w:b ok:b ok:a R=b", true},
    {"overlappedWrites_notOlder", "w:o ok:o w:a w:b ok:a ok:b R=o", false},
    {"readDuringWrite_old", "w:a ok:a w:b R=a", true},
    {"readDuringWrite_new", "w:a ok:a w:b R=b", true},
    {"readBeganBeforeWriteEnded_old", "w:a ok:a w:b r:r ok:b got:r=a", true},
    {"readBeganAfterWriteEnded_old", "w:a ok:a w:b ok:b r:r got:r=a", false},
    {"writeBeganDuringRead_new", "w:a ok:a r:r w:b ok:b got:r=b", true},
    {"writesPassDuringRead_any", "w:a ok:a r:r w:b ok:b w:c ok:c got:r=b", true},
    {"failed_old", "w:a ok:a w:b fail:b R=a", true},
    {"failed_new", "w:a ok:a w:b fail:b R=b", true},
    {"failedThenOverwritten_isGone", "w:b fail:b w:c ok:c R=b", false},
    {"failedDuringOverwrite_stays", "w:b w:c fail:b ok:c R=b", true},
    {"failedTwice_neitherSupersedes", "w:a ok:a w:b fail:b w:c fail:c R=a", true},
    {"stable_sameValue", "w:a ok:a w:b fail:b R=a R=a", true},
    {"stable_otherValue", "w:a ok:a w:b fail:b R=a R=b", false},
    {"stable_otherValueBack", "w:a ok:a w:b fail:b R=b R=a", false},
    {"stable_notWhileWriteInFlight", "w:a ok:a w:b R=b R=a", true},
    {"stable_readOverlappedByWrite", "w:a ok:a w:b fail:b r:r w:c got:r=a fail:c R=b", true},
    {"stable_endsWithCrash", "w:a ok:a w:b fail:b R=b crash R=a", true},
    {"stable_readOverCrash_tellsNothing", "w:a ok:a w:b fail:b r:r power got:r=b R=a", true},
    {"zeroed_isZeros", "w:a ok:a z:z ok:z R=0", true},
    {"zeroed_isGone", "w:a ok:a z:z ok:z R=a", false},
    {"zeroFailed_either", "w:a ok:a z:z fail:z R=0", true},
    {"discarded_zeros", "w:a ok:a d:d ok:d R=0", true},
    {"discarded_old", "w:a ok:a d:d ok:d R=a", true},
    {"discarded_notOlder", "w:o ok:o w:a ok:a d:d ok:d R=o", false},
    {"discarded_isDeterministic", "w:a ok:a d:d ok:d R=0 R=a", false},
    {"discarded_overwritten", "w:a ok:a d:d ok:d w:b ok:b R=0", false},
    {"processCrash_keepsCompleted", "w:a ok:a crash R=0", false},
    {"processCrash_inFlightUnknown", "w:a ok:a w:b crash fail:b R=a", true},
    {"processCrash_inFlightDoneAgain", "w:a ok:a w:b crash ok:b R=a", false},
    {"hostCrash_inFlightUnknown", "w:a ok:a w:b host R=b", true},
    {"hostCrash_overwritten", "w:a ok:a w:b host w:c ok:c R=b", false},
    {"power_unflushedMayBeLost", "w:a ok:a power R=0", true},
    {"power_unflushedMayBeThere", "w:a ok:a power R=a", true},
    {"power_flushedIsThere", "w:a ok:a f:f ok:f power R=0", false},
    {"power_flushFailed", "w:a ok:a f:f fail:f power R=0", true},
    {"power_flushNotEnded", "w:a ok:a f:f power R=0", true},
    {"power_flushOverLoss_coversNothing", "w:a ok:a f:f power ok:f R=0", true},
    {"power_writeEndedAfterFlushBegan", "w:a f:f ok:a ok:f power R=0", true},
    {"power_floorOrAnythingSince", "w:a ok:a f:f ok:f w:b ok:b w:c ok:c power R=b", true},
    {"power_notBelowFloor", "w:o ok:o w:a ok:a f:f ok:f w:b ok:b power R=o", false},
    {"power_olderFlushDoesNotLower", "f:g w:a ok:a f:f ok:f ok:g power R=0", false},
    {"power_thenStable", "w:a ok:a power R=a R=0", false},
    {"power_twice_settled", "w:a ok:a w:b ok:b power R=a power R=a", true},
    {"power_overwrittenLater", "w:a ok:a power w:b ok:b R=0", false},
    {"power_overwriteUnflushed", "w:a ok:a f:f ok:f power w:b ok:b power R=a", true},
    {"power_inFlightOver_doneBefore", "w:a ok:a f:f ok:f w:b power ok:b R=a", true},
    {"power_inFlightOver_thenOverwritten", "w:a w:b power ok:b w:c ok:c R=b", false},
    {"power_narrowedComesBack", "w:a ok:a f:f ok:f w:b fail:b R=b power R=a", true},
    {"power_overlappedAndFlushed", "w:a w:b ok:a ok:b f:f ok:f power R=0", false},
    {"writeThrough_isThere", "w:a ok:a power R=0", false, true},
    {"writeThrough_inFlight", "w:a ok:a w:b power fail:b R=a", true, true},
    {"wiped_zeros", "w:a ok:a f:f ok:f wipe R=0", true},
    {"wiped_isGone", "w:a ok:a f:f ok:f wipe R=a", false},
    {"wiped_inFlight", "w:a wipe ok:a R=0", true},
    {"wiped_inFlightDoneAgain", "w:a wipe ok:a R=a", true},
    {"wiped_readOver", "w:a ok:a r:r wipe got:r=a", true},
    {"wiped_writtenAgain", "w:a ok:a wipe w:b ok:b R=0", false},
    {"endedTwice", "w:a ok:a ok:a", false},
    {"readEndedTwice", "w:a ok:a r:r got:r=a got:r=a", false},
};

class TimeLineTest : public testing::TestWithParam<TimeLine> {};

TEST_P(TimeLineTest, Script_isJudged) {
    Player player(GetParam().write_through);
    player.play(GetParam().script);
    EXPECT_EQ(player.violations.empty(), GetParam().right)
        << (player.violations.empty() ? "no violation" : player.violations.front());
}

INSTANTIATE_TEST_SUITE_P(All, TimeLineTest, testing::ValuesIn(kTimeLines), [](const auto& one) {
    return std::string(one.param.name);
});

TEST(BlockModelTest, LateLanding_keepsAFailedWriteForItsTime) {
    for (const bool waits : {false, true}) {
        Player player(false, std::chrono::milliseconds(500));
        player.play("w:a ok:a w:b fail:b");
        player.play(waits ? "wait R=a R=b" : "R=a R=b R=b");
        EXPECT_EQ(player.violations.empty(), !waits);
    }
}

TEST(BlockModelTest, LateLanding_theOldValueDoesNotComeBack) {
    Player player(false, std::chrono::seconds(5));
    player.play("w:a ok:a w:b fail:b R=b R=a");
    EXPECT_EQ(player.violations.size(), 1U);
}

TEST(BlockModelTest, Violation_namesWhatWasFound) {
    Player player;
    player.play("w:a ok:a w:b ok:b R=a");
    ASSERT_EQ(player.violations.size(), 1U);
    EXPECT_NE(player.violations[0].find("LBA 70 write 1 (LBA 70 + 1, Ok at 2)"), std::string::npos)
        << player.violations[0];
    EXPECT_NE(player.violations[0].find("failed: write 3 "), std::string::npos);

    player.bytes["x"] = player.bytes["b"];
    player.bytes["x"][300] ^= std::byte{1};
    player.bytes["y"].resize(512);
    fill_block(player.bytes["y"], {.volume = 9, .lba = 3, .sequence = 1, .seed = 42});
    player.bytes["z"].resize(512);
    fill_block(player.bytes["z"], {.volume = 7, .lba = 3, .sequence = 3, .seed = 42});
    player.bytes["u"].assign(512, std::byte{0xee});
    player.play("R=x R=y R=z R=u");
    ASSERT_EQ(player.violations.size(), 5U);
    EXPECT_NE(player.violations[1].find("mixed of several (wrong from byte 296"),
              std::string::npos);
    EXPECT_NE(player.violations[2].find("LBA 3 of another volume, 9"), std::string::npos);
    EXPECT_NE(player.violations[3].find("another LBA, 3, of write 3"), std::string::npos);
    EXPECT_NE(player.violations[4].find("no write of the run"), std::string::npos);
}

TEST(BlockModelTest, Range_beyondTheEnd_mustFail) {
    Player player;
    std::vector<std::byte> two(1024);
    player.model.end(player.model.begin_write(99, 2, two), End::Failed);
    player.model.end(player.model.begin_zero(~0ULL, 2, false), End::Failed);
    player.model.end(player.model.begin_read(100, 1), End::Failed);
    EXPECT_TRUE(player.violations.empty());
    player.model.end(player.model.begin_write(99, 2, two), End::Ok);
    player.model.end_read(player.model.begin_read(100, 1), End::Ok, std::span(two).first(512));
    player.model.end_read(player.model.begin_read(5, 1), End::Ok, two);  // too many bytes
    EXPECT_EQ(player.violations.size(), 3U);
}

TEST(BlockModelTest, FinalCheck_tellsWhatNeverEnded) {
    Player player;
    player.play("w:a ok:a f:f ok:f R=a");
    EXPECT_TRUE(player.model.final_check());
    EXPECT_EQ(player.model.stats().begun, 3U);
    player.play("w:b f:g r:r");
    EXPECT_FALSE(player.model.final_check());
    EXPECT_EQ(player.violations.size(), 3U);
}

/// A medium with a cache that does what the model allows, and nothing else, under random calls.
class Medium {
  public:
    explicit Medium(core::Prng& prng) : prng_(prng) {}
    std::vector<std::byte> durable = std::vector<std::byte>(512);
    std::vector<std::byte> cached = durable;

    void write(const std::vector<std::byte>& bytes) {
        cached = bytes;
        if (prng_.below(4) == 0) {
            durable = cached;  // written back at will
        }
    }
    void flush() { durable = cached; }
    void lose_power() { cached = durable; }

  private:
    core::Prng& prng_;
};

TEST(BlockModelTest, RandomLife_ofARightMedium_isAccepted) {
    core::Prng prng(3);
    for (int life = 0; life < 300; ++life) {
        Player player;
        Medium medium(prng);
        for (int step = 0; step < 60 && player.violations.empty(); ++step) {
            std::vector<std::byte> bytes(512);
            const std::uint64_t dice = prng.below(20);
            if (dice < 8) {
                const auto op = player.model.begin_write(kLba, 1, bytes);
                const bool fails = prng.below(4) == 0;
                if (!fails || prng.below(2) == 0) {
                    medium.write(bytes);
                }
                if (dice == 0) {
                    medium.lose_power();
                    player.model.power_loss();  // done, but the answer comes later
                }
                player.model.end(op, fails ? End::Failed : End::Ok);
            } else if (dice < 10) {
                const auto op = player.model.begin_flush();
                medium.flush();
                player.model.end(op, End::Ok);
            } else if (dice < 11) {
                medium.lose_power();
                player.model.power_loss();
            } else if (dice < 12) {
                player.model.process_crash();
            } else {
                player.model.end_read(player.model.begin_read(kLba, 1), End::Ok, medium.cached);
            }
        }
        ASSERT_TRUE(player.violations.empty()) << player.violations[0];
    }
}

}  // namespace
}  // namespace remora::sim
