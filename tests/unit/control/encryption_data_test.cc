// SPDX-License-Identifier: Apache-2.0
// What lies below an encrypted volume, and in the state folder: ciphertext as dm-crypt's and
// nothing of the key, before and after a kill.
#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/unit/control/kill_fixture.h"
#include "tests/unit/crypto/xts_reference.h"

namespace remora::test {
namespace {

using services::crypto::Bytes;
using services::crypto::reference;

constexpr std::int64_t kVolumeBytes = std::int64_t{1} << 20;
constexpr std::uint64_t kLba = 3;
constexpr std::uint32_t kWritten = 8192;

class EncryptionDataTest : public KillFixture, public testing::WithParamInterface<std::uint32_t> {
  public:
    EncryptionDataTest() {
        core::Prng prng(5);
        key = services::crypto::random_bytes(prng, 64);
        data = services::crypto::random_bytes(prng, kWritten);
    }

    /// Volume e0, encrypted in the file volume f0.
    Task<core::Result<opi::EncryptedVolume>> encrypt() {
        opi::CreateAioVolumeRequest file;
        file.set_aio_volume_id("f0");
        file.mutable_aio_volume()->set_filename(path());
        file.mutable_aio_volume()->set_block_size(GetParam());
        file.mutable_aio_volume()->set_blocks_count(kVolumeBytes / GetParam());
        const auto below = co_await plane_->volumes.create_aio(file);
        EXPECT_TRUE(below) << below.error().message;
        auto made = co_await encrypt_again();
        co_return made;
    }
    Task<core::Result<opi::EncryptedVolume>> encrypt_again() {
        opi::CreateEncryptedVolumeRequest request;
        request.set_encrypted_volume_id("e0");
        auto& volume = *request.mutable_encrypted_volume();
        volume.set_volume_name_ref("f0");
        volume.set_key(key.data(), key.size());
        volume.set_cipher(opi::ENCRYPTION_TYPE_AES_XTS_256);
        auto made = co_await plane_->encrypted_volumes.create(request);
        co_return made;
    }
    [[nodiscard]] std::string path() const { return directory_ + "/f0"; }

    /// A command about as many bytes as the data has, at its place or at another.
    [[nodiscard]] spec::Command command(IoOpcode opcode, std::uint64_t lba = kLba) const {
        spec::Command out = make_rw(opcode, lba, kWritten / 512);
        out.cdw12 = kWritten / GetParam() - 1;
        return out;
    }

    static Bytes content(const std::string& file) {
        std::ifstream in(file, std::ios::binary);
        const std::string text{std::istreambuf_iterator<char>(in), {}};
        const auto bytes = std::as_bytes(std::span(text));
        return {bytes.begin(), bytes.end()};
    }
    /// Of each file of the state folder, whether it holds a quarter of the key.
    void expect_no_key_in(const std::string& state) {
        int files = 0;
        for (const auto& entry : std::filesystem::directory_iterator(directory_ + "/" + state)) {
            const Bytes bytes = content(entry.path().string());
            for (std::size_t part = 0; part < key.size(); part += 16) {
                EXPECT_TRUE(std::ranges::search(bytes, std::span(key).subspan(part, 16)).empty())
                    << entry.path();
            }
            ++files;
        }
        EXPECT_GE(files, 3) << "the database, its log, the seal key";
    }

    Bytes key;
    Bytes data;
};

TEST_P(EncryptionDataTest, WhatIsBelow_isDmCrypts_andIsReadAgainAfterAKill) {
    run([&]() -> Task<> {
        co_await start("first");
        const auto made = co_await encrypt();
        EXPECT_TRUE(made) << made.error().message;
        co_await show("e0");
        {
            const Host host = co_await connect(1);
            const Outcome written = co_await host.io->perform(command(IoOpcode::Write), data);
            EXPECT_EQ(written.status, 0);
            spec::Command zeroes = command(IoOpcode::WriteZeroes, kLba + kWritten / GetParam());
            zeroes.sgl = {};
            const Outcome zeroed = co_await host.io->perform(zeroes);
            EXPECT_EQ(zeroed.status, 0);
            spec::Command flush = command(IoOpcode::Flush);
            flush.sgl = {};
            const Outcome flushed = co_await host.io->perform(flush);
            EXPECT_EQ(flushed.status, 0);
            snapshot("first", "second");
        }
        co_await stop();
        const Bytes below = content(path());
        const std::size_t at = kLba * GetParam();
        Bytes plain = data;
        plain.resize(2 * kWritten);
        EXPECT_TRUE(std::ranges::equal(std::span(below).subspan(at, plain.size()),
                                       reference({key, GetParam(), false}, true, kLba, plain)));
        expect_no_key_in("first");

        co_await start("second");
        {
            const Host host = co_await connect(1);
            const Outcome read = co_await host.io->perform(command(IoOpcode::Read));
            EXPECT_EQ(read.status, 0);
            EXPECT_TRUE(read.data == data);
        }
        co_await stop();
        expect_no_key_in("second");
    });
}

// The seal key is lost: nothing is read, nothing is written, and the key brings all of it back.
TEST_P(EncryptionDataTest, LostSealKey_readsNothing_untilTheKeyComesAgain) {
    run([&]() -> Task<> {
        co_await start("first");
        const auto made = co_await encrypt();
        EXPECT_TRUE(made);
        co_await show("e0");
        {
            const Host host = co_await connect(1);
            const Outcome written = co_await host.io->perform(command(IoOpcode::Write), data);
            EXPECT_EQ(written.status, 0);
        }
        co_await stop();
        std::filesystem::remove(directory_ + "/first/seal-key");
        co_await start("first");
        EXPECT_FALSE(node_->find_volume("encryptedVolumes/e0"));
        {
            const Host host = co_await connect(1);
            const Outcome read = co_await host.io->perform(command(IoOpcode::Read));
            EXPECT_EQ(read.code(), StatusCode::InvalidNamespace);
        }
        const auto again = co_await encrypt_again();
        EXPECT_TRUE(again) << again.error().message;
        co_await stop();
        co_await start("first");
        {
            const Host host = co_await connect(1);
            const Outcome read = co_await host.io->perform(command(IoOpcode::Read));
            EXPECT_EQ(read.status, 0);
            EXPECT_TRUE(read.data == data);
        }
        co_await stop();
    });
}

TEST_P(EncryptionDataTest, VolumeBelow_grows_andItWithIt) {
    run([&]() -> Task<> {
        co_await start("first");
        const auto made = co_await encrypt();
        EXPECT_TRUE(made);
        opi::UpdateAioVolumeRequest larger;
        larger.mutable_aio_volume()->set_name("volumes/f0");
        larger.mutable_aio_volume()->set_filename(path());
        larger.mutable_aio_volume()->set_block_size(GetParam());
        larger.mutable_aio_volume()->set_blocks_count(2 * kVolumeBytes / GetParam());
        const auto grown = co_await plane_->volumes.update_aio(larger);
        EXPECT_TRUE(grown) << grown.error().message;
        const auto geometry = node_->find_volume("encryptedVolumes/e0")->geometry;
        EXPECT_EQ(static_cast<std::int64_t>(geometry.size_bytes()), 2 * kVolumeBytes);
        const auto itself = co_await node_->grow_volume("encryptedVolumes/e0", 1 << 20);
        EXPECT_FALSE(itself);
        co_await stop();
    });
}

INSTANTIATE_TEST_SUITE_P(BlockSizes, EncryptionDataTest, testing::Values(512U, 4096U));

}  // namespace
}  // namespace remora::test
