// SPDX-License-Identifier: Apache-2.0
#include "control/sqlite_store.h"

#include <array>
#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <optional>
#include <sys/file.h>
#include <unistd.h>
#include <utility>

#include <sqlite3.h>

#include "control/store.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;

namespace {

/// Each entry brings the schema from its index to the next version (PRAGMA user_version). Entries
/// are never changed once released, only added.
constexpr std::array<const char*, 1> kMigrations{
    "CREATE TABLE objects (kind TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL,"
    " PRIMARY KEY (kind, name)) WITHOUT ROWID;",
};

constexpr std::array kKinds{
    Kind::MallocVolume,
    Kind::NullVolume,
    Kind::AioVolume,
    Kind::NvmeSubsystem,
    Kind::NvmeController,
    Kind::NvmeNamespace,
    Kind::NvmeRemoteController,
    Kind::NvmePath,
    Kind::VirtioBlk,
    Kind::Attachment,
    Kind::DiscoveryReferral,
    Kind::QosVolume,
    Kind::EncryptedVolume,
    Kind::RaidVolume,
    Kind::IntegrityVolume,
    Kind::FaultInjection,
    Kind::Capacity,
    Kind::KeyVerifier,
    Kind::Identity,
};

std::optional<Kind> kind_of(std::string_view text) {
    for (const Kind kind : kKinds) {
        if (store_text(kind) == text) {
            return kind;
        }
    }
    return std::nullopt;
}

}  // namespace

std::string_view store_text(Kind kind) noexcept {
    switch (kind) {
        case Kind::MallocVolume:
            return "malloc_volume";
        case Kind::NullVolume:
            return "null_volume";
        case Kind::AioVolume:
            return "aio_volume";
        case Kind::NvmeSubsystem:
            return "nvme_subsystem";
        case Kind::NvmeController:
            return "nvme_controller";
        case Kind::NvmeNamespace:
            return "nvme_namespace";
        case Kind::NvmeRemoteController:
            return "nvme_remote_controller";
        case Kind::NvmePath:
            return "nvme_path";
        case Kind::VirtioBlk:
            return "virtio_blk";
        case Kind::Attachment:
            return "attachment";
        case Kind::DiscoveryReferral:
            return "discovery_referral";
        case Kind::QosVolume:
            return "qos_volume";
        case Kind::EncryptedVolume:
            return "encrypted_volume";
        case Kind::RaidVolume:
            return "raid_volume";
        case Kind::IntegrityVolume:
            return "integrity_volume";
        case Kind::FaultInjection:
            return "fault_injection";
        case Kind::Capacity:
            return "capacity";
        case Kind::KeyVerifier:
            return "key_verifier";
        case Kind::Identity:
            return "identity";
    }
    return "unknown";
}

/// The connection: closes itself, and turns SQLite's codes into ours.
class SqliteStore::Database {
  public:
    explicit Database(sqlite3* handle) : handle_(handle) {}
    Database(const Database&) = delete;
    Database& operator=(const Database&) = delete;
    ~Database() { sqlite3_close(handle_); }

    [[nodiscard]] std::unexpected<core::Error> error(const std::string& what) const {
        const int code = sqlite3_errcode(handle_) & 0xff;
        const std::string text = what + ": " + sqlite3_errmsg(handle_);
        switch (code) {
            case SQLITE_FULL:
                return fail(ErrorKind::ResourceExhausted, text);
            case SQLITE_CORRUPT:
            case SQLITE_NOTADB:
                return fail(ErrorKind::DataLoss, text);
            case SQLITE_BUSY:
            case SQLITE_LOCKED:
                return fail(ErrorKind::FailedPrecondition, text);
            default:
                return fail(ErrorKind::Internal, text);
        }
    }

    Result<void> execute(const char* sql) {
        if (sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) {
            return error("the state database refused a statement");
        }
        return {};
    }

    [[nodiscard]] sqlite3* handle() const { return handle_; }

  private:
    sqlite3* handle_;
};

namespace {

/// A prepared statement that finalises itself.
class Statement {
  public:
    Statement(sqlite3* database, const char* sql) {
        ok_ = sqlite3_prepare_v2(database, sql, -1, &handle_, nullptr) == SQLITE_OK;
    }
    Statement(const Statement&) = delete;
    Statement& operator=(const Statement&) = delete;
    ~Statement() { sqlite3_finalize(handle_); }

    [[nodiscard]] bool ok() const { return ok_; }
    /// The bytes stay the caller's until the statement has been stepped.
    bool bind_text(int index, std::string_view text) {
        return sqlite3_bind_text(handle_, index, text.data(), static_cast<int>(text.size()),
                                 SQLITE_STATIC) == SQLITE_OK;
    }
    bool bind_blob(int index, std::string_view bytes) {
        // A null pointer would store NULL instead of an empty value.
        return sqlite3_bind_blob(handle_, index, bytes.empty() ? "" : bytes.data(),
                                 static_cast<int>(bytes.size()), SQLITE_STATIC) == SQLITE_OK;
    }
    int step() { return sqlite3_step(handle_); }
    [[nodiscard]] std::string column(int index) const {
        const auto size = static_cast<std::size_t>(sqlite3_column_bytes(handle_, index));
        const auto* bytes = static_cast<const char*>(sqlite3_column_blob(handle_, index));
        return bytes == nullptr ? std::string() : std::string(bytes, size);
    }
    [[nodiscard]] int integer(int index) const { return sqlite3_column_int(handle_, index); }

  private:
    sqlite3_stmt* handle_ = nullptr;
    bool ok_ = false;
};

Result<int> take_lock(const std::string& directory) {
    const std::string path = directory + "/lock";
    const int lock = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0) {
        return core::fail_errno("the state directory's lock file " + path, errno);
    }
    if (::flock(lock, LOCK_EX | LOCK_NB) != 0) {
        const int reason = errno;
        ::close(lock);
        if (reason == EWOULDBLOCK) {
            return fail(ErrorKind::FailedPrecondition,
                        "another remorad is running on the state directory " + directory +
                            "; stop it, or use another --state");
        }
        return core::fail_errno("the state directory's lock file " + path, reason);
    }
    return lock;
}

Result<int> schema_version(sqlite3* handle) {
    Statement query(handle, "PRAGMA user_version");
    if (!query.ok() || query.step() != SQLITE_ROW) {
        return fail(ErrorKind::DataLoss,
                    std::string("the state database cannot be read: ") + sqlite3_errmsg(handle));
    }
    return query.integer(0);
}

}  // namespace

SqliteStore::SqliteStore(std::unique_ptr<Database> database) : database_(std::move(database)) {}

SqliteStore::~SqliteStore() {
    database_.reset();
    if (lock_ >= 0) {
        ::close(lock_);
    }
}

Result<std::unique_ptr<SqliteStore>> SqliteStore::open(const std::string& directory) {
    std::error_code made;
    std::filesystem::create_directories(directory, made);
    if (made) {
        return fail(ErrorKind::FailedPrecondition,
                    "cannot make the state directory " + directory + ": " + made.message());
    }
    const auto lock = take_lock(directory);
    if (!lock) {
        return std::unexpected(lock.error());
    }
    auto store = open_file(directory + "/remora.db", nullptr);
    if (!store) {
        ::close(*lock);
        return store;
    }
    (*store)->lock_ = *lock;
    return store;
}

Result<std::unique_ptr<SqliteStore>> SqliteStore::open_file(const std::string& path,
                                                            const char* vfs) {
    sqlite3* handle = nullptr;
    const int opened =
        sqlite3_open_v2(path.c_str(), &handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs);
    auto database = std::make_unique<Database>(handle);
    auto store = std::unique_ptr<SqliteStore>(new SqliteStore(std::move(database)));
    Database& db = *store->database_;
    if (opened != SQLITE_OK) {
        return db.error("cannot open " + path);
    }
    if (const auto set = db.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"); !set) {
        return std::unexpected(set.error());
    }
    const auto version = schema_version(handle);
    if (!version) {
        return std::unexpected(version.error());
    }
    if (static_cast<std::size_t>(*version) > kMigrations.size()) {
        return fail(ErrorKind::FailedPrecondition,
                    path + " has schema " + std::to_string(*version) +
                        ", this remorad knows up to " + std::to_string(kMigrations.size()) +
                        "; use the newer remorad that wrote it");
    }
    for (auto next = static_cast<std::size_t>(*version); next < kMigrations.size(); ++next) {
        const std::string step = "BEGIN IMMEDIATE; " + std::string(kMigrations[next]) +
                                 " PRAGMA user_version=" + std::to_string(next + 1) + "; COMMIT;";
        if (const auto migrated = db.execute(step.c_str()); !migrated) {
            return fail("migrating " + path, migrated.error());
        }
    }
    return store;
}

Result<std::vector<StoredObject>> SqliteStore::load() {
    Statement query(database_->handle(), "SELECT kind, name, body FROM objects");
    if (!query.ok()) {
        return database_->error("reading the state database");
    }
    std::vector<StoredObject> objects;
    int step = query.step();
    for (; step == SQLITE_ROW; step = query.step()) {
        const std::string text = query.column(0);
        const auto kind = kind_of(text);
        if (!kind) {
            return fail(ErrorKind::DataLoss,
                        "the state database has an object of unknown kind \"" + text + "\"");
        }
        objects.push_back({*kind, query.column(1), query.column(2)});
    }
    if (step != SQLITE_DONE) {
        return database_->error("reading the state database");
    }
    return objects;
}

Result<void> SqliteStore::commit(std::span<const Change> changes) {
    if (const auto begun = database_->execute("BEGIN IMMEDIATE"); !begun) {
        return begun;
    }
    const auto undo = [&](std::unexpected<core::Error> error) -> Result<void> {
        sqlite3_exec(database_->handle(), "ROLLBACK", nullptr, nullptr, nullptr);
        return error;
    };
    for (const Change& change : changes) {
        const bool put = change.action == Change::Action::Put;
        Statement statement(
            database_->handle(),
            put ? "INSERT OR REPLACE INTO objects (kind, name, body) VALUES (?, ?, ?)"
                : "DELETE FROM objects WHERE kind = ? AND name = ?");
        const bool bound = statement.ok() &&
                           statement.bind_text(1, store_text(change.object.kind)) &&
                           statement.bind_text(2, change.object.name) &&
                           (!put || statement.bind_blob(3, change.object.body));
        if (!bound || statement.step() != SQLITE_DONE) {
            return undo(database_->error("storing " + change.object.name));
        }
    }
    if (sqlite3_exec(database_->handle(), "COMMIT", nullptr, nullptr, nullptr) != SQLITE_OK) {
        return undo(database_->error("making the change durable"));
    }
    return {};
}

}  // namespace remora::control
