// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/nodes/machine_files.h"

#include <algorithm>
#include <cerrno>

namespace remora::sim {

namespace {

constexpr std::uint64_t kErrorOneIn = 300;

}  // namespace

void MachineFiles::step() {
    if (world_.running() != nullptr) {
        world_.running()->step();
    }
}

int MachineFiles::open(const std::string& path, bool create, std::uint64_t& id) {
    step();
    auto file = machine_.disk.open(path, create);
    if (file == nullptr) {
        return -ENOENT;
    }
    id = next_id_++;
    open_.emplace(id, std::move(file));
    return 0;
}

std::int64_t MachineFiles::read(std::uint64_t id, std::uint64_t offset, std::span<std::byte> into) {
    const std::vector<std::byte>& seen = open_.at(id)->seen;
    if (offset >= seen.size()) {
        return 0;
    }
    const std::size_t size = std::min<std::uint64_t>(into.size(), seen.size() - offset);
    std::copy_n(seen.begin() + static_cast<std::ptrdiff_t>(offset), size, into.begin());
    return static_cast<std::int64_t>(size);
}

int MachineFiles::write(std::uint64_t id, std::uint64_t offset, std::span<const std::byte> from) {
    step();
    if (world_.faults().strikes(Fault::DiskFull, kErrorOneIn)) {
        return -ENOSPC;
    }
    if (world_.faults().strikes(Fault::DiskError, kErrorOneIn)) {
        return -EIO;
    }
    Disk::write(*open_.at(id), offset, from);
    return 0;
}

int MachineFiles::sync(std::uint64_t id) {
    step();
    if (world_.faults().strikes(Fault::FlushError, kErrorOneIn / 4)) {
        return -EIO;
    }
    Disk::flush(*open_.at(id));
    return 0;
}

int MachineFiles::truncate(std::uint64_t id, std::uint64_t size) {
    step();
    Disk::truncate(*open_.at(id), size);
    return 0;
}

std::int64_t MachineFiles::size(std::uint64_t id) {
    return static_cast<std::int64_t>(open_.at(id)->seen.size());
}

int MachineFiles::remove(const std::string& path) {
    step();
    if (!machine_.disk.exists(path)) {
        return -ENOENT;
    }
    machine_.disk.remove(path);
    return 0;
}

int MachineFiles::exists(const std::string& path) {
    return machine_.disk.exists(path) ? 1 : 0;
}

int MachineFiles::close(std::uint64_t id) {
    open_.erase(id);
    return 0;
}

}  // namespace remora::sim
