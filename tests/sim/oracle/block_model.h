// SPDX-License-Identifier: Apache-2.0
// BlockModel: what a read of each block of one volume may return, whatever happened before: writes
// that overlapped, failed, crossed a crash of the target or a loss of power. Not thread safe; calls
// nothing but the two functions it is given.
//
// A write has a begin and an end, both places in the order of all calls. Discards, zeroes and
// "never written" are writes of zeros. Per block, a read may return any *candidate*:
//
//        w1 [=====]                        ended Ok
//        w2           [=======X            failed at X: may have happened or not
//        w3                 [======]       began before X: does not supersede w2
//        w4                            [=====]          began after w1 to w3 ended
//        read a         (----)                          w1 w2 w3
//        read b                     (-)                 w1? no: w3 supersedes it.   w2 w3
//        read c                          (------)       w2 w3 w4
//        read d                                 (---)   w4
//
//   x supersedes w  :=  x ended Ok, and x began after w ended (Ok or failed). At x's end.
//   A read may return w  :=  w began before the read ended, and w was not superseded before the
//                            read began.
//   A discard that ended Ok supersedes nothing: old data or zeros may come.
//
// Stable reads. When nothing of what a read could return overlapped the read, the medium held one
// value; later reads have to return it, too, until there is a write or a crash. The others are put
// aside (*narrowed*), save a write that failed less than `late_landing` before the read began: its
// bytes may still be on their way. (NVM Command Set Specification 1.0 §3.2.3.2.1 asks the same of
// deallocated blocks.) What only some reads showed is not durable for it: a crash brings it back.
//
// Power loss. A flush that ended Ok covers the writes that had ended before it began, so the
// blocks' floor is the state at `durable_at_`, the latest begin of such a flush, and needs no copy:
// it is the candidates of a read that would have begun then. power_loss() makes candidates of all
// that was not superseded before `durable_at_`. Superseded candidates are therefore kept until a
// flush (and the oldest read in flight) has passed them; with `write_through` a write's end is its
// flush.
//
//        w1 [==]                                     power_loss()
//        w2        [==]                                 |
//        flush          [==]Ok                          |     durable_at_ is its begin
//        w3                  [==]                       |
//        w4                        [==]                 |     then: w2 w3 w4, not w1
//        w5                                   [=========|==]  and w5, which supersedes nothing even
//                                                             when it ends Ok: done before or
//                                                             after?
// The same holds of a flush that is in flight then: it covers nothing.
//
// process_crash(): what had ended stays, what is in flight stays in flight (its host ends it).
// wiped(): a volume in memory: all zeros but what is in flight. host_crash(): nobody will end what
// is in flight; it counts as failed now.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/units.h"
#include "tests/sim/host/volume_oracle.h"
#include "tests/sim/oracle/block_pattern.h"

namespace remora::sim {

using core::Nanos;

struct BlockModelOptions {
    std::uint64_t volume_id = 0;
    std::uint64_t seed = 0;
    std::uint32_t block_size = 512;
    std::uint64_t blocks = 0;
    bool unwritten_is_noise = false;  ///< Else it reads as zeros.
    bool write_through = false;       ///< No volatile cache: what has ended Ok is durable.
    Nanos late_landing{0};            ///< How long after its failure a write may still land.
};

struct BlockModelStats {
    std::uint64_t begun = 0;
    std::uint64_t ended = 0;
    std::uint64_t failed = 0;
    std::uint64_t abandoned = 0;  ///< Of `failed`: by host_crash().
    std::uint64_t blocks_checked = 0;
    std::uint64_t ambiguous = 0;  ///< Of these: more than one value was right.
    std::uint64_t narrowed = 0;   ///< Candidates put aside by stable reads.
    std::uint64_t crashes = 0;
    std::uint64_t violations = 0;
};

class BlockModel final : public VolumeOracle {
  public:
    using Report = std::function<void(std::string)>;
    BlockModel(const BlockModelOptions& options, std::function<Nanos()> now, Report report);

    OpId begin_write(std::uint64_t lba, std::uint32_t count, std::span<std::byte> fill) override;
    OpId begin_zero(std::uint64_t lba, std::uint32_t count, bool discard) override;
    OpId begin_flush() override;
    OpId begin_read(std::uint64_t lba, std::uint32_t count) override;
    void end(OpId op, End end) override;
    void end_read(OpId op, End end, std::span<const std::byte> data) override;

    void process_crash();
    void power_loss();
    void wiped();
    void host_crash();

    /// Reports what has begun and not ended. Whether there was nothing to report in all.
    bool final_check();
    [[nodiscard]] const BlockModelStats& stats() const { return stats_; }

  private:
    static constexpr std::uint64_t kNotYet = ~std::uint64_t{0};
    static constexpr std::size_t kPageBlocks = 64;

    enum class Kind : std::uint8_t { NeverWritten, Write, Zero, Discard, Wipe };
    enum class Outcome : std::uint8_t { InFlight, Ok, Failed };
    /// A write that ever was. Candidates name it by its index.
    struct Write {
        OpId id = 0;  ///< Its begin.
        std::uint64_t lba = 0;
        std::uint64_t ended = kNotYet;
        Nanos ended_at{0};
        std::uint32_t count = 0;
        Kind kind = Kind::Write;
        Outcome outcome = Outcome::InFlight;
        bool crossed = false;  ///< A loss: its end tells nothing of what had been before.
    };
    struct Candidate {
        std::uint32_t write = 0;
        std::uint64_t superseded_at = kNotYet;
        std::uint64_t narrowed_at = kNotYet;
    };
    struct Block {
        std::vector<Candidate> live;  ///< Not superseded. Empty: never written.
        std::vector<Candidate> old;   ///< Superseded, but a read or a power loss may show them.
    };
    using Page = std::vector<Block>;
    struct Read {
        std::uint64_t lba = 0;
        std::uint32_t count = 0;
        Nanos began_at{0};
    };

    OpId begin_change(std::uint64_t lba, std::uint32_t count, Kind kind);
    void end_write(std::uint32_t index, End end);
    void end_flush(OpId op, End end);
    void supersede(Block& block, std::uint32_t by);
    void compact(Block& block) const;
    [[nodiscard]] std::uint64_t kept_from() const;
    /// Of a range: the blocks that the volume has.
    [[nodiscard]] std::uint32_t existing(std::uint64_t lba, std::uint32_t count) const;
    Block& block_at(std::uint64_t lba);
    [[nodiscard]] const Block* find(std::uint64_t lba) const;
    template <typename F>
    void for_each_block(F change);

    std::string check_block(OpId op,
                            const Read& read,
                            std::uint64_t lba,
                            std::span<const std::byte> data);
    /// What is found where nothing was written.
    [[nodiscard]] FoundBlock::Kind unwritten() const;
    [[nodiscard]] bool matches(const Candidate& candidate,
                               std::uint64_t lba,
                               const FoundBlock& found) const;
    void narrow(
        Block& block, OpId op, const Read& read, std::uint64_t lba, const FoundBlock& found);
    [[nodiscard]] std::string describe(std::uint32_t index) const;
    [[nodiscard]] std::string describe(const FoundBlock& found, std::uint64_t lba) const;
    [[nodiscard]] std::string candidates_text(const Block* block, OpId op) const;
    [[nodiscard]] const Write* find_write(OpId id) const;
    void violation(const std::string& text);

    BlockModelOptions options_;
    std::function<Nanos()> now_;
    Report report_;
    BlockModelStats stats_;
    std::uint64_t clock_ = 0;  // counts calls; an OpId is a reading of it
    std::uint64_t durable_at_ = 0;
    std::uint64_t last_crash_ = 0;
    std::vector<Write> writes_;  // by id
    std::map<OpId, std::uint32_t> changing_;
    std::map<OpId, Read> reading_;
    std::map<OpId, bool> flushing_;  // whether it has crossed a loss
    std::vector<std::unique_ptr<Page>> pages_;
};

}  // namespace remora::sim
