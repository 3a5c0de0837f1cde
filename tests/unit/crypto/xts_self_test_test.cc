// SPDX-License-Identifier: Apache-2.0
// The self-test passes here, and finds each kind of wrong kernel.
#include "services/crypto/xts_self_test.h"

#include <gtest/gtest.h>

#include "tests/unit/crypto/xts_reference.h"

namespace remora::services::crypto {
namespace {

TEST(XtsSelfTest, Run_onThisProcessor_passesForEachKernel) {
    const auto trials = try_kernels();
    ASSERT_FALSE(trials.empty());
    EXPECT_EQ(trials.front().kernel, best_kernel());
    EXPECT_EQ(trials.back().kernel, XtsKernel::Evp);
    for (const KernelTrial& trial : trials) {
        EXPECT_TRUE(trial.outcome) << trial.outcome.error().message;
    }
}

/// OpenSSL, with one fault.
struct Faulty {
    XtsDirection direction = XtsDirection::Encrypt;
    std::size_t sector_size = 512;
    unsigned bits = 128;
    std::size_t at_sector = 0;  ///< Whose last bit is wrong.

    void operator()(const XtsKey& key, XtsDirection way, const XtsRun& run) const {
        const std::size_t bytes = run.sectors * run.sector_size;
        const Bytes out =
            reference({key.bytes(), run.sector_size, true}, way == XtsDirection::Encrypt,
                      run.first_tweak, std::span(run.in, bytes));
        std::ranges::copy(out, run.out);
        if (way == direction && run.sector_size == sector_size && key.bits() == bits &&
            run.sectors > at_sector) {
            run.out[(at_sector + 1) * run.sector_size - 1] ^= std::byte{1};
        }
    }
};

TEST(XtsSelfTest, Run_oneWrongBit_failsAndNamesTheKernel) {
    for (const XtsDirection direction : {XtsDirection::Encrypt, XtsDirection::Decrypt}) {
        for (const std::size_t size : {std::size_t{512}, std::size_t{4096}}) {
            for (const unsigned bits : {128U, 256U}) {
                for (const std::size_t sector : {std::size_t{0}, std::size_t{2}, std::size_t{36}}) {
                    const auto right =
                        self_test_of("broken", Faulty{direction, size, bits, sector});
                    ASSERT_FALSE(right) << size << " " << bits << " " << sector;
                    EXPECT_EQ(right.error().kind, core::ErrorKind::Internal);
                    EXPECT_NE(right.error().message.find("'broken'"), std::string::npos);
                }
            }
        }
    }
    EXPECT_TRUE(self_test_of("whole", Faulty{.at_sector = 1000}));
}

}  // namespace
}  // namespace remora::services::crypto
