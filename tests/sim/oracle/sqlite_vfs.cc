// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/oracle/sqlite_vfs.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "core/check.h"
#include "tests/sim/oracle/sqlite_vfs_file.h"

namespace remora::sim {
namespace {

constexpr int kSectorBytes = 4096;  // as the unix VFS says
constexpr int kMaxPath = 512;
/// 1970-01-01 in milliseconds of the Julian day, SQLite's clock.
constexpr std::int64_t kUnixEpochMs = 210866760000000;

/// SQLite's code for a disk's result.
int code_of(std::int64_t result, int io_error) {
    if (result >= 0) {
        return SQLITE_OK;
    }
    if (result == -ENOSPC || result == -EDQUOT) {
        return SQLITE_FULL;
    }
    return result == -ENOMEM ? SQLITE_IOERR_NOMEM : io_error;
}

using vfs_detail::file_of;
using vfs_detail::Machine;
using vfs_detail::OpenFile;
using vfs_detail::Shared;

Machine& machine_of(sqlite3_vfs* vfs) {
    return *static_cast<Machine*>(vfs->pAppData);
}

// ---- content

int vfs_close(sqlite3_file* base) {
    OpenFile& file = file_of(base);
    vfs_detail::shm_unmap(base, 0);
    vfs_detail::unlock(base, SQLITE_LOCK_NONE);
    if (!file.dead()) {
        Machine& machine = *file.machine;
        std::erase(machine.open, file.id);
        machine.disk.close(file.id);
        if (file.delete_on_close) {
            machine.disk.remove(file.path);
        }
        file.shared.reset();
        const auto at = machine.shared.find(file.path);
        if (at != machine.shared.end() && at->second.use_count() == 1) {
            machine.shared.erase(at);
        }
    }
    file.~OpenFile();
    return SQLITE_OK;
}

int vfs_read(sqlite3_file* base, void* into, int bytes, sqlite3_int64 offset) {
    OpenFile& file = file_of(base);
    if (file.dead()) {
        return SQLITE_IOERR_READ;
    }
    const auto wanted = static_cast<std::size_t>(bytes);
    const std::span to(static_cast<std::byte*>(into), wanted);
    const std::int64_t done =
        file.machine->disk.read(file.id, static_cast<std::uint64_t>(offset), to);
    if (done < 0) {
        return done == -ENOMEM ? SQLITE_IOERR_NOMEM : SQLITE_IOERR_READ;
    }
    const auto got = static_cast<std::size_t>(done);
    CHECK(got <= wanted);
    std::memset(to.data() + got, 0, wanted - got);  // SQLite wants the rest as zeros
    return got == wanted ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

int vfs_write(sqlite3_file* base, const void* from, int bytes, sqlite3_int64 offset) {
    OpenFile& file = file_of(base);
    if (file.dead()) {
        return SQLITE_IOERR_WRITE;
    }
    const std::span data(static_cast<const std::byte*>(from), static_cast<std::size_t>(bytes));
    return code_of(file.machine->disk.write(file.id, static_cast<std::uint64_t>(offset), data),
                   SQLITE_IOERR_WRITE);
}

int vfs_truncate(sqlite3_file* base, sqlite3_int64 size) {
    OpenFile& file = file_of(base);
    if (file.dead()) {
        return SQLITE_IOERR_TRUNCATE;
    }
    return code_of(file.machine->disk.truncate(file.id, static_cast<std::uint64_t>(size)),
                   SQLITE_IOERR_TRUNCATE);
}

int vfs_sync(sqlite3_file* base, int /*flags*/) {
    OpenFile& file = file_of(base);
    return file.dead() ? SQLITE_IOERR_FSYNC
                       : code_of(file.machine->disk.sync(file.id), SQLITE_IOERR_FSYNC);
}

int vfs_file_size(sqlite3_file* base, sqlite3_int64* out) {
    OpenFile& file = file_of(base);
    *out = 0;
    if (file.dead()) {
        return SQLITE_IOERR_FSTAT;
    }
    const std::int64_t size = file.machine->disk.size(file.id);
    *out = std::max<std::int64_t>(size, 0);
    return code_of(size, SQLITE_IOERR_FSTAT);
}

int vfs_file_control(sqlite3_file* /*base*/, int /*what*/, void* /*argument*/) {
    return SQLITE_NOTFOUND;
}
int vfs_sector_size(sqlite3_file* /*base*/) {
    return kSectorBytes;
}
int vfs_device_characteristics(sqlite3_file* /*base*/) {
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;  // as the unix VFS says
}

const sqlite3_io_methods& methods() {
    static const sqlite3_io_methods kMethods = [] {
        sqlite3_io_methods out{};
        out.iVersion = 2;
        out.xClose = vfs_close;
        out.xRead = vfs_read;
        out.xWrite = vfs_write;
        out.xTruncate = vfs_truncate;
        out.xSync = vfs_sync;
        out.xFileSize = vfs_file_size;
        out.xLock = vfs_detail::lock;
        out.xUnlock = vfs_detail::unlock;
        out.xCheckReservedLock = vfs_detail::check_reserved_lock;
        out.xFileControl = vfs_file_control;
        out.xSectorSize = vfs_sector_size;
        out.xDeviceCharacteristics = vfs_device_characteristics;
        out.xShmMap = vfs_detail::shm_map;
        out.xShmLock = vfs_detail::shm_lock;
        out.xShmBarrier = vfs_detail::shm_barrier;
        out.xShmUnmap = vfs_detail::shm_unmap;
        return out;
    }();
    return kMethods;
}

// ---- the file system

int vfs_open(sqlite3_vfs* vfs, const char* name, sqlite3_file* base, int flags, int* out_flags) {
    Machine& machine = machine_of(vfs);
    base->pMethods = nullptr;  // xClose is only called when it is set
    // No name: a file for this connection alone, gone with it.
    std::string path =
        name != nullptr ? name : "/sqlite-temporary-" + std::to_string(machine.prng.next());
    std::uint64_t id = 0;
    const int opened = machine.disk.open(path, (flags & SQLITE_OPEN_CREATE) != 0, id);
    if (opened < 0) {
        return code_of(opened, SQLITE_CANTOPEN);
    }
    machine.open.push_back(id);
    auto* file = new (base) OpenFile;
    file->base.pMethods = &methods();
    file->machine = &machine;
    file->life = machine.life;
    file->id = id;
    file->delete_on_close = (flags & SQLITE_OPEN_DELETEONCLOSE) != 0;
    auto& shared = machine.shared[path];
    if (shared == nullptr) {
        shared = std::make_shared<Shared>();
    }
    file->shared = shared;
    file->path = std::move(path);
    if (out_flags != nullptr) {
        *out_flags = flags;
    }
    return SQLITE_OK;
}

int vfs_delete(sqlite3_vfs* vfs, const char* name, int /*sync_folder*/) {
    const int removed = machine_of(vfs).disk.remove(name);
    return removed == -ENOENT ? SQLITE_IOERR_DELETE_NOENT : code_of(removed, SQLITE_IOERR_DELETE);
}

int vfs_access(sqlite3_vfs* vfs, const char* name, int /*flags*/, int* out) {
    const int there = machine_of(vfs).disk.exists(name);
    *out = there > 0 ? 1 : 0;
    return code_of(there, SQLITE_IOERR_ACCESS);
}

int vfs_full_path_name(sqlite3_vfs* /*vfs*/, const char* name, int bytes, char* out) {
    const std::size_t length = std::strlen(name);
    if (length >= static_cast<std::size_t>(bytes)) {
        return SQLITE_CANTOPEN;
    }
    std::memcpy(out, name, length + 1);
    return SQLITE_OK;
}

int vfs_randomness(sqlite3_vfs* vfs, int bytes, char* out) {
    for (int i = 0; i < bytes; ++i) {
        out[i] = static_cast<char>(machine_of(vfs).prng.next() & 0x7fU);
    }
    return bytes;
}

int vfs_sleep(sqlite3_vfs* /*vfs*/, int microseconds) {
    return microseconds;
}
int vfs_current_time_ms(sqlite3_vfs* vfs, sqlite3_int64* out) {
    *out = machine_of(vfs).unix_time() + kUnixEpochMs;
    return SQLITE_OK;
}
int vfs_current_time(sqlite3_vfs* vfs, double* out) {
    sqlite3_int64 now = 0;
    vfs_current_time_ms(vfs, &now);
    *out = static_cast<double>(now) / 86400000.0;
    return SQLITE_OK;
}
int vfs_last_error(sqlite3_vfs* /*vfs*/, int /*bytes*/, char* /*out*/) {
    return 0;
}

}  // namespace

VfsFiles::VfsFiles(std::string name, DiskFiles& disk, core::Prng prng, UnixTime unix_time)
    : machine_(std::make_unique<Machine>(std::move(name), disk, prng, std::move(unix_time))) {
    sqlite3_vfs& vfs = machine_->vfs;
    vfs.iVersion = 2;
    vfs.szOsFile = sizeof(OpenFile);
    vfs.mxPathname = kMaxPath;
    vfs.zName = machine_->name.c_str();
    vfs.pAppData = machine_.get();
    vfs.xOpen = vfs_open;
    vfs.xDelete = vfs_delete;
    vfs.xAccess = vfs_access;
    vfs.xFullPathname = vfs_full_path_name;
    vfs.xRandomness = vfs_randomness;
    vfs.xSleep = vfs_sleep;
    vfs.xCurrentTime = vfs_current_time;
    vfs.xGetLastError = vfs_last_error;
    vfs.xCurrentTimeInt64 = vfs_current_time_ms;
    CHECK(sqlite3_vfs_register(&vfs, 0) == SQLITE_OK);
}

VfsFiles::~VfsFiles() {
    sqlite3_vfs_unregister(&machine_->vfs);
}

const std::string& VfsFiles::name() const {
    return machine_->name;
}

void VfsFiles::crash() {
    ++machine_->life;
    machine_->shared.clear();
    for (const std::uint64_t id : std::exchange(machine_->open, {})) {
        machine_->disk.close(id);
    }
}

std::size_t VfsFiles::open_files() const {
    return machine_->open.size();
}

void VfsFiles::seed_sqlite(std::uint32_t seed) {
    sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SEED, static_cast<int>(seed), nullptr);
}

}  // namespace remora::sim
