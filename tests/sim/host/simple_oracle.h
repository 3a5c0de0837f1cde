// SPDX-License-Identifier: Apache-2.0
// SimpleOracle: a VolumeOracle for tests of the host itself, for volumes that forget nothing.
#pragma once

#include <cstring>
#include <map>
#include <set>
#include <vector>

#include "core/check.h"
#include "tests/sim/host/volume_oracle.h"

namespace remora::sim {

/// What each block may read as. While a change is under way that is the old and the new; a read
/// may also find what began to be written while it ran. Changes of one block never overlap.
class SimpleOracle final : public VolumeOracle {
  public:
    static constexpr std::uint32_t kBlockSize = 512;
    using Words = std::set<std::uint64_t>;  // every 8 bytes of a block are the same word

    OpId begin_write(std::uint64_t lba, std::uint32_t count, std::span<std::byte> fill) override {
        const OpId op = next_++;
        CHECK(fill.size() == std::size_t{count} * kBlockSize);
        for (std::size_t at = 0; at < fill.size(); at += 8) {
            std::memcpy(fill.data() + at, &op, 8);
        }
        begin_change(op, {lba, count, op, false});
        return op;
    }
    OpId begin_zero(std::uint64_t lba, std::uint32_t count, bool discard) override {
        begin_change(next_, {lba, count, 0, discard});
        return next_++;
    }
    OpId begin_flush() override {
        changes_[next_] = {};
        return next_++;
    }
    OpId begin_read(std::uint64_t lba, std::uint32_t count) override {
        Read& read = reads_[next_];
        read.lba = lba;
        for (std::uint32_t i = 0; i < count; ++i) {
            read.expected.push_back(words(lba + i));
        }
        return next_++;
    }
    void end(OpId op, End how) override {
        const Change change = changes_.at(op);
        changes_.erase(op);
        ++(how == End::Ok ? ended : failed);
        for (std::uint64_t i = 0; how == End::Ok && !change.maybe && i < change.count; ++i) {
            words(change.lba + i) = {change.word};
        }
    }
    void end_read(OpId op, End how, std::span<const std::byte> data) override {
        const Read read = reads_.at(op);
        reads_.erase(op);
        ++(how == End::Ok ? ended : failed);
        for (std::size_t at = 0; how == End::Ok && at < data.size(); at += 8) {
            std::uint64_t word = 0;
            std::memcpy(&word, data.data() + at, 8);
            wrong += read.expected[at / kBlockSize].contains(word) ? 0U : 1U;
        }
    }
    [[nodiscard]] bool at_rest() const { return reads_.empty() && changes_.empty(); }

    std::uint64_t ended = 0;
    std::uint64_t failed = 0;
    std::uint64_t wrong = 0;

  private:
    struct Change {
        std::uint64_t lba = 0;
        std::uint64_t count = 0;
        std::uint64_t word = 0;
        bool maybe = false;
    };
    struct Read {
        std::uint64_t lba = 0;
        std::vector<Words> expected;
    };

    Words& words(std::uint64_t lba) { return contents_.try_emplace(lba, Words{0}).first->second; }
    void begin_change(OpId op, const Change& change) {
        changes_[op] = change;
        for (std::uint64_t lba = change.lba; lba < change.lba + change.count; ++lba) {
            words(lba).insert(change.word);
            for (auto& [id, read] : reads_) {
                if (lba >= read.lba && lba < read.lba + read.expected.size()) {
                    read.expected[lba - read.lba].insert(change.word);
                }
            }
        }
    }

    OpId next_ = 1;
    std::map<OpId, Read> reads_;
    std::map<OpId, Change> changes_;
    std::map<std::uint64_t, Words> contents_;
};

}  // namespace remora::sim
