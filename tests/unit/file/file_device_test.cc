// SPDX-License-Identifier: Apache-2.0
// FileDevice: which files are made, which are taken, and what is said about the others.
#include "backends/file/file_device.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "tests/support/block_client.h"
#include "tests/support/reactor_fixture.h"

namespace remora::backends::file {
namespace {

using core::ErrorKind;
using reactor::Task;

class FileDeviceTest : public test::ReactorFixture {
  public:
    FileDeviceTest() {
        std::string pattern = (std::filesystem::temp_directory_path() / "remora-XXXXXX").string();
        directory_ = mkdtemp(pattern.data());
    }
    ~FileDeviceTest() override { std::filesystem::remove_all(directory_); }

    [[nodiscard]] std::string path() const { return (directory_ / "disk").string(); }

    /// Opens the file as a volume of `bytes` and closes it. What went wrong, or nothing.
    core::Error open(std::uint64_t bytes, bool create) { return open_at(path(), bytes, create); }
    core::Error open_at(const std::string& at, std::uint64_t bytes, bool create) {
        core::Error error;
        run([&]() -> Task<> {
            FileDeviceOptions options;
            options.name = "d";
            options.path = at;
            options.size_bytes = bytes;
            options.create = create;
            auto device = FileDevice::create(options);
            if (device) {
                co_await (*device)->stop();
            } else {
                error = device.error();
            }
        });
        return error;
    }

  private:
    std::filesystem::path directory_;
};

TEST_F(FileDeviceTest, Create_fileIsMissing_makesItSparse) {
    EXPECT_EQ(open(core::kMiB, true).message, "");
    EXPECT_EQ(std::filesystem::file_size(path()), core::kMiB);
    EXPECT_EQ(open(core::kMiB, true).message, "") << "a call that is repeated takes it";
}

TEST_F(FileDeviceTest, Grow_fileIsLongerAndChannelsUseIt) {
    run([this]() -> Task<> {
        FileDeviceOptions options;
        options.path = path();
        options.block_size = 4096;
        options.size_bytes = core::kMiB;
        options.create = true;
        auto device = FileDevice::create(options);
        auto channel = (*device)->open_channel();
        test::BlockClient client(**channel);
        EXPECT_TRUE((*device)->grow(512));
        EXPECT_EQ(std::filesystem::file_size(path()), 2 * core::kMiB);
        (*device)->show_growth();
        std::vector<std::byte> data = test::pattern(8192, 1);
        const core::Segment whole{data.data(), data.size()};
        const block::Status written =
            co_await client.perform(block::Opcode::Write, 255, 2, std::span(&whole, 1));
        EXPECT_EQ(written, block::Status::Ok);
        std::vector<std::byte> back(8192);
        const core::Segment into{back.data(), back.size()};
        const block::Status read =
            co_await client.perform(block::Opcode::Read, 255, 2, std::span(&into, 1));
        EXPECT_EQ(read, block::Status::Ok);
        EXPECT_TRUE(back == data);
        channel->reset();
        co_await (*device)->stop();
    });
}

TEST_F(FileDeviceTest, Open_fileIsMissing_isNotFoundAndMakesNone) {
    const core::Error error = open(core::kMiB, false);

    EXPECT_EQ(error.kind, ErrorKind::NotFound);
    EXPECT_NE(error.message.find("bring it back"), std::string::npos) << error.message;
    EXPECT_FALSE(std::filesystem::exists(path()));
    EXPECT_NE(open(0, false).message.find("name its size"), std::string::npos);
}

TEST_F(FileDeviceTest, Open_fileHasAnotherSize_isRefusedAndLeftAlone) {
    ASSERT_EQ(open(core::kMiB, true).message, "");
    std::filesystem::resize_file(path(), 4096);

    for (const bool create : {false, true}) {
        const core::Error error = open(core::kMiB, create);
        EXPECT_EQ(error.kind, ErrorKind::InvalidArgument);
        EXPECT_NE(error.message.find("has 4096 bytes and not the 1048576"), std::string::npos)
            << error.message;
    }
    EXPECT_EQ(std::filesystem::file_size(path()), 4096U);
    EXPECT_EQ(open(0, false).message, "") << "no size asked for: any will do";
}

TEST_F(FileDeviceTest, Open_sizeThatIsNoDisk_isRefused) {
    EXPECT_EQ(open(1000, true).kind, ErrorKind::InvalidArgument);
    EXPECT_EQ(open(0, true).kind, ErrorKind::InvalidArgument);
    EXPECT_FALSE(std::filesystem::exists(path()));
}

// Whatever a client names, it is told that this is no file for a volume, and nothing is made of it.
TEST_F(FileDeviceTest, Open_whatIsNoFileForAVolume_isTheCallersMistake) {
    namespace fs = std::filesystem;
    const fs::path folder = fs::path(path()).parent_path();
    std::ofstream(folder / "text") << "not a disk";
    fs::create_symlink("loop", folder / "loop");
    fs::create_symlink("nowhere", folder / "dangling");
    ASSERT_EQ(mkfifo((folder / "fifo").c_str(), 0600), 0);
    const int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    (folder / "socket").string().copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    close(listener);

    for (const std::string& named :
         {std::string("/"), folder.string(), std::string("/dev/null"), std::string("/dev/zero"),
          std::string("/proc/self/mem"), (folder / "text" / "below").string(),
          (folder / "loop").string(), (folder / "fifo").string(), (folder / "socket").string(),
          (folder / std::string(300, 'a')).string(), "/" + std::string(5000, 'a'),
          (folder / "text").string(), std::string("relative"), std::string()}) {
        for (const bool create : {true, false}) {
            const core::Error error = open_at(named, core::kMiB, create);
            EXPECT_EQ(error.kind, ErrorKind::InvalidArgument) << named << ": " << error.message;
        }
    }
    EXPECT_EQ(open_at((folder / "no" / "disk").string(), core::kMiB, true).kind,
              ErrorKind::NotFound);
    const core::Error larger_than_files_are = open(
        static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) & ~0xfffULL, true);
    EXPECT_TRUE(larger_than_files_are.kind == ErrorKind::InvalidArgument ||
                larger_than_files_are.kind == ErrorKind::ResourceExhausted)
        << larger_than_files_are.message;
    EXPECT_FALSE(fs::exists(path()));
    EXPECT_EQ(fs::file_size(folder / "text"), 10U);
}

}  // namespace
}  // namespace remora::backends::file
