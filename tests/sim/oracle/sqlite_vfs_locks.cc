// SPDX-License-Identifier: Apache-2.0
// VfsFiles, the locks: those of the database file and those of the WAL index.
#include "tests/sim/oracle/sqlite_vfs_file.h"

namespace remora::sim::vfs_detail {

// ---- locks of the database file

int lock(sqlite3_file* base, int level) {
    OpenFile& file = file_of(base);
    if (file.dead()) {
        return SQLITE_IOERR_LOCK;
    }
    Shared& shared = *file.shared;
    if (file.level >= level) {
        return SQLITE_OK;
    }
    const bool other_writes = shared.writer != nullptr && shared.writer != &file;
    if (level == SQLITE_LOCK_SHARED) {
        if (other_writes && shared.writer->level >= SQLITE_LOCK_PENDING) {
            return SQLITE_BUSY;
        }
        ++shared.readers;
        file.level = SQLITE_LOCK_SHARED;
        return SQLITE_OK;
    }
    if (other_writes) {
        return SQLITE_BUSY;
    }
    shared.writer = &file;
    if (level == SQLITE_LOCK_EXCLUSIVE && shared.readers > 1) {
        file.level = SQLITE_LOCK_PENDING;
        return SQLITE_BUSY;
    }
    file.level = level;
    return SQLITE_OK;
}

int unlock(sqlite3_file* base, int level) {
    OpenFile& file = file_of(base);
    if (file.level <= level) {
        return SQLITE_OK;
    }
    Shared& shared = *file.shared;
    if (shared.writer == &file) {
        shared.writer = nullptr;
    }
    if (level == SQLITE_LOCK_NONE) {
        --shared.readers;
    }
    file.level = level;
    return SQLITE_OK;
}

int check_reserved_lock(sqlite3_file* base, int* out) {
    *out = file_of(base).shared->writer != nullptr ? 1 : 0;
    return SQLITE_OK;
}

// ---- the WAL index: memory, and locks of its eight slots

int shm_map(sqlite3_file* base, int region, int bytes, int extend, volatile void** out) {
    OpenFile& file = file_of(base);
    *out = nullptr;
    if (file.dead()) {
        return SQLITE_IOERR_SHMMAP;
    }
    Shared& shared = *file.shared;
    if (!file.mapped) {
        file.mapped = true;
        ++shared.mapped;
    }
    const auto index = static_cast<std::size_t>(region);
    while (extend != 0 && shared.regions.size() <= index) {
        shared.regions.push_back(
            std::make_unique<std::byte[]>(static_cast<std::size_t>(bytes)));  // zeros
    }
    if (index < shared.regions.size()) {
        *out = shared.regions[index].get();
    }
    return SQLITE_OK;
}

namespace {

void release_slots(OpenFile& file, unsigned mask) {
    for (unsigned slot = 0; slot < SQLITE_SHM_NLOCK; ++slot) {
        const unsigned bit = mask & (1U << slot);
        if ((file.slots_exclusive & bit) != 0) {
            file.shared->slots[slot] = 0;
        } else if ((file.slots_shared & bit) != 0) {
            --file.shared->slots[slot];
        }
    }
    file.slots_exclusive &= ~mask;
    file.slots_shared &= ~mask;
}

}  // namespace

int shm_lock(sqlite3_file* base, int offset, int count, int flags) {
    OpenFile& file = file_of(base);
    const unsigned mask = ((1U << static_cast<unsigned>(count)) - 1U)
                          << static_cast<unsigned>(offset);
    if ((flags & SQLITE_SHM_UNLOCK) != 0) {
        release_slots(file, mask);
        return SQLITE_OK;
    }
    if (file.dead()) {
        return SQLITE_IOERR_SHMLOCK;
    }
    const bool exclusive = (flags & SQLITE_SHM_EXCLUSIVE) != 0;
    unsigned& held = exclusive ? file.slots_exclusive : file.slots_shared;
    for (int i = offset; i < offset + count; ++i) {
        const int slot = file.shared->slots[static_cast<std::size_t>(i)];
        const bool mine = (held & (1U << static_cast<unsigned>(i))) != 0;
        if (!mine && (exclusive ? slot != 0 : slot < 0)) {
            return SQLITE_BUSY;
        }
    }
    for (int i = offset; i < offset + count; ++i) {
        int& slot = file.shared->slots[static_cast<std::size_t>(i)];
        const bool mine = (held & (1U << static_cast<unsigned>(i))) != 0;
        if (!mine) {
            slot = exclusive ? -1 : slot + 1;
        }
    }
    held |= mask;
    return SQLITE_OK;
}

void shm_barrier(sqlite3_file* /*base*/) {}

int shm_unmap(sqlite3_file* base, int /*remove*/) {
    OpenFile& file = file_of(base);
    release_slots(file, ~0U);
    if (file.mapped) {
        file.mapped = false;
        if (--file.shared->mapped == 0) {
            file.shared->regions.clear();  // the next to open it builds it again from the WAL
        }
    }
    return SQLITE_OK;
}

}  // namespace remora::sim::vfs_detail
