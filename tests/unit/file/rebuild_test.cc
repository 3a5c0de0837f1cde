// SPDX-License-Identifier: Apache-2.0
// A file volume after a restart: its file must still be there. One that is missing is told of and
// not made anew, for it would be an empty disk with the old one's identity.
#include <filesystem>

#include <gtest/gtest.h>

#include "node/local_node.h"
#include "tests/unit/control/plane_fixture.h"

namespace remora::test {
namespace {

constexpr const char* kPath = "/data/disk";
constexpr std::uint64_t kBytes = std::uint64_t{2048} * 512;

class RebuildTest : public PlaneFixture {
  public:
    Result<opi::AioVolume> create_aio(std::int64_t blocks) {
        opi::CreateAioVolumeRequest request;
        request.set_aio_volume_id("a0");
        request.mutable_aio_volume()->set_filename(kPath);
        request.mutable_aio_volume()->set_block_size(512);
        request.mutable_aio_volume()->set_blocks_count(blocks);
        return call(&control::ControlPlane::volumes, &control::Volumes::create_aio, request);
    }
    Result<google::protobuf::Empty> delete_aio() {
        opi::DeleteAioVolumeRequest request;
        request.set_name("aioVolumes/a0");
        return call(&control::ControlPlane::volumes, &control::Volumes::delete_aio, request);
    }
};

TEST_F(RebuildTest, Create_missingFile_isMadeOnlyWhenASizeIsGiven) {
    EXPECT_KIND(create_aio(0), NotFound);
    EXPECT_TRUE(network.files.empty());
    ASSERT_TRUE(create_aio(2048));
    EXPECT_EQ(network.files.at(kPath), kBytes);
}

TEST_F(RebuildTest, Restart_fileIsThere_volumeIsBuiltAgain) {
    ASSERT_TRUE(create_aio(2048));
    restart_plane();
    EXPECT_EQ(node->volumes.size(), 1U);
}

TEST_F(RebuildTest, Restart_fileIsMissing_noneIsMadeAndItCanBeDeleted) {
    ASSERT_TRUE(create_aio(2048));
    network.files.clear();
    restart_plane();
    EXPECT_TRUE(node->volumes.empty());
    EXPECT_TRUE(network.files.empty());

    network.files[kPath] = kBytes;
    restart_plane();
    EXPECT_EQ(node->volumes.size(), 1U) << "the file is back";

    network.files.clear();
    restart_plane();
    EXPECT_TRUE(delete_aio());
}

TEST_F(RebuildTest, Restart_fileHasAnotherSize_volumeIsNotBuilt) {
    ASSERT_TRUE(create_aio(2048));
    network.files[kPath] = 4096;
    restart_plane();
    EXPECT_TRUE(node->volumes.empty());
}

TEST_F(RebuildTest, Delete_storeFailsAndTheFileIsGone_noneIsMade) {
    ASSERT_TRUE(create_aio(2048));
    network.files.clear();
    steps = {};
    steps.fail_at = 2;  // the commit
    EXPECT_KIND(delete_aio(), Unavailable);
    EXPECT_TRUE(network.files.empty());
}

using LocalNodeFileTest = ReactorFixture;

TEST_F(LocalNodeFileTest, CreateFile_missingFile_isMadeOnlyWhenAsked) {
    std::string directory = (std::filesystem::temp_directory_path() / "remora-XXXXXX").string();
    ASSERT_NE(mkdtemp(directory.data()), nullptr);
    run([&, this]() -> Task<> {
        auto pool = memory::BufferPool::create(1 << 20);
        const block::ReactorContext context{reactor(), **pool};
        node::LocalNode local(std::span(&context, 1), reactor(), {});
        node::FileSpec spec;
        spec.name = "a";
        spec.path = directory + "/disk";
        spec.size_bytes = kBytes;
        const auto refused = co_await local.create_file(spec);
        EXPECT_KIND(refused, NotFound);
        EXPECT_FALSE(std::filesystem::exists(spec.path));
        spec.create = true;
        const auto made = co_await local.create_file(spec);
        EXPECT_TRUE(made);
        const bool stopped = co_await local.stop(std::chrono::seconds(5));
        EXPECT_TRUE(stopped);
    });
    std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace remora::test
