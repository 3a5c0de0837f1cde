// SPDX-License-Identifier: Apache-2.0
// The audit log's file: whole lines, rotation, other processes, disks that are full.
#include "control/audit_file.h"

#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <sys/resource.h>
#include <sys/stat.h>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "control/audit_log.h"
#include "storage/backend_malloc.pb.h"
#include "tests/support/scratch_folder.h"

namespace remora::test {

namespace {

namespace opi = opi_api::storage::v1;

using control::AuditFile;
using control::AuditLog;
using nlohmann::json;
using testing::HasSubstr;

std::string content(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    std::stringstream out;
    out << in.rdbuf();
    return out.str();
}

std::string record(int number, std::size_t size = 0) {
    std::string line = "{\"seq\":" + std::to_string(number) + ",\"event\":\"begin\"";
    line += ",\"pad\":\"" + std::string(size > line.size() + 12 ? size - line.size() - 12 : 0, 'x');
    return line + "\"}\n";
}

TEST(AuditFile, File_isItsOwnersAloneAndGoesOnAtTheEnd) {
    const ScratchFolder folder;
    const std::string path = folder.path() + "/audit.log";
    {
        auto file = *AuditFile::open(path, {});
        EXPECT_EQ(file->last_number(), 0);
        ASSERT_TRUE(file->append(record(7), true));
    }

    auto again = *AuditFile::open(path, {});
    EXPECT_EQ(again->last_number(), 7);
    ASSERT_TRUE(again->append(record(8), false));

    EXPECT_EQ(content(path), record(7) + record(8));
    struct stat about{};
    ASSERT_EQ(stat(path.c_str(), &about), 0);
    EXPECT_EQ(about.st_mode & 0777U, 0600U);
}

TEST(AuditFile, File_ofAnotherProcess_isRefused) {
    const ScratchFolder folder;
    const auto file = *AuditFile::open(folder.path() + "/a", {});
    const auto second = AuditFile::open(folder.path() + "/a", {});
    ASSERT_FALSE(second);
    EXPECT_THAT(second.error().message, HasSubstr("another process"));
    EXPECT_FALSE(AuditFile::open("/dev/null", {}));
    EXPECT_FALSE(AuditFile::open(folder.path(), {}));
    EXPECT_FALSE(AuditFile::open(folder.path() + "/none/a", {}));
}

TEST(AuditFile, Line_thatACrashCut_endsBeforeTheNext) {
    const ScratchFolder folder;
    folder.file("/a", record(3) + "{\"seq\":4,\"ev");

    auto file = *AuditFile::open(folder.path() + "/a", {});
    ASSERT_TRUE(file->append(record(5), true));
    ASSERT_TRUE(file->append(record(6), true));

    EXPECT_EQ(file->last_number(), 4);
    EXPECT_EQ(content(folder.path() + "/a"),
              record(3) + "{\"seq\":4,\"ev\n" + record(5) + record(6));
}

TEST(AuditFile, File_thatIsFull_makesRoomAndKeepsAsManyAsItSays) {
    const ScratchFolder folder;
    const std::string path = folder.path() + "/a";
    auto file = *AuditFile::open(path, {250, 2});

    for (int i = 1; i <= 9; ++i) {  // Two lines a file.
        ASSERT_TRUE(file->append(record(i, 100), false));
    }

    EXPECT_EQ(content(path), record(9, 100));
    EXPECT_EQ(content(path + ".1"), record(7, 100) + record(8, 100));
    EXPECT_EQ(content(path + ".2"), record(5, 100) + record(6, 100));
    EXPECT_FALSE(std::filesystem::exists(path + ".3"));
}

TEST(AuditFile, Numbers_goOnThoughTheNewFileIsEmpty) {
    const ScratchFolder folder;
    folder.file("/a.1", record(11) + record(12));
    folder.file("/a", "");
    EXPECT_EQ((*AuditFile::open(folder.path() + "/a", {}))->last_number(), 12);
}

TEST(AuditFile, File_thatSomebodyRemoved_isMadeAnew) {
    const ScratchFolder folder;
    const std::string path = folder.path() + "/a";
    auto file = *AuditFile::open(path, {});
    ASSERT_TRUE(file->append(record(1), true));

    std::filesystem::remove(path);
    ASSERT_TRUE(file->append(record(2), true));

    EXPECT_EQ(content(path), record(2));
}

TEST(AuditFile, Folder_thatGoesAndComes_costsOnlyTheLinesMeanwhile) {
    const ScratchFolder folder;
    const std::string inner = folder.path() + "/in";
    std::filesystem::create_directory(inner);
    auto file = *AuditFile::open(inner + "/a", {});

    std::filesystem::remove_all(inner);
    EXPECT_FALSE(file->append(record(1), true));
    EXPECT_FALSE(file->append(record(2), true));
    std::filesystem::create_directory(inner);
    EXPECT_TRUE(file->append(record(3), true));

    EXPECT_EQ(content(inner + "/a"), record(3));
}

// A disk that is full takes the beginning of a line; so does a file that may not grow further.
TEST(AuditFile, Line_thatDoesNotFit_leavesNothing) {
    const ScratchFolder folder;
    auto file = *AuditFile::open(folder.path() + "/a", {});
    ASSERT_TRUE(file->append(record(1, 100), true));
    rlimit before{};
    ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    const rlimit small{150, before.rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);

    const auto refused = file->append(record(2, 100), true);
    const auto again = file->append(record(3, 100), true);

    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
    std::signal(SIGXFSZ, handler);
    EXPECT_FALSE(refused);
    EXPECT_FALSE(again);
    EXPECT_TRUE(file->append(record(4, 100), true));
    EXPECT_EQ(content(folder.path() + "/a"), record(1, 100) + record(4, 100));
}

TEST(AuditFile, Lines_ofManyThreadsWhileItMakesRoom_areAllThereAndWhole) {
    const ScratchFolder folder;
    const std::string path = folder.path() + "/a";
    constexpr int kThreads = 8;
    constexpr int kLines = 50;
    {
        auto log = *AuditLog::start(*AuditFile::open(path, {16'000, 50}), 0);
        std::vector<std::jthread> threads;
        for (int i = 0; i < kThreads; ++i) {
            threads.emplace_back([&log, i] {
                const auto* create =
                    google::protobuf::DescriptorPool::generated_pool()->FindMethodByName(
                        "opi_api.storage.v1.MallocVolumeService.CreateMallocVolume");
                for (int k = 0; k < kLines; ++k) {
                    auto entry = log->begin({"grpc", std::to_string(i), ""}, *create,
                                            opi::CreateMallocVolumeRequest());
                    ASSERT_TRUE(entry);
                    entry->end(grpc::Status::OK, opi::MallocVolume(), false);
                }
            });
        }
    }

    std::map<int, std::string> calls;  // What happened under each number.
    int files = 0;
    for (int age = 50; age >= 0; --age) {
        std::ifstream in(age == 0 ? path : path + "." + std::to_string(age));
        files += in ? 1 : 0;
        for (std::string line; std::getline(in, line);) {
            const json read = json::parse(line);
            calls[read["seq"]] += read["event"];
        }
    }
    EXPECT_GT(files, 3);
    EXPECT_EQ(calls.size(), kThreads * kLines + 1);
    EXPECT_EQ(calls.extract(1).mapped(), "start");
    for (const auto& [number, events] : calls) {
        EXPECT_EQ(events, "beginend") << number;
    }
}

}  // namespace

}  // namespace remora::test
