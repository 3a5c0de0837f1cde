// SPDX-License-Identifier: Apache-2.0
// SqliteStore: the store in one SQLite file (WAL, synchronous=FULL), with a lock file beside it so
// that two daemons never share a state directory. The schema has a version; an older one is
// migrated when opened, a newer one is refused.
#pragma once

#include <memory>
#include <string>

#include "control/store.h"

namespace remora::control {

class SqliteStore final : public Store {
  public:
    /// Opens (and makes) the directory. Errors: FailedPrecondition when another daemon has it or
    /// when a newer Remora wrote it; DataLoss when the file is damaged.
    static core::Result<std::unique_ptr<SqliteStore>> open(const std::string& directory);
    /// The same with the database file alone, in the SQLite VFS of this name (null: the system's).
    /// The caller sees to it that nobody else has the file.
    static core::Result<std::unique_ptr<SqliteStore>> open_file(const std::string& path,
                                                                const char* vfs);

    SqliteStore(const SqliteStore&) = delete;
    SqliteStore& operator=(const SqliteStore&) = delete;
    ~SqliteStore() override;

    core::Result<std::vector<StoredObject>> load() override;
    core::Result<void> commit(std::span<const Change> changes) override;

  private:
    class Database;
    explicit SqliteStore(std::unique_ptr<Database> database);

    int lock_ = -1;  // the directory's, where there is one
    std::unique_ptr<Database> database_;
};

}  // namespace remora::control
