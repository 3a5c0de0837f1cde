// SPDX-License-Identifier: Apache-2.0
// Vectors of RFC 3720 (iSCSI), appendix B.4. The RFC prints the digest's bytes as sent, lowest
// first.
#include "core/crc32c.h"

#include <algorithm>
#include <array>
#include <vector>

#include <gtest/gtest.h>
#include <isa-l/crc.h>

#include "core/crc32c_fold.h"
#include "core/prng.h"

namespace remora::core {
namespace {

std::vector<std::byte> run(std::size_t size, unsigned first, int step) {
    std::vector<std::byte> out;
    for (std::size_t i = 0; i < size; ++i) {
        out.push_back(static_cast<std::byte>(static_cast<int>(first) + static_cast<int>(i) * step));
    }
    return out;
}

TEST(Crc32c, Rfc3720_zeroes_matches) {
    EXPECT_EQ(crc32c(run(32, 0, 0)), 0x8a9136aaU);
}

TEST(Crc32c, Rfc3720_ones_matches) {
    EXPECT_EQ(crc32c(run(32, 0xff, 0)), 0x62a8ab43U);
}

TEST(Crc32c, Rfc3720_incrementing_matches) {
    EXPECT_EQ(crc32c(run(32, 0, 1)), 0x46dd794eU);
}

TEST(Crc32c, Rfc3720_decrementing_matches) {
    EXPECT_EQ(crc32c(run(32, 31, -1)), 0x113fdb5cU);
}

TEST(Crc32c, Rfc3720_readCommand_matches) {
    constexpr std::array<unsigned char, 48> kPdu{
        0x01, 0xc0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00,
        0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x18, 0x28, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00};
    EXPECT_EQ(crc32c(std::as_bytes(std::span(kPdu))), 0xd9963a56U);
}

TEST(Crc32c, NoBytes_isZero) {
    EXPECT_EQ(crc32c({}), 0U);
}

TEST(Crc32c, Update_anyCut_givesTheSameValue) {
    const std::vector<std::byte> bytes = run(257, 3, 7);
    const std::uint32_t whole = crc32c(bytes);
    for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
        Crc32c crc;
        crc.update(std::span(bytes).first(cut));
        crc.update(std::span(bytes).subspan(cut));
        ASSERT_EQ(crc.value(), whole) << "cut at " << cut;
    }
}

TEST(Crc32c, UpdateAndCopy_isUpdateAndCopiesJustThese) {
    Prng prng(41);
    std::vector<std::byte> bytes(4300);
    for (std::byte& byte : bytes) {
        byte = static_cast<std::byte>(prng.next());
    }
    constexpr std::size_t kGuard = 64;
    for (std::size_t size = 0; size <= 4200; size += size < 300 ? 1 : 97) {
        const auto run = std::span(bytes).subspan(size % 61, size);
        std::vector<std::byte> to(kGuard + size + kGuard, std::byte{0xa5});
        Crc32c both;
        both.update(std::span(bytes).first(3));
        Crc32c alone = both;
        both.update_and_copy(run, to.data() + kGuard);
        alone.update(run);
        ASSERT_EQ(both.value(), alone.value()) << size;
        ASSERT_TRUE(std::ranges::equal(run, std::span(to).subspan(kGuard, size))) << size;
        to.erase(to.begin() + kGuard, to.begin() + static_cast<std::ptrdiff_t>(kGuard + size));
        ASSERT_TRUE(std::ranges::all_of(to, [](std::byte at) { return at == std::byte{0xa5}; }))
            << size;
    }
}

TEST(Crc32c, OneBitFlipped_differs) {
    std::vector<std::byte> bytes = run(64, 0, 1);
    const std::uint32_t before = crc32c(bytes);
    bytes[40] ^= std::byte{0x10};
    EXPECT_NE(crc32c(bytes), before);
}

// ISA-L is the oracle: every size around the steps of the fold, every alignment, any state before.
TEST(Crc32cFold, SizesAndAlignments_agreeWithIsaL) {
    if (!crc32c_can_fold()) {
        GTEST_SKIP() << "this processor has no VPCLMULQDQ";
    }
    Prng prng(2009);
    std::vector<std::byte> bytes(5000);
    for (std::byte& byte : bytes) {
        byte = static_cast<std::byte>(prng.next());
    }
    const auto check = [&](std::size_t at, std::size_t size) {
        const std::span<const std::byte> run = std::span(bytes).subspan(at, size);
        const auto before = static_cast<std::uint32_t>(prng.next());
        auto* data = reinterpret_cast<unsigned char*>(bytes.data() + at);
        ASSERT_EQ(crc32c_fold(before, run), crc32_iscsi(data, static_cast<int>(size), before))
            << size << " bytes at " << at;
    };
    for (std::size_t size = 0; size <= 700; ++size) {
        check(size % 64, size);
    }
    for (std::size_t at = 0; at < 64; ++at) {
        check(at, 4096);
        check(at, 4096 + at);
    }
}

}  // namespace
}  // namespace remora::core
