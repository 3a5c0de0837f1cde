// SPDX-License-Identifier: Apache-2.0
// The control plane's small parts by themselves: names, required fields, plan, locks, store.
#include <filesystem>
#include <fstream>
#include <limits>

#include <sqlite3.h>

#include "control/grpc_status_map.h"
#include "control/identity.h"
#include "control/names.h"
#include "control/plan.h"
#include "control/sqlite_store.h"
#include "control/validate_volume.h"
#include "control/volume_finder.h"
#include "tests/unit/control/plane_fixture.h"

namespace remora::test {

namespace {

using control::Change;
using control::Kind;
using control::SqliteStore;

TEST(NamesTest, ChooseId_followsTheRule) {
    core::Prng prng(1);
    const auto chosen = [&](const std::string& id) {
        return control::choose_id("id", id, prng).has_value();
    };
    EXPECT_TRUE(chosen("opi-nvme8"));
    EXPECT_TRUE(chosen("a"));
    EXPECT_TRUE(chosen(std::string(63, 'a')));
    EXPECT_TRUE(chosen("2f6e1f4c-8d53-4c8e-9d0a-3f5b1c7a9e10"));
    EXPECT_FALSE(chosen(std::string(64, 'a')));
    EXPECT_FALSE(chosen("1a"));
    EXPECT_FALSE(chosen("Abc"));
    EXPECT_FALSE(chosen("abc-"));
    EXPECT_FALSE(chosen("a_b"));
    EXPECT_FALSE(chosen("a/b"));
}

TEST(NamesTest, CheckName_followsTheRule) {
    EXPECT_TRUE(control::check_name("name", "Malloc1"));
    EXPECT_TRUE(control::check_name("name", "nvmeSubsystems/a/nvmeControllers/b"));
    EXPECT_FALSE(control::check_name("name", ""));
    EXPECT_FALSE(control::check_name("name", "-ABC-DEF"));
    EXPECT_FALSE(control::check_name("name", "a//b"));
    EXPECT_FALSE(control::check_name("name", "a/"));
    EXPECT_FALSE(control::check_name("name", "a b"));
}

TEST(NamesTest, NaturalLess_countsDigits) {
    const control::NaturalLess less;
    EXPECT_TRUE(less("attachments/2", "attachments/10"));
    EXPECT_FALSE(less("attachments/10", "attachments/2"));
    EXPECT_TRUE(less("vol9b", "vol10a"));
    EXPECT_TRUE(less("a", "a0"));
    EXPECT_FALSE(less("a1", "a1"));
    EXPECT_NE(less("a01", "a1"), less("a1", "a01"));
}

TEST(ValidateTest, RequiredFields_areFoundAtAnyDepth) {
    opi::CreateNvmeControllerRequest request;
    request.set_parent("p");
    EXPECT_EQ(control::check_required(request).error().message,
              "missing required field: nvme_controller");
    auto& spec = *request.mutable_nvme_controller()->mutable_spec();
    EXPECT_EQ(control::check_required(request).error().message,
              "missing required field: nvme_controller.spec.trtype");
    spec.set_trtype(opi::NVME_TRANSPORT_TYPE_TCP);
    spec.mutable_fabrics_id()->set_traddr("127.0.0.1");
    EXPECT_EQ(control::check_required(request).error().message,
              "missing required field: nvme_controller.spec.fabrics_id.trsvcid");
    opi::CreateVirtioBlkRequest disk;
    disk.mutable_virtio_blk()->set_volume_name_ref("v");
    auto& pcie = *disk.mutable_virtio_blk()->mutable_pcie_id();
    pcie.mutable_port_id();
    pcie.mutable_physical_function();
    EXPECT_FALSE(control::check_required(disk));
    pcie.mutable_virtual_function();  // A present wrapper of value 0 is a value.
    EXPECT_TRUE(control::check_required(disk));
}

TEST(ValidateTest, VolumeSize_ofAnyNumber_isJudged) {
    constexpr auto kLeast = std::numeric_limits<std::int64_t>::min();
    constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
    for (const std::int64_t number : {kLeast, std::int64_t{-1}, std::int64_t{0}, kMost}) {
        opi::NullVolume volume;
        volume.set_block_size(number);
        volume.set_blocks_count(8);
        EXPECT_KIND(control::validate(volume), InvalidArgument) << number;
    }
    opi::NullVolume volume;
    volume.set_block_size(512);
    for (const std::int64_t number : {kLeast, std::int64_t{-1}, kMost}) {
        volume.set_blocks_count(number);
        EXPECT_KIND(control::validate(volume), InvalidArgument) << number;
    }
}

TEST(ValidateTest, Enumeration_ofUnknownNumber_isRefusedWithItsField) {
    opi::UpdateNvmePathRequest request;
    opi::NvmePath& path = *request.mutable_nvme_path();
    path.set_traddr("10.0.0.1");
    path.set_trtype(static_cast<opi::NvmeTransportType>(9999));
    EXPECT_EQ(control::check_required(request).error().message,
              "nvme_path.trtype: 9999 is no NvmeTransportType");
    path.set_trtype(opi::NVME_TRANSPORT_TYPE_TCP);
    EXPECT_TRUE(control::check_required(request));
}

TEST(ValidateTest, UpdateMask_hasOneSpellingOfAField) {
    opi::NvmeController current;
    opi::NvmeController patch;
    patch.mutable_spec()->set_max_nsq(5);
    const control::FieldRules rules{{"spec.max_nsq"}, {"status"}, "it is so"};
    const auto updated = [&](const std::string& path) {
        google::protobuf::FieldMask mask;
        mask.add_paths(path);
        return control::apply_update(current, patch, mask, rules);
    };
    for (const char* path : {"", ".", "..", ".spec", "spec.", "spec..max_nsq", "spec.max_nsq.",
                             "spec.max_nsq.x", "Spec", "spec.maxNsq", "spec,name"}) {
        EXPECT_KIND(updated(path), InvalidArgument) << path;
    }
    EXPECT_EQ(current.spec().max_nsq(), 0);
    EXPECT_TRUE(updated("spec.max_nsq"));
    EXPECT_EQ(current.spec().max_nsq(), 5);
}

TEST(PlanTest, Plan_unplugsStraysAndWrongSockets_thenPlugsWhatIsMissing) {
    using Action = control::PlugAction;
    const std::vector<control::DesiredDevice> desired{
        {{0, "/s/0", 1}}, {{1, "/s/1", 2}}, {{2, "/s/2", 1}}};
    const std::vector<platform::PluggedDevice> actual{
        {0, "/s/0", "x"}, {1, "/other", "y"}, {7, "/s/7", "z"}};

    const auto actions = control::plan(desired, actual);

    const std::vector<Action> wanted{{Action::Kind::Unplug, {1, {}, 1}},
                                     {Action::Kind::Unplug, {7, {}, 1}},
                                     {Action::Kind::Plug, {1, "/s/1", 2}},
                                     {Action::Kind::Plug, {2, "/s/2", 1}}};
    EXPECT_EQ(actions, wanted);
    EXPECT_TRUE(control::plan({}, {}).empty());
}

// QEMU tells of an NVMe controller's socket by a tag only, and one whose socket was closed is dead.
TEST(PlanTest, Plan_plugsAnewWhatIsLost_andKnowsSocketsByTheirTag) {
    using Action = control::PlugAction;
    constexpr auto kNvme = platform::DeviceKind::Nvme;
    const platform::PlugRequest right{0, "/s/a", 16, kNvme};
    const platform::PlugRequest lost{1, "/s/b", 16, kNvme};
    const platform::PlugRequest other{2, "/s/c", 16, kNvme};
    const std::vector<platform::PluggedDevice> actual{{0, "", "x", platform::socket_tag("/s/a")},
                                                      {1, "", "y", platform::socket_tag("/s/b")},
                                                      {2, "", "z", platform::socket_tag("/s/d")}};

    const auto actions = control::plan({{right}, {lost, true}, {other}}, actual);

    const std::vector<Action> wanted{{Action::Kind::Unplug, {1, {}, 1}},
                                     {Action::Kind::Unplug, {2, {}, 1}},
                                     {Action::Kind::Plug, lost},
                                     {Action::Kind::Plug, other}};
    EXPECT_EQ(actions, wanted);
}

TEST(FinderTest, SharedRemoteId_isAnIdAndDiffersByHost) {
    core::Prng prng(1);
    const auto id = control::shared_remote_id(kNqn, "");
    EXPECT_TRUE(control::choose_id("id", id, prng));
    EXPECT_EQ(id, control::shared_remote_id(kNqn, ""));
    EXPECT_NE(id, control::shared_remote_id(kNqn, "nqn.2024-01.org.example:host"));
}

TEST(StatusMapTest, EveryKind_hasACodeOfItsOwnName) {
    using core::ErrorKind;
    const std::vector<std::pair<ErrorKind, grpc::StatusCode>> table{
        {ErrorKind::InvalidArgument, grpc::StatusCode::INVALID_ARGUMENT},
        {ErrorKind::NotFound, grpc::StatusCode::NOT_FOUND},
        {ErrorKind::AlreadyExists, grpc::StatusCode::ALREADY_EXISTS},
        {ErrorKind::FailedPrecondition, grpc::StatusCode::FAILED_PRECONDITION},
        {ErrorKind::ResourceExhausted, grpc::StatusCode::RESOURCE_EXHAUSTED},
        {ErrorKind::Unavailable, grpc::StatusCode::UNAVAILABLE},
        {ErrorKind::DeadlineExceeded, grpc::StatusCode::DEADLINE_EXCEEDED},
        {ErrorKind::PermissionDenied, grpc::StatusCode::PERMISSION_DENIED},
        {ErrorKind::Aborted, grpc::StatusCode::ABORTED},
        {ErrorKind::Unimplemented, grpc::StatusCode::UNIMPLEMENTED},
        {ErrorKind::DataLoss, grpc::StatusCode::DATA_LOSS},
        {ErrorKind::Internal, grpc::StatusCode::INTERNAL},
    };
    for (const auto& [kind, code] : table) {
        EXPECT_EQ(control::to_grpc_code(kind), code) << core::to_string(kind);
    }
    const auto status = control::to_grpc_status({core::ErrorKind::NotFound, "no x"});
    EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
    EXPECT_EQ(status.error_message(), "no x");
}

TEST(StatusMapTest, Sentence_ofForeignText_isShortAndHasNoControlCharacters) {
    EXPECT_EQ(control::to_sentence("\"a\n\x1b[31m\x7f\" \xc2\x9b"
                                   "2J"),
              "\"a\\x0a\\x1b[31m\\x7f\" \\xc2\\x9b2J");
    EXPECT_EQ(control::to_sentence("\xc3\xa9 and \xc2\xa0"), "\xc3\xa9 and \xc2\xa0");

    const std::string cut = control::to_sentence(std::string(1 << 20, 'a'));
    EXPECT_TRUE(cut.ends_with("a..."));
    EXPECT_LE(cut.size(), 1100U);
    // A character is never cut in two.
    std::string wide = "a";
    for (int i = 0; i < 1000; ++i) {
        wide += "\xe2\x82\xac";
    }
    const std::string cut_wide = control::to_sentence(wide);
    EXPECT_TRUE(cut_wide.ends_with("\xe2\x82\xac..."));
    EXPECT_EQ((cut_wide.size() - 4) % 3, 0U);
    EXPECT_EQ(control::to_grpc_status({core::ErrorKind::NotFound, "\r"}).error_message(), "\\x0d");
}

class LockTest : public ReactorFixture {
  public:
    static Task<> hold(control::LockTable* table,
                       std::vector<std::string> keys,
                       std::string name,
                       reactor::Signal* until,
                       std::vector<std::string>* order) {
        auto held = co_await table->take(keys, core::kNever);
        order->push_back(name);
        if (until != nullptr) {
            co_await until->wait_until(core::kNever);
        }
    }
};

TEST_F(LockTest, Take_overlappingSets_goOneAfterTheOther) {
    control::LockTable table;
    reactor::Gate gate;
    reactor::Signal release;
    std::vector<std::string> order;
    reactor().post_function([&] {
        (void)gate.spawn(&hold, &table, std::vector<std::string>{"a", "b"}, std::string("first"),
                         &release, &order);
        (void)gate.spawn(&hold, &table, std::vector<std::string>{"b", "c"}, std::string("second"),
                         nullptr, &order);
        (void)gate.spawn(&hold, &table, std::vector<std::string>{"c"}, std::string("third"),
                         nullptr, &order);
    });
    turn_until([&] { return order.size() == 2; });
    EXPECT_EQ(order, (std::vector<std::string>{"first", "third"}));
    reactor().post_function([&] { release.notify(); });
    turn_until([&] { return order.size() == 3; });
    turn(3);
    EXPECT_TRUE(table.is_free("a") && table.is_free("b") && table.is_free("c"));
}

TEST_F(LockTest, Take_pastTheDeadline_isRefusedAndHoldsNothing) {
    control::LockTable table;
    run([&]() -> Task<> {
        auto first = co_await table.take({"a"}, core::kNever);
        const core::Nanos soon = reactor().now() + std::chrono::milliseconds(5);
        const auto second = co_await table.take({"a", "b"}, soon);
        EXPECT_KIND(second, DeadlineExceeded);
        EXPECT_TRUE(table.is_free("b"));
    });
}

class StoreTest : public testing::Test {
  public:
    StoreTest() {
        std::string pattern = testing::TempDir() + "remora-store-XXXXXX";
        directory = ::mkdtemp(pattern.data());
    }
    ~StoreTest() override { std::filesystem::remove_all(directory); }
    static Change put(Kind kind, const std::string& name, const std::string& body) {
        return {Change::Action::Put, {kind, name, body}};
    }
    std::string directory;
};

TEST_F(StoreTest, Commit_reopened_isThere) {
    {
        auto store = SqliteStore::open(directory);
        ASSERT_TRUE(store);
        const std::vector changes{put(Kind::MallocVolume, "volumes/x", std::string("a\0b", 3)),
                                  put(Kind::NullVolume, "volumes/x", ""),
                                  put(Kind::VirtioBlk, "volumes/y", "y")};
        ASSERT_TRUE((*store)->commit(changes));
        const std::vector erase{Change{Change::Action::Erase, {Kind::VirtioBlk, "volumes/y", ""}}};
        ASSERT_TRUE((*store)->commit(erase));
    }
    auto store = SqliteStore::open(directory);
    ASSERT_TRUE(store);
    const auto objects = (*store)->load();
    ASSERT_TRUE(objects);
    ASSERT_EQ(objects->size(), 2U);
    EXPECT_EQ(objects->at(0).body, std::string("a\0b", 3));
    EXPECT_EQ(objects->at(1).kind, Kind::NullVolume);
}

TEST_F(StoreTest, Open_secondDaemon_isRefusedWithASentence) {
    auto first = SqliteStore::open(directory);
    ASSERT_TRUE(first);

    const auto second = SqliteStore::open(directory);

    EXPECT_KIND(second, FailedPrecondition);
    EXPECT_NE(second.error().message.find("another remorad"), std::string::npos);
}

TEST_F(StoreTest, Open_newerSchema_isRefused) {
    {
        ASSERT_TRUE(SqliteStore::open(directory));
    }
    sqlite3* handle = nullptr;
    ASSERT_EQ(sqlite3_open((directory + "/remora.db").c_str(), &handle), SQLITE_OK);
    sqlite3_exec(handle, "PRAGMA user_version=99", nullptr, nullptr, nullptr);
    sqlite3_close(handle);

    EXPECT_KIND(SqliteStore::open(directory), FailedPrecondition);
}

TEST_F(StoreTest, Open_garbage_isDataLoss) {
    std::ofstream(directory + "/remora.db") << std::string(8192, 'x');

    EXPECT_KIND(SqliteStore::open(directory), DataLoss);
}

TEST_F(StoreTest, Identity_isTheSameAfterARestart) {
    core::Prng prng(5);
    std::string first;
    {
        auto store = SqliteStore::open(directory);
        first = control::load_identity(**store, prng)->host_nqn;
    }
    auto store = SqliteStore::open(directory);
    EXPECT_EQ(control::load_identity(**store, prng)->host_nqn, first);
}

}  // namespace

}  // namespace remora::test
