// SPDX-License-Identifier: Apache-2.0
// VfsFiles: an SQLite VFS over the files of a simulated machine's disk, so that a control plane's
// database lives, loses power and comes back inside the simulation. Locks and the WAL index are
// plain memory: one machine's processes share them, and a crash drops them.
//
// Use: one VfsFiles a machine, its name as the last argument of sqlite3_open_v2. It outlives every
// connection made through it. One thread.
//
// Random numbers: SQLite draws from a generator of its own that the whole process shares and that
// the *default* VFS seeds; seed_sqlite() at the start of a world makes a run repeatable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "core/prng.h"

namespace remora::sim {

/// A simulated disk's files. Results are 0 or more, or a negated errno. Ids are not used again.
class DiskFiles {
  public:
    virtual ~DiskFiles() = default;
    /// -ENOENT when it is not there and `create` is not set.
    virtual int open(const std::string& path, bool create, std::uint64_t& id) = 0;
    /// Bytes read: fewer than asked only at the end of the file.
    virtual std::int64_t read(std::uint64_t id,
                              std::uint64_t offset,
                              std::span<std::byte> into) = 0;
    /// Whole or failed (it may have written a part then).
    virtual int write(std::uint64_t id, std::uint64_t offset, std::span<const std::byte> from) = 0;
    /// Content, size and name are durable.
    virtual int sync(std::uint64_t id) = 0;
    virtual int truncate(std::uint64_t id, std::uint64_t size) = 0;
    virtual std::int64_t size(std::uint64_t id) = 0;
    virtual int remove(const std::string& path) = 0;
    /// 1, 0 or a negated errno.
    virtual int exists(const std::string& path) = 0;
    virtual int close(std::uint64_t id) = 0;
};

class VfsFiles {
  public:
    /// Milliseconds since 1970, of the simulation.
    using UnixTime = std::function<std::int64_t()>;

    /// Registers itself with SQLite under `name`, and no longer when it is destroyed.
    VfsFiles(std::string name, DiskFiles& disk, core::Prng prng, UnixTime unix_time);
    VfsFiles(const VfsFiles&) = delete;
    VfsFiles& operator=(const VfsFiles&) = delete;
    ~VfsFiles();

    [[nodiscard]] const std::string& name() const;
    /// kill -9 of the machine's processes: their files are closed as the kernel does, their locks
    /// and shared memory are gone. Their connections may be leaked or closed later: every call
    /// through them fails, and none reaches the disk.
    void crash();
    /// Files open on the disk through this VFS.
    [[nodiscard]] std::size_t open_files() const;

    /// Seeds SQLite's own generator, for all connections of the process. Not 0.
    static void seed_sqlite(std::uint32_t seed);

    class Machine;

  private:
    std::unique_ptr<Machine> machine_;
};

}  // namespace remora::sim
