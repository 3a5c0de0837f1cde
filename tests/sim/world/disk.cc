// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/world/disk.h"

#include <algorithm>
#include <utility>

namespace remora::sim {

namespace {

void put(std::vector<std::byte>& into, std::uint64_t offset, std::span<const std::byte> bytes) {
    if (into.size() < offset + bytes.size()) {
        into.resize(offset + bytes.size());
    }
    std::ranges::copy(bytes, into.begin() + static_cast<std::ptrdiff_t>(offset));
}

}  // namespace

std::shared_ptr<Disk::File> Disk::open(const std::string& path, bool create) {
    const auto found = files_.find(path);
    if (found != files_.end()) {
        return found->second;
    }
    if (!create) {
        return nullptr;
    }
    auto file = std::make_shared<File>();
    file->path = path;
    if (const auto atom = atoms_.find(path); atom != atoms_.end()) {
        file->atom = atom->second;
    }
    files_.emplace(path, file);
    return file;
}

void Disk::write(File& file, std::uint64_t offset, std::span<const std::byte> bytes) {
    put(file.seen, offset, bytes);
    file.unflushed.push_back({offset, {bytes.begin(), bytes.end()}});
}

void Disk::zero(File& file, std::uint64_t offset, std::uint64_t length) {
    const std::uint64_t size = file.seen.size();
    const std::vector<std::byte> zeros(std::min(length, size - std::min(offset, size)));
    write(file, offset, zeros);
}

void Disk::truncate(File& file, std::uint64_t size) {
    // Lengths are journaled by the file system: taken as durable at once, in order.
    flush(file);
    file.seen.resize(size);
    file.durable.resize(size);
}

void Disk::grow(File& file, std::uint64_t size) {
    file.seen.resize(size);
    file.durable.resize(std::max<std::size_t>(file.durable.size(), size));
}

void Disk::flush(File& file) {
    for (const File::Write& write : file.unflushed) {
        put(file.durable, write.offset, write.bytes);
    }
    file.unflushed.clear();
    file.created_durably = true;
}

void Disk::drop_locks() {
    for (auto& [path, file] : files_) {
        file->locks = 0;
    }
}

void Disk::tear(File& file, core::Prng& prng) {
    const std::size_t atom = file.atom;
    // All, none or a part; a part in any order.
    const std::uint64_t percent = prng.below(3) * 50;
    std::vector<std::pair<const File::Write*, std::uint64_t>> kept;  // write, offset within it
    for (const File::Write& write : file.unflushed) {
        std::uint64_t at = 0;
        while (at < write.bytes.size()) {
            if (prng.below(100) < percent) {
                kept.emplace_back(&write, at);
            }
            // Pieces end where the medium's atoms do.
            at += atom - (write.offset + at) % atom;
        }
    }
    // Two writes of one place reach the medium in either order only while neither was waited for;
    // the page cache holds the newest of both, so order stays per place.
    for (const auto& [write, at] : kept) {
        const std::uint64_t end =
            std::min<std::uint64_t>(write->bytes.size(), at + atom - (write->offset + at) % atom);
        put(file.durable, write->offset + at, std::span(write->bytes).subspan(at, end - at));
    }
}

void Disk::power_loss(core::Prng& prng) {
    for (auto at = files_.begin(); at != files_.end();) {
        File& file = *at->second;
        tear(file, prng);
        file.unflushed.clear();
        file.seen = file.durable;
        file.locks = 0;
        const bool gone = !file.created_durably && prng.below(2) == 0;
        at = gone ? files_.erase(at) : std::next(at);
    }
}

}  // namespace remora::sim
