// SPDX-License-Identifier: Apache-2.0
// MachineFiles: a machine's Disk as its SQLite VFS sees it: synchronous, with the faults of a disk
// and the death of the process in the middle of a call.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "tests/sim/oracle/sqlite_vfs.h"
#include "tests/sim/world/world.h"

namespace remora::sim {

class MachineFiles final : public DiskFiles {
  public:
    MachineFiles(World& world, Machine& machine) : world_(world), machine_(machine) {}

    int open(const std::string& path, bool create, std::uint64_t& id) override;
    std::int64_t read(std::uint64_t id, std::uint64_t offset, std::span<std::byte> into) override;
    int write(std::uint64_t id, std::uint64_t offset, std::span<const std::byte> from) override;
    int sync(std::uint64_t id) override;
    int truncate(std::uint64_t id, std::uint64_t size) override;
    std::int64_t size(std::uint64_t id) override;
    int remove(const std::string& path) override;
    int exists(const std::string& path) override;
    int close(std::uint64_t id) override;

  private:
    /// The process that calls may die here.
    void step();

    World& world_;
    Machine& machine_;
    std::map<std::uint64_t, std::shared_ptr<Disk::File>> open_;
    std::uint64_t next_id_ = 1;
};

}  // namespace remora::sim
