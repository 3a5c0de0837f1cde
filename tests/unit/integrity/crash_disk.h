// SPDX-License-Identifier: Apache-2.0
// CrashDisk: a device in memory that is as bad as a device may be, and sometimes worse.
//
// May be: with a volatile cache each block that was not flushed is kept or lost in a crash, for
// itself, in any of its versions since; what was under way is there block by block, or not; what
// was discarded is noise; requests end in any order.
// Worse: it loses writes, puts them elsewhere, forgets, and flips bits, when a test says so.
//
// It does nothing until the test lets it, or everything at once. One thread; several reactors on
// it. It CHECKs that nobody changes the bytes of a write under way, nor writes the same block
// twice at a time.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "block/deferred.h"
#include "block/device.h"
#include "core/prng.h"

namespace remora::services::integrity {

using Bytes = std::vector<std::byte>;

class CrashDisk final : public block::Device {
  public:
    enum class Crash : std::uint8_t {
        Power,    ///< The cache is gone.
        Process,  ///< Only those above have died.
    };
    struct Seen {
        block::Opcode opcode;
        std::uint64_t lba;
        std::uint32_t block_count;
        bool force_unit_access;
        bool takes_in_place;
    };

    CrashDisk(std::uint32_t block_size, std::uint64_t block_count, bool volatile_cache);
    ~CrashDisk() override;

    [[nodiscard]] block::Geometry geometry() const override { return shape; }
    core::Result<std::unique_ptr<block::Channel>> open_channel() override;

    /// Ends a held request, on its reactor's next turn. A failed one that writes has written some
    /// blocks and some not, by `prng`.
    void let_go(std::size_t which, block::Status status, core::Prng& prng);
    [[nodiscard]] std::size_t held() const { return held_.size(); }
    [[nodiscard]] const block::Request& held_request(std::size_t which) const {
        return *held_[which].request;
    }
    /// What happens to all that is neither durable nor ended; then nothing is done any more until
    /// revive(): all requests end as Aborted.
    void crash(Crash kind, core::Prng& prng);
    void revive();

    [[nodiscard]] Bytes block(std::uint64_t lba) const;     ///< As it would be read.
    void put_block(std::uint64_t lba, const Bytes& bytes);  ///< Behind everybody's back, durably.
    void flip_bit(std::uint64_t lba, std::size_t bit);

    block::Geometry shape;
    bool automatic = true;  ///< Requests are done at once.
    bool drop_fua = false;  ///< It lies: what is to be durable is only cached.
    std::vector<Seen> seen;
    /// The next write that begins there is not done, and is said to be.
    std::optional<std::uint64_t> lose_write_to;
    /// The next write that begins at the first is done at the second.
    std::optional<std::pair<std::uint64_t, std::uint64_t>> misdirect_write;
    /// Requests that touch this block end so.
    std::optional<std::pair<std::uint64_t, block::Status>> bad_block;

  private:
    class DiskChannel;
    struct Held {
        block::Request* request;
        DiskChannel* channel;
        std::uint64_t flushes;  // Flush: what was cached until here
        std::uint32_t sum;      // Write: of its bytes
    };
    struct Version {
        std::uint64_t number;
        Bytes bytes;
    };

    void take(block::Request& request, DiskChannel& channel);
    void perform(const Held& held);
    void write(const block::Request& request);
    void flush(std::uint64_t limit);
    void put(std::uint64_t lba, Bytes bytes, bool durable);
    void tear(const block::Request& request, core::Prng& prng);
    [[nodiscard]] Bytes bytes_of(const block::Request& request, std::uint32_t block) const;
    [[nodiscard]] Bytes noise();
    [[nodiscard]] block::Status outcome(const block::Request& request) const;
    void check_overlap(const block::Request& request) const;

    Bytes medium_;
    std::map<std::uint64_t, std::vector<Version>> cached_;
    std::uint64_t versions_ = 0;
    std::vector<Held> held_;
    bool dead_ = false;
    core::Prng noise_{77};
};

}  // namespace remora::services::integrity
