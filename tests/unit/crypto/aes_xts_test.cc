// SPDX-License-Identifier: Apache-2.0
// AES-XTS against OpenSSL, kernel by kernel. What this processor has not is skipped by name.
#include "services/crypto/aes_xts.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include <gtest/gtest.h>

#include "services/crypto/crypt_segments.h"
#include "tests/unit/crypto/xts_reference.h"

namespace remora::services::crypto {
namespace {

static_assert(!std::is_copy_constructible_v<XtsKey> && !std::is_move_constructible_v<XtsKey>);
static_assert(!std::is_copy_constructible_v<AesXts> && !std::is_move_constructible_v<AesXts>);

constexpr std::size_t kSizes[] = {512, 1024, 2048, 4096};

class AesXtsTest : public testing::TestWithParam<XtsKernel> {
  public:
    void SetUp() override {
        if (!has_kernel(GetParam())) {
            GTEST_SKIP() << "this processor has no kernel '" << to_string(GetParam()) << "'";
        }
    }
};

// Sizes, keys, numbers, cuts and alignments at random; both numberings and directions; in place
// and not; bytes around the output stay.
TEST_P(AesXtsTest, Crypt_randomRuns_equalsOpenSsl) {
    core::Prng prng(2026);
    for (int round = 0; round < 300; ++round) {
        SCOPED_TRACE("round " + std::to_string(round));
        const Bytes key_bytes = random_bytes(prng, prng.below(2) == 0 ? 32 : 64);
        const auto key = XtsKey::create(key_bytes);
        ASSERT_TRUE(key);
        const std::size_t size = kSizes[prng.below(4)];
        const bool large = prng.below(2) == 0;
        const std::uint64_t first =
            prng.below(2) == 0 ? prng.below(1000) : prng.next() >> prng.below(64);
        auto cipher = AesXts::create(
            **key, large ? SectorNumbers::Sectors : SectorNumbers::Units512, GetParam());
        ASSERT_TRUE(cipher);
        EXPECT_EQ((*cipher)->kernel(), GetParam());
        const DmCrypt with{key_bytes, size, large};
        const Bytes plain = random_bytes(prng, size * (1 + prng.below(round % 10 == 0 ? 80 : 9)));
        const Bytes wanted = reference(with, true, first, plain);

        const std::size_t shift = prng.below(64);
        Bytes out(plain.size() + 128, std::byte{0x5a});
        const std::span<std::byte> middle = std::span(out).subspan(shift, plain.size());
        (*cipher)->encrypt(first, size, plain, middle);
        ASSERT_TRUE(std::ranges::equal(middle, wanted));
        for (std::size_t i = 0; i < out.size(); ++i) {
            const bool inside = i >= shift && i < shift + plain.size();
            ASSERT_TRUE(inside || out[i] == std::byte{0x5a}) << i;
        }
        (*cipher)->decrypt(first, size, middle, middle);
        ASSERT_TRUE(std::ranges::equal(middle, plain));
        (*cipher)->encrypt(first, size, middle, middle);
        ASSERT_TRUE(std::ranges::equal(middle, wanted));
        Bytes back(plain.size());
        (*cipher)->decrypt(first, size, middle, back);
        ASSERT_EQ(back, plain);
        ASSERT_EQ(back, reference(with, false, first, wanted));
    }
}

// Every count of sectors up to many times what a kernel takes at once; numbers that carry into
// their upper half or wrap; each direction, in place and not, at odd addresses.
TEST_P(AesXtsTest, Crypt_eachCountOfSectors_equalsOpenSsl) {
    constexpr std::size_t kMost = 70;
    constexpr std::size_t kGuard = 64;
    core::Prng prng(9);
    for (const std::size_t key_size : {32U, 64U}) {
        const Bytes key_bytes = random_bytes(prng, key_size);
        const auto key = XtsKey::create(key_bytes);
        auto cipher = AesXts::create(**key, SectorNumbers::Sectors, GetParam());
        for (const std::size_t size : kSizes) {
            const std::uint64_t first = size < 2048 ? 0xffff'ffdbU : ~std::uint64_t{36};
            const Bytes plain = random_bytes(prng, size * kMost);
            const Bytes stored = reference({key_bytes, size, true}, true, first, plain);
            for (std::size_t count = 1; count <= kMost; ++count) {
                SCOPED_TRACE(std::to_string(key_size * 4) + " bits, " + std::to_string(count) +
                             " sectors of " + std::to_string(size));
                const std::size_t bytes = size * count;
                Bytes from(bytes + kGuard);
                Bytes to(bytes + 2 * kGuard, std::byte{0x5a});
                const auto in = std::span(from).subspan(prng.below(kGuard), bytes);
                const auto out = std::span(to).subspan(kGuard - count % kGuard, bytes);
                std::ranges::copy(std::span(plain).first(bytes), in.begin());

                (*cipher)->encrypt(first, size, in, out);
                ASSERT_EQ(std::memcmp(out.data(), stored.data(), bytes), 0);
                ASSERT_EQ(std::memcmp(in.data(), plain.data(), bytes), 0);
                (*cipher)->encrypt(first, size, in, in);
                ASSERT_EQ(std::memcmp(in.data(), stored.data(), bytes), 0);
                (*cipher)->decrypt(first, size, in, out);
                ASSERT_EQ(std::memcmp(out.data(), plain.data(), bytes), 0);
                (*cipher)->decrypt(first, size, in, in);
                ASSERT_EQ(std::memcmp(in.data(), plain.data(), bytes), 0);
                const auto before = std::span(to).first(kGuard - count % kGuard);
                const auto after = std::span(to).subspan(before.size() + bytes);
                ASSERT_EQ(std::ranges::count(before, std::byte{0x5a}), std::ssize(before));
                ASSERT_EQ(std::ranges::count(after, std::byte{0x5a}), std::ssize(after));
            }
        }
    }
}

// Segments that begin and end anywhere, as guests scatter their memory.
TEST_P(AesXtsTest, Crypt_scattered_equalsOpenSsl) {
    core::Prng prng(10);
    for (int round = 0; round < 60; ++round) {
        SCOPED_TRACE("round " + std::to_string(round));
        const Bytes key_bytes = random_bytes(prng, round % 2 == 0 ? 32 : 64);
        const auto key = XtsKey::create(key_bytes);
        auto cipher = AesXts::create(**key, SectorNumbers::Sectors, GetParam());
        const std::size_t size = kSizes[prng.below(4)];
        const Bytes plain = random_bytes(prng, size * (1 + prng.below(70)));
        const Bytes wanted = reference({key_bytes, size, true}, true, 77, plain);
        Bytes memory = plain;
        std::vector<core::Segment> segments;
        for (std::size_t at = 0; at < memory.size(); at += segments.back().size) {
            const std::size_t most = std::min<std::size_t>(memory.size() - at, 20 * size);
            segments.push_back({memory.data() + at, 1 + prng.below(most)});
        }
        Bytes out(plain.size());

        CryptPosition from{core::SegmentCursor(segments), 77};
        encrypt_out(**cipher, size, from, out);
        ASSERT_EQ(out, wanted);
        ASSERT_EQ(memory, plain);
        memory = wanted;
        CryptPosition within{core::SegmentCursor(segments), 77};
        decrypt_within(**cipher, size, within, memory.size());
        ASSERT_EQ(memory, plain);
    }
}

// The cut of a run into calls does not show.
TEST_P(AesXtsTest, Encrypt_sectorBySector_equalsOneCall) {
    core::Prng prng(7);
    const auto key = XtsKey::create(random_bytes(prng, 64));
    auto cipher = AesXts::create(**key, SectorNumbers::Sectors, GetParam());
    for (const std::size_t size : kSizes) {
        const Bytes plain = random_bytes(prng, size * 70);
        Bytes whole(plain.size());
        Bytes parts(plain.size());
        (*cipher)->encrypt(1000, size, plain, whole);
        for (std::size_t i = 0; i < 70; ++i) {
            (*cipher)->encrypt(1000 + i, size, std::span(plain).subspan(i * size, size),
                               std::span(parts).subspan(i * size, size));
        }
        EXPECT_EQ(whole, parts) << size;
    }
}

TEST_P(AesXtsTest, Crypt_nothing_doesNothing) {
    core::Prng prng(8);
    const auto key = XtsKey::create(random_bytes(prng, 32));
    auto cipher = AesXts::create(**key, SectorNumbers::Sectors, GetParam());
    (*cipher)->encrypt(0, 512, {}, {});
    (*cipher)->decrypt(0, 512, {}, {});
}

INSTANTIATE_TEST_SUITE_P(Kernels, AesXtsTest, testing::ValuesIn(kXtsKernels), [](const auto& info) {
    return std::string(to_string(info.param));
});

TEST(XtsKeyTest, Create_otherLengths_areRefused) {
    core::Prng prng(1);
    for (const std::size_t size : {0U, 16U, 31U, 33U, 48U, 63U, 65U, 128U}) {
        const auto key = XtsKey::create(random_bytes(prng, size));
        ASSERT_FALSE(key) << size;
        EXPECT_EQ(key.error().kind, core::ErrorKind::InvalidArgument);
    }
}

TEST(XtsKeyTest, Create_equalHalves_areRefusedAndOneBitOfDifferenceIsTaken) {
    core::Prng prng(2);
    for (const std::size_t half : {16U, 32U}) {
        Bytes bytes = random_bytes(prng, half);
        bytes.insert(bytes.end(), bytes.begin(), bytes.end());
        const auto equal = XtsKey::create(bytes);
        ASSERT_FALSE(equal);
        EXPECT_EQ(equal.error().kind, core::ErrorKind::InvalidArgument);
        bytes.back() ^= std::byte{1};
        EXPECT_TRUE(XtsKey::create(bytes));
    }
}

TEST(XtsKeyTest, Create_refused_doesNotShowTheKey) {
    const auto key = XtsKey::create(Bytes(32, std::byte{'K'}));
    ASSERT_FALSE(key);
    EXPECT_EQ(key.error().message.find("KK"), std::string::npos);
    EXPECT_EQ(key.error().message.find("4b"), std::string::npos);
}

// Destroyed in place, so that the memory can be looked at without being freed.
TEST(XtsKeyTest, Destructor_leavesNothingOfTheKey) {
    core::Prng prng(3);
    auto key = std::move(*XtsKey::create(random_bytes(prng, 64)));
    const auto* memory = reinterpret_cast<const volatile unsigned char*>(key.get());
    const std::size_t secret = sizeof(XtsSchedule) + XtsKey::kMaxBytes;
    const XtsKey* raw = key.release();

    raw->~XtsKey();

    for (std::size_t i = 0; i < secret; ++i) {
        ASSERT_EQ(memory[i], 0) << i;
    }
    operator delete(const_cast<XtsKey*>(raw), sizeof(XtsKey), std::align_val_t{alignof(XtsKey)});
}

TEST(XtsKernelTest, Best_isTheFirstThatThereIs) {
    const XtsKernel best = best_kernel();
    EXPECT_TRUE(has_kernel(best));
    for (const XtsKernel kernel : kXtsKernels) {
        if (kernel == best) {
            break;
        }
        EXPECT_FALSE(has_kernel(kernel)) << to_string(kernel);
    }
}

TEST(XtsKernelTest, Create_absentKernel_isRefusedByName) {
    core::Prng prng(4);
    const auto key = XtsKey::create(random_bytes(prng, 32));
    for (const XtsKernel kernel : kXtsKernels) {
        const auto cipher = AesXts::create(**key, SectorNumbers::Sectors, kernel);
        EXPECT_EQ(cipher.has_value(), has_kernel(kernel));
        if (!cipher) {
            EXPECT_NE(cipher.error().message.find(to_string(kernel)), std::string::npos);
        }
    }
}

}  // namespace
}  // namespace remora::services::crypto
