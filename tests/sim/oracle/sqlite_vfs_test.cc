// SPDX-License-Identifier: Apache-2.0
// SQLite over the simulated disk: commits survive a loss of power, errors arrive as SQLite's, and
// a crash leaves neither locks nor a way to the disk behind.
#include "tests/sim/oracle/sqlite_vfs.h"

#include <set>
#include <sstream>

#include <gtest/gtest.h>
#include <sqlite3.h>

#include "core/check.h"
#include "tests/sim/oracle/memory_disk.h"

namespace remora::sim {
namespace {

/// A connection; closes itself, dead or alive.
class Database {
  public:
    Database(const VfsFiles& vfs, const std::string& path) {
        opened = sqlite3_open_v2(path.c_str(), &handle_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                                 vfs.name().c_str());
        sqlite3_extended_result_codes(handle_, 1);
    }
    Database(const Database&) = delete;
    Database& operator=(const Database&) = delete;
    ~Database() { sqlite3_close(handle_); }

    int run(const std::string& sql) {
        return sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr);
    }
    /// The first column of all rows, separated by spaces; "error" when it fails.
    std::string ask(const std::string& sql) {
        std::string out;
        const auto row = [](void* to, int /*columns*/, char** values, char** /*names*/) {
            auto& text = *static_cast<std::string*>(to);
            text += (text.empty() ? "" : " ");
            text += values[0] == nullptr ? "null" : values[0];
            return 0;
        };
        return sqlite3_exec(handle_, sql.c_str(), row, &out, nullptr) == SQLITE_OK ? out : "error";
    }
    int opened = SQLITE_OK;

  private:
    sqlite3* handle_ = nullptr;
};

class SqliteVfsTest : public testing::Test {
  public:
    SqliteVfsTest() : vfs("test-machine", disk, core::Prng(5), [] { return kNow; }) {}

    static constexpr std::int64_t kNow = 1767225600000;  // 2026-01-01
    static constexpr const char* kPath = "/state/db";
    MemoryDisk disk;
    VfsFiles vfs;
};

constexpr const char* kDurable = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;";

TEST_F(SqliteVfsTest, Content_staysOverCloseAndOpen) {
    for (const char* mode : {"WAL", "DELETE", "TRUNCATE"}) {
        const std::string path = std::string("/state/") + mode;
        {
            Database db(vfs, path);
            EXPECT_EQ(db.ask(std::string("PRAGMA journal_mode=") + mode),
                      std::string(mode) == "WAL"
                          ? "wal"
                          : (std::string(mode) == "DELETE" ? "delete" : "truncate"));
            EXPECT_EQ(db.run("CREATE TABLE t (a); INSERT INTO t VALUES (1), (2);"), SQLITE_OK);
        }
        EXPECT_EQ(vfs.open_files(), 0U);
        EXPECT_EQ(disk.open_files(), 0U);
        Database db(vfs, path);
        EXPECT_EQ(db.ask("SELECT a FROM t ORDER BY a"), "1 2");
        EXPECT_EQ(db.ask("SELECT strftime('%Y', 'now')"), "2026");
        EXPECT_EQ(db.ask("SELECT count(*) FROM (SELECT a.a FROM t a, t b ORDER BY 1)"), "4");
    }
}

TEST_F(SqliteVfsTest, TwoConnections_lockEachOther) {
    Database one(vfs, kPath);
    Database two(vfs, kPath);
    EXPECT_EQ(one.run(kDurable), SQLITE_OK);
    EXPECT_EQ(one.run("CREATE TABLE t (a); BEGIN IMMEDIATE; INSERT INTO t VALUES (1);"), SQLITE_OK);
    EXPECT_EQ(two.run("BEGIN IMMEDIATE"), SQLITE_BUSY);
    EXPECT_EQ(two.ask("SELECT count(*) FROM t"), "0");
    EXPECT_EQ(one.run("COMMIT"), SQLITE_OK);
    EXPECT_EQ(two.ask("SELECT count(*) FROM t"), "1");

    Database three(vfs, "/state/journal");
    Database four(vfs, "/state/journal");
    EXPECT_EQ(three.run("CREATE TABLE t (a); BEGIN; SELECT * FROM t;"), SQLITE_OK);
    EXPECT_EQ(four.run("BEGIN IMMEDIATE; INSERT INTO t VALUES (1);"), SQLITE_OK);
    EXPECT_EQ(four.run("COMMIT"), SQLITE_BUSY);  // the reader
    EXPECT_EQ(three.run("COMMIT"), SQLITE_OK);
    EXPECT_EQ(four.run("COMMIT"), SQLITE_OK);
    EXPECT_EQ(three.ask("SELECT count(*) FROM t"), "1");
}

TEST_F(SqliteVfsTest, Crash_dropsLocksAndCutsOffTheOldConnection) {
    for (const char* mode : {"WAL", "DELETE"}) {
        const std::string path = std::string("/state/") + mode;
        auto old = std::make_unique<Database>(vfs, path);
        EXPECT_EQ(old->run(std::string("PRAGMA journal_mode=") + mode), SQLITE_OK);
        EXPECT_EQ(old->run("CREATE TABLE t (a); INSERT INTO t VALUES (1);"), SQLITE_OK);
        EXPECT_EQ(old->run("PRAGMA cache_size=2; BEGIN EXCLUSIVE; INSERT INTO t VALUES (2);"
                           "INSERT INTO t VALUES (zeroblob(100000));"),
                  SQLITE_OK);
        vfs.crash();
        EXPECT_EQ(disk.open_files(), 0U);
        const std::uint64_t before = disk.changes;
        EXPECT_NE(old->run("COMMIT"), SQLITE_OK);
        EXPECT_EQ(disk.changes, before);
        {
            Database db(vfs, path);
            EXPECT_EQ(db.ask("SELECT a FROM t"), "1");
            EXPECT_EQ(db.run("INSERT INTO t VALUES (3)"), SQLITE_OK);
            const std::uint64_t now = disk.changes;
            old.reset();
            EXPECT_EQ(disk.changes, now);
            EXPECT_EQ(db.run("INSERT INTO t VALUES (4)"), SQLITE_OK);
            EXPECT_EQ(db.ask("PRAGMA integrity_check"), "ok");
            EXPECT_EQ(db.ask("SELECT a FROM t"), "1 3 4");
        }
        EXPECT_EQ(vfs.open_files(), 0U);
    }
}

TEST_F(SqliteVfsTest, Errors_areSqlitesOwn) {
    Database db(vfs, kPath);
    EXPECT_EQ(db.run(kDurable), SQLITE_OK);
    EXPECT_EQ(db.run("CREATE TABLE t (a)"), SQLITE_OK);
    disk.error = -ENOSPC;
    EXPECT_EQ(db.run("INSERT INTO t VALUES (1)"), SQLITE_FULL);
    disk.error = 0;
    disk.fail_after = disk.changes;
    EXPECT_EQ(db.run("INSERT INTO t VALUES (1)"), SQLITE_IOERR_WRITE);
    EXPECT_EQ(db.run("SELECT * FROM t"), SQLITE_IOERR_READ);
    disk.fail_after = disk.changes + 2;  // a frame is written, the sync fails
    EXPECT_EQ(db.run("INSERT INTO t VALUES (2)"), SQLITE_IOERR_FSYNC);
    disk.fail_after = ~0U;
    EXPECT_EQ(db.run("INSERT INTO t VALUES (3)"), SQLITE_OK);
    EXPECT_EQ(db.ask("PRAGMA integrity_check"), "ok");
}

/// What a client was told, and what is in doubt: a commit whose answer was an error.
struct Ledger {
    std::set<std::string> committed;
    std::set<std::string> doubtful;
    int next = 0;
};

/// Transactions until the disk gives up, or enough.
void work(Database& db, Ledger& ledger, core::Prng& prng) {
    for (std::uint64_t left = prng.below(12); left > 0; --left) {
        std::set<std::string> keys;
        std::string sql = "BEGIN IMMEDIATE;";
        for (std::uint64_t row = 0; row <= prng.below(4); ++row) {
            const std::string key = std::to_string(ledger.next++);
            keys.insert(key);
            sql += "INSERT INTO t VALUES (" + key + ", randomblob(" +
                   std::to_string(prng.below(prng.below(8) == 0 ? 6000 : 300)) + "));";
        }
        if (prng.below(3) == 0) {
            sql += "UPDATE t SET b = zeroblob(700) WHERE a % 7 = " + std::to_string(prng.below(7)) +
                   ";";
        }
        const bool done = db.run(sql + "COMMIT;") == SQLITE_OK;
        (done ? ledger.committed : ledger.doubtful).merge(keys);
        if (!done) {
            return;
        }
    }
}

/// All of the committed rows, all or none of the doubtful ones, no others.
void check_content(Database& db, Ledger& ledger) {
    ASSERT_EQ(db.ask("PRAGMA integrity_check"), "ok");
    std::istringstream rows(db.ask("SELECT a FROM t"));
    std::set<std::string> found;
    for (std::string row; rows >> row;) {
        found.insert(row);
    }
    std::set<std::string> with_doubtful = ledger.committed;
    with_doubtful.insert(ledger.doubtful.begin(), ledger.doubtful.end());
    if (found != ledger.committed) {
        ASSERT_EQ(found, with_doubtful);
    }
    ledger.committed = found;
    ledger.doubtful.clear();
}

/// Returns the disk's bytes after `rounds` lives that each end in a crash.
std::vector<std::byte> live_and_crash(std::uint64_t seed, int rounds) {
    VfsFiles::seed_sqlite(static_cast<std::uint32_t>(seed + 1));
    MemoryDisk disk;
    core::Prng prng(seed);
    VfsFiles vfs("crashing-machine", disk, prng.fork(), [] { return std::int64_t{0}; });
    Ledger ledger;
    for (int round = 0; round < rounds; ++round) {
        auto db = std::make_unique<Database>(vfs, "/db");
        EXPECT_EQ(db->run(kDurable), SQLITE_OK);
        EXPECT_EQ(db->run("PRAGMA wal_autocheckpoint=20; CREATE TABLE IF NOT EXISTS "
                          "t (a INTEGER PRIMARY KEY, b BLOB);"),
                  SQLITE_OK);
        check_content(*db, ledger);
        if (prng.below(2) == 0) {
            disk.fail_after = disk.changes + prng.below(120);
        }
        work(*db, ledger, prng);
        const bool orderly = prng.below(6) == 0;
        if (orderly) {
            db.reset();  // checkpoints and removes the WAL, or dies in it
        }
        vfs.crash();
        disk.fail_after = ~0U;
        if (prng.below(4) != 0) {
            disk.power_loss(prng);
        }
        db.reset();
        if (testing::Test::HasFatalFailure()) {
            ADD_FAILURE() << "round " << round;
            break;
        }
    }
    EXPECT_GT(ledger.committed.size(), static_cast<std::size_t>(rounds));
    return disk.files()["/db"]->durable;
}

TEST(SqliteVfsCrashTest, PowerLoss_200times_committedRowsStay) {
    live_and_crash(1, 200);
}

TEST(SqliteVfsCrashTest, SameSeed_leavesTheSameBytes) {
    const auto first = live_and_crash(7, 20);
    EXPECT_EQ(first, live_and_crash(7, 20));
    EXPECT_NE(first, live_and_crash(8, 20));
}

}  // namespace
}  // namespace remora::sim
