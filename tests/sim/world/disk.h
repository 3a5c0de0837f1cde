// SPDX-License-Identifier: Apache-2.0
// Disk: the persistent storage of one simulated machine, as plain state without time.
//
// A file has what readers see (the page cache) and what is on the medium; writes go to the first
// and are remembered until a flush brings them to the second. A killed process loses nothing; a
// machine that loses power keeps of each unflushed write any subset of its sectors, in any order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/prng.h"

namespace remora::sim {

class Disk {
  public:
    /// What tears: a power loss or a failed write leaves each sector old or new, never mixed. A
    /// file whose blocks are larger lies on a medium with larger sectors.
    static constexpr std::size_t kSector = 512;

    struct File {
        std::string path;
        std::vector<std::byte> seen;     ///< What reads return.
        std::vector<std::byte> durable;  ///< What is on the medium.
        struct Write {
            std::uint64_t offset = 0;
            std::vector<std::byte> bytes;
        };
        std::vector<Write> unflushed;
        bool created_durably = false;  ///< The name and length survive a power loss.
        std::size_t locks = 0;         ///< Exclusive opens.
        std::size_t atom = kSector;    ///< What tears, see kSector.
    };

    /// Null when there is none and `create` is not set.
    std::shared_ptr<File> open(const std::string& path, bool create);
    [[nodiscard]] bool exists(const std::string& path) const { return files_.contains(path); }
    void remove(const std::string& path) { files_.erase(path); }

    static void write(File& file, std::uint64_t offset, std::span<const std::byte> bytes);
    /// The range reads as zeros; what of it is past the end does not grow the file.
    static void zero(File& file, std::uint64_t offset, std::uint64_t length);
    static void truncate(File& file, std::uint64_t size);
    /// Longer, durably; what was written before is no safer for it.
    static void grow(File& file, std::uint64_t size);
    static void flush(File& file);

    /// A process is gone: its locks are.
    void drop_locks();
    /// Power is lost.
    void power_loss(core::Prng& prng);
    /// Of a file that may be made later.
    void set_atom(const std::string& path, std::size_t atom) { atoms_[path] = atom; }

  private:
    static void tear(File& file, core::Prng& prng);
    std::map<std::string, std::size_t> atoms_;
    std::map<std::string, std::shared_ptr<File>> files_;
};

}  // namespace remora::sim
