// SPDX-License-Identifier: Apache-2.0
// The key of a volume is changed under I/O and power cuts, as seeds have it. REMORA_REKEY_SEEDS=n
// runs so many of them, REMORA_REKEY_SEED=n that one.
#include <cstdlib>
#include <string>

#include <gtest/gtest.h>

#include "tests/unit/crypto/rekey_run.h"

namespace remora::services::crypto {
namespace {

std::uint64_t number(const char* name, std::uint64_t otherwise) {
    const char* text = std::getenv(name);
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(RekeyCrashTest, PowerCutsAndFailures_loseNothing) {
    const std::uint64_t only = number("REMORA_REKEY_SEED", 0);
    const std::uint64_t seeds = only != 0 ? 1 : number("REMORA_REKEY_SEEDS", 200);
    std::uint64_t cuts_within = 0;
    for (std::uint64_t i = 0; i < seeds && !HasFailure(); ++i) {
        const std::uint64_t seed = only != 0 ? only : i + 1;
        SCOPED_TRACE("REMORA_REKEY_SEED=" + std::to_string(seed));
        RekeyRun run(seed);
        run.play();
        cuts_within += run.cuts_within();
    }
    if (seeds >= 200) {
        EXPECT_GT(cuts_within, seeds / 10) << "too few cuts fell into a piece";
    }
}

}  // namespace
}  // namespace remora::services::crypto
