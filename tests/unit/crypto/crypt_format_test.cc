// SPDX-License-Identifier: Apache-2.0
// What lies on the disk is what Linux's dm-crypt would have put there, and the other way round:
// CryptDevice over RAM against OpenSSL, with data cut anywhere.
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backends/ram/ram_device.h"
#include "memory/buffer_pool.h"
#include "services/crypto/crypt_device.h"
#include "tests/support/block_client.h"
#include "tests/support/reactor_fixture.h"
#include "tests/unit/crypto/xts_reference.h"

namespace remora::services::crypto {
namespace {

using block::Opcode;
using block::Status;
using core::Segment;
using reactor::Task;

struct Format {
    std::uint32_t block_size;
    std::uint32_t sector_size;
    std::size_t key_bytes;
    SectorNumbers numbers;
};

std::string name_of(const Format& format) {
    return "aes" + std::to_string(format.key_bytes * 4) + "Sector" +
           std::to_string(format.sector_size) + "Block" + std::to_string(format.block_size) +
           (format.numbers == SectorNumbers::Sectors ? "Large" : "Units512");
}

void PrintTo(const Format& format, std::ostream* out) {
    *out << name_of(format);
}

class CryptFormatTest : public test::ReactorFixture, public testing::WithParamInterface<Format> {
  public:
    static constexpr std::size_t kDisk = std::size_t{1} << 20U;

    CryptFormatTest()
        : key_bytes(test::pattern(GetParam().key_bytes, 17)),
          pool(std::move(*memory::BufferPool::create(4 * core::kMiB))) {}

    /// Runs `body(above, below)` with a client of the CryptDevice and one of the RAM under it.
    template <typename F>
    void with_disk(F body) {
        run([&]() -> Task<> {
            const Format& format = GetParam();
            auto ram = std::move(*backends::ram::RamDevice::create("r", {}, format.block_size,
                                                                   kDisk / format.block_size));
            const block::ReactorContext context{reactor(), *pool};
            CryptOptions options;
            options.sector_size = format.sector_size;
            options.numbers = format.numbers;
            auto crypt = std::move(*CryptDevice::create(
                *ram, options, std::move(*XtsKey::create(key_bytes)), std::span(&context, 1)));
            auto above = std::move(*crypt->open_channel());
            auto below = std::move(*ram->open_channel());
            test::BlockClient above_client(*above);
            test::BlockClient below_client(*below);
            co_await body(above_client, below_client);
            above.reset();
            below.reset();
            co_await crypt->stop();
        });
        EXPECT_EQ(pool->in_use(), 0U);
    }

    /// What dm-crypt makes of these bytes of the disk, `lba` on.
    [[nodiscard]] Bytes dm_crypt(bool encrypt, std::uint64_t lba, const Bytes& in) const {
        const Format& format = GetParam();
        const DmCrypt with{key_bytes, format.sector_size, format.numbers == SectorNumbers::Sectors};
        return reference(with, encrypt, lba * format.block_size / format.sector_size, in);
    }

    Bytes key_bytes;
    std::unique_ptr<memory::BufferPool> pool;
};

/// Cuts memory into segments: whole, at every kind of place, and with empty ones between.
std::vector<Segment> cut(core::Prng& prng, std::span<std::byte> bytes) {
    std::vector<Segment> segments;
    const std::uint64_t kind = prng.below(4);
    while (!bytes.empty()) {
        std::size_t size = bytes.size();
        if (kind == 1) {
            size = 4096;
        } else if (kind == 2) {
            size = 1 + prng.below(40);
        } else if (kind == 3) {
            size = prng.below(5000);
        }
        size = std::min(size, bytes.size());
        segments.push_back({bytes.data(), size});
        bytes = bytes.subspan(size);
    }
    return segments;
}

struct Place {
    std::uint64_t lba;
    std::uint32_t blocks;
};
Place place(core::Prng& prng, std::uint32_t block_size) {
    const std::uint64_t all = CryptFormatTest::kDisk / block_size;
    const std::uint64_t lba = prng.below(all);
    const std::uint64_t most = std::min<std::uint64_t>(all - lba, 262'144 / block_size);
    return {lba, static_cast<std::uint32_t>(1 + prng.below(most))};
}

TEST_P(CryptFormatTest, Write_anyCuts_isBelowAsDmCryptStoresIt) {
    with_disk([this](test::BlockClient& above, test::BlockClient& below) -> Task<> {
        const std::uint32_t size = GetParam().block_size;
        core::Prng prng(21);
        for (int round = 0; round < 40; ++round) {
            const Place at = place(prng, size);
            Bytes plain = random_bytes(prng, std::size_t{at.blocks} * size);
            const Bytes before = plain;
            const std::vector<Segment> segments = cut(prng, plain);
            Status status = co_await above.perform(Opcode::Write, at.lba, at.blocks, segments);
            EXPECT_EQ(status, Status::Ok);
            EXPECT_TRUE(plain == before) << "the writer's own bytes";

            Bytes stored(plain.size());
            const Segment whole{stored.data(), stored.size()};
            status = co_await below.perform(Opcode::Read, at.lba, at.blocks, std::span(&whole, 1));
            EXPECT_EQ(status, Status::Ok);
            EXPECT_TRUE(stored == dm_crypt(true, at.lba, plain)) << round;

            Bytes back(plain.size());
            const std::vector<Segment> into = cut(prng, back);
            status = co_await above.perform(Opcode::Read, at.lba, at.blocks, into);
            EXPECT_EQ(status, Status::Ok);
            EXPECT_TRUE(back == plain) << round;
        }
    });
}

TEST_P(CryptFormatTest, Read_whatDmCryptStored_isThePlaintext) {
    with_disk([this](test::BlockClient& above, test::BlockClient& below) -> Task<> {
        const std::uint32_t size = GetParam().block_size;
        core::Prng prng(22);
        const Bytes plain = random_bytes(prng, kDisk);
        Bytes stored = dm_crypt(true, 0, plain);
        const Segment whole{stored.data(), stored.size()};
        const auto blocks = static_cast<std::uint32_t>(kDisk / size);
        Status status = co_await below.perform(Opcode::Write, 0, blocks, std::span(&whole, 1));
        EXPECT_EQ(status, Status::Ok);
        for (int round = 0; round < 40; ++round) {
            const Place at = place(prng, size);
            Bytes back(std::size_t{at.blocks} * size);
            const std::vector<Segment> into = cut(prng, back);
            status = co_await above.perform(Opcode::Read, at.lba, at.blocks, into);
            EXPECT_EQ(status, Status::Ok);
            EXPECT_TRUE(
                std::ranges::equal(back, std::span(plain).subspan(at.lba * size, back.size())))
                << round;
        }
    });
}

// One block of text that repeats: none of it, and no repetition, is seen below.
TEST_P(CryptFormatTest, Write_repeatedText_leavesNoneOfItBelow) {
    with_disk([](test::BlockClient& above, test::BlockClient& below) -> Task<> {
        const std::uint32_t size = GetParam().block_size;
        Bytes plain(std::size_t{64} * size);
        const std::string_view text = "attack at dawn..";
        for (std::size_t i = 0; i < plain.size(); ++i) {
            plain[i] = static_cast<std::byte>(text[i % text.size()]);
        }
        const Segment whole{plain.data(), plain.size()};
        Status status = co_await above.perform(Opcode::Write, 3, 64, std::span(&whole, 1));
        EXPECT_EQ(status, Status::Ok);
        std::string stored(plain.size(), '\0');
        const Segment into{reinterpret_cast<std::byte*>(stored.data()), stored.size()};
        status = co_await below.perform(Opcode::Read, 3, 64, std::span(&into, 1));
        EXPECT_EQ(status, Status::Ok);
        EXPECT_EQ(stored.find("attack"), std::string::npos);
        EXPECT_EQ(stored.find("dawn"), std::string::npos);
        std::vector<std::string_view> pieces;
        for (std::size_t at = 0; at < stored.size(); at += 16) {
            pieces.push_back(std::string_view(stored).substr(at, 16));
        }
        std::ranges::sort(pieces);
        EXPECT_EQ(std::ranges::adjacent_find(pieces), pieces.end());
    });
}

INSTANTIATE_TEST_SUITE_P(Formats,
                         CryptFormatTest,
                         testing::Values(Format{512, 512, 32, SectorNumbers::Sectors},
                                         Format{512, 512, 64, SectorNumbers::Units512},
                                         Format{4096, 4096, 64, SectorNumbers::Sectors},
                                         Format{4096, 4096, 64, SectorNumbers::Units512},
                                         Format{4096, 512, 64, SectorNumbers::Sectors},
                                         Format{2048, 1024, 32, SectorNumbers::Units512},
                                         Format{2048, 2048, 64, SectorNumbers::Sectors}),
                         [](const auto& info) { return name_of(info.param); });

}  // namespace
}  // namespace remora::services::crypto
