// SPDX-License-Identifier: Apache-2.0
// MemoryDisk: DiskFiles in memory for the tests of the VFS. A loss of power keeps, of what was not
// synced, any sectors of 512 bytes and any of the sizes; names are durable at once.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/prng.h"
#include "tests/sim/oracle/sqlite_vfs.h"

namespace remora::sim {

class MemoryDisk final : public DiskFiles {
  public:
    struct File {
        std::vector<std::byte> cached;
        std::vector<std::byte> durable;
    };

    int open(const std::string& path, bool create, std::uint64_t& id) override {
        auto& file = files_[path];
        if (file == nullptr) {
            if (!create) {
                files_.erase(path);
                return -ENOENT;
            }
            file = std::make_shared<File>();
        }
        id = ++last_id_;
        open_[id] = file;
        return 0;
    }
    std::int64_t read(std::uint64_t id, std::uint64_t offset, std::span<std::byte> into) override {
        if (failing() != 0) {
            return failing();
        }
        const auto& bytes = open_.at(id)->cached;
        const std::size_t there = offset < bytes.size() ? bytes.size() - offset : 0;
        const std::size_t count = std::min(there, into.size());
        if (count > 0) {
            std::memcpy(into.data(), bytes.data() + offset, count);
        }
        return static_cast<std::int64_t>(count);
    }
    int write(std::uint64_t id, std::uint64_t offset, std::span<const std::byte> from) override {
        if (const int failed = changing(); failed != 0) {
            return failed;
        }
        auto& bytes = open_.at(id)->cached;
        bytes.resize(std::max(bytes.size(), offset + from.size()));
        std::memcpy(bytes.data() + offset, from.data(), from.size());
        return 0;
    }
    int sync(std::uint64_t id) override {
        if (const int failed = changing(); failed != 0) {
            return failed;
        }
        open_.at(id)->durable = open_.at(id)->cached;
        return 0;
    }
    int truncate(std::uint64_t id, std::uint64_t size) override {
        if (const int failed = changing(); failed != 0) {
            return failed;
        }
        open_.at(id)->cached.resize(size);
        return 0;
    }
    std::int64_t size(std::uint64_t id) override {
        return failing() != 0 ? failing() : static_cast<std::int64_t>(open_.at(id)->cached.size());
    }
    int remove(const std::string& path) override {
        if (const int failed = changing(); failed != 0) {
            return failed;
        }
        return files_.erase(path) == 1 ? 0 : -ENOENT;
    }
    int exists(const std::string& path) override { return files_.contains(path) ? 1 : 0; }
    int close(std::uint64_t id) override { return open_.erase(id) == 1 ? 0 : -EBADF; }

    void power_loss(core::Prng& prng) {
        for (auto& [path, file] : files_) {
            lose(*file, prng);
        }
    }

    std::map<std::string, std::shared_ptr<File>>& files() { return files_; }
    [[nodiscard]] std::size_t open_files() const { return open_.size(); }

    int error = 0;                   ///< What everything returns, when it is not 0.
    std::uint64_t changes = 0;       ///< Writes, syncs, truncates and removes asked for.
    std::uint64_t fail_after = ~0U;  ///< Of these: the ones that are done. Then -EIO for good.

  private:
    static constexpr std::size_t kSector = 512;

    static void lose(File& file, core::Prng& prng) {
        const std::uint64_t kept_of_eight = prng.below(9);
        const std::size_t size = prng.below(2) == 0 ? file.cached.size() : file.durable.size();
        std::vector<std::byte> left = file.durable;
        left.resize(size);
        for (std::size_t at = 0; at < file.cached.size() && at < size; at += kSector) {
            if (prng.below(8) < kept_of_eight) {
                const std::size_t end = std::min({at + kSector, file.cached.size(), size});
                std::memcpy(left.data() + at, file.cached.data() + at, end - at);
            }
        }
        file.cached = left;
        file.durable = std::move(left);
    }
    [[nodiscard]] int failing() const { return changes > fail_after ? -EIO : error; }
    int changing() {
        ++changes;
        return failing();
    }

    std::map<std::string, std::shared_ptr<File>> files_;
    std::map<std::uint64_t, std::shared_ptr<File>> open_;
    std::uint64_t last_id_ = 0;
};

}  // namespace remora::sim
