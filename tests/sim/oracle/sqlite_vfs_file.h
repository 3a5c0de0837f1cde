// SPDX-License-Identifier: Apache-2.0
// What sqlite_vfs*.cc share: an open file, and what the connections to one path have in common.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <sqlite3.h>

#include "tests/sim/oracle/sqlite_vfs.h"

namespace remora::sim {
namespace vfs_detail {

struct OpenFile;

/// What the connections to one path have in common.
struct Shared {
    int readers = 0;             ///< Connections with SHARED or more.
    OpenFile* writer = nullptr;  ///< The one with RESERVED or more.
    std::vector<std::unique_ptr<std::byte[]>> regions;
    int mapped = 0;  ///< Connections that have the regions.
    /// WAL index locks: -1 exclusive, else how many share it.
    std::array<int, SQLITE_SHM_NLOCK> slots{};
};

}  // namespace vfs_detail

class VfsFiles::Machine {
  public:
    Machine(std::string with_name, DiskFiles& with_disk, core::Prng with_prng, UnixTime time)
        : name(std::move(with_name)),
          disk(with_disk),
          prng(with_prng),
          unix_time(std::move(time)) {}

    std::string name;
    DiskFiles& disk;
    core::Prng prng;
    UnixTime unix_time;
    sqlite3_vfs vfs{};
    std::uint64_t life = 0;  ///< Counts crashes: a file of an earlier one is dead.
    std::map<std::string, std::shared_ptr<vfs_detail::Shared>> shared;
    std::vector<std::uint64_t> open;  ///< Ids of the disk.
};

namespace vfs_detail {

using Machine = VfsFiles::Machine;

/// SQLite allocates it and knows only `base`.
struct OpenFile {
    sqlite3_file base{};
    Machine* machine = nullptr;
    std::uint64_t life = 0;
    std::uint64_t id = 0;
    std::string path;
    bool delete_on_close = false;
    std::shared_ptr<Shared> shared;
    int level = SQLITE_LOCK_NONE;
    bool mapped = false;
    unsigned slots_shared = 0;  ///< Bit masks of the WAL index locks that it holds.
    unsigned slots_exclusive = 0;

    [[nodiscard]] bool dead() const { return life != machine->life; }
};

inline OpenFile& file_of(sqlite3_file* file) {
    return *reinterpret_cast<OpenFile*>(file);
}

// sqlite_vfs_locks.cc
int lock(sqlite3_file* base, int level);
int unlock(sqlite3_file* base, int level);
int check_reserved_lock(sqlite3_file* base, int* out);
int shm_map(sqlite3_file* base, int region, int bytes, int extend, volatile void** out);
int shm_lock(sqlite3_file* base, int offset, int count, int flags);
void shm_barrier(sqlite3_file* base);
int shm_unmap(sqlite3_file* base, int remove);

}  // namespace vfs_detail
}  // namespace remora::sim
