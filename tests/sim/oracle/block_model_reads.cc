// SPDX-License-Identifier: Apache-2.0
// BlockModel: judges what a read has returned, and says what is wrong with it.
#include <algorithm>
#include <utility>

#include "tests/sim/oracle/block_model.h"
#include "tests/sim/oracle/filled.h"

namespace remora::sim {

void BlockModel::end_read(OpId op, End end, std::span<const std::byte> data) {
    const auto at = reading_.find(op);
    if (at == reading_.end()) {
        violation(filled("read {} ended, but is not in flight: completed twice", op));
        return;
    }
    const Read read = at->second;
    ++stats_.ended;
    ++clock_;
    std::string first;
    std::uint32_t wrong = 0;
    if (end == End::Failed) {
        ++stats_.failed;
    } else if (existing(read.lba, read.count) < read.count) {
        violation(
            filled("read {} of {} blocks at LBA {} ended Ok but the volume has {} blocks "
                   "(NVM Command Set Specification 1.0, LBA Out of Range)",
                   op, read.count, read.lba, options_.blocks));
    } else if (data.size() != std::size_t{read.count} * options_.block_size) {
        violation(filled("read {} of {} blocks at LBA {} ended Ok with {} bytes", op, read.count,
                         read.lba, data.size()));
    } else {
        for (std::uint32_t i = 0; i < read.count; ++i) {
            std::string text = check_block(
                op, read, read.lba + i,
                data.subspan(std::size_t{i} * options_.block_size, options_.block_size));
            if (!text.empty() && wrong++ == 0) {
                first = std::move(text);
            }
        }
    }
    reading_.erase(op);  // last: while it is here, what it may return is kept
    if (wrong > 0) {
        violation(filled("{}; {} of its {} blocks are wrong", first, wrong, read.count));
    }
}

/// What is wrong; nothing when all is well.
std::string BlockModel::check_block(OpId op,
                                    const Read& read,
                                    std::uint64_t lba,
                                    std::span<const std::byte> data) {
    ++stats_.blocks_checked;
    const FoundBlock found = find_block(data);
    const Block* block = find(lba);
    bool right = false;
    std::size_t possible = 0;
    if (block == nullptr) {
        right = found.kind == unwritten();
        possible = 1;
    } else {
        for (const auto* list : {&block->live, &block->old}) {
            for (const Candidate& one : *list) {
                if (one.superseded_at > op && one.narrowed_at > op) {
                    ++possible;
                    right = right || matches(one, lba, found);
                }
            }
        }
    }
    stats_.ambiguous += possible > 1 ? 1 : 0;
    if (!right) {
        return filled(
            "read {} returned at LBA {} {}, not the last completed write or one that "
            "overlapped or failed: {}",
            op, lba, describe(found, lba), candidates_text(block, op));
    }
    if (possible > 1) {
        narrow(block_at(lba), op, read, lba, found);
    }
    return {};
}

FoundBlock::Kind BlockModel::unwritten() const {
    return options_.unwritten_is_noise ? FoundBlock::Kind::Unknown : FoundBlock::Kind::Zeros;
}

bool BlockModel::matches(const Candidate& candidate,
                         std::uint64_t lba,
                         const FoundBlock& found) const {
    const Write& write = writes_[candidate.write];
    if (write.kind != Kind::Write) {
        return found.kind ==
               (write.kind == Kind::NeverWritten ? unwritten() : FoundBlock::Kind::Zeros);
    }
    return found.kind == FoundBlock::Kind::Whole &&
           found.identity == BlockIdentity{options_.volume_id, lba, write.id, options_.seed};
}

void BlockModel::narrow(
    Block& block, OpId op, const Read& read, std::uint64_t lba, const FoundBlock& found) {
    const auto quiet = [&](const Candidate& one) { return writes_[one.write].ended < op; };
    if (op < last_crash_ || !std::ranges::all_of(block.live, quiet)) {
        return;
    }
    for (Candidate& one : block.live) {
        const Write& write = writes_[one.write];
        const bool may_land = write.outcome == Outcome::Failed &&
                              write.ended_at + options_.late_landing > read.began_at;
        if (one.narrowed_at == kNotYet && !may_land && !matches(one, lba, found)) {
            one.narrowed_at = clock_;
            ++stats_.narrowed;
        }
    }
}

// ---- words

std::string BlockModel::describe(std::uint32_t index) const {
    const Write& write = writes_[index];
    constexpr const char* kKinds[] = {"never written", "write", "write zeroes", "discard", "wipe"};
    const char* kind = kKinds[std::to_underlying(write.kind)];
    if (write.kind == Kind::NeverWritten) {
        return options_.unwritten_is_noise ? "noise (never written)" : "zeros (never written)";
    }
    const char* outcome = write.outcome == Outcome::InFlight ? "in flight"
                          : write.outcome == Outcome::Ok     ? "Ok"
                                                             : "failed";
    const std::string ended =
        write.outcome == Outcome::InFlight ? "" : filled(" at {}", write.ended);
    return filled("{} {} (LBA {} + {}, {}{}{})", kind, write.id, write.lba, write.count, outcome,
                  ended, write.crossed ? ", crossed a loss" : "");
}

const BlockModel::Write* BlockModel::find_write(OpId id) const {
    const auto at = std::ranges::lower_bound(writes_, id, {}, &Write::id);
    return at != writes_.end() && at->id == id ? &*at : nullptr;
}

std::string BlockModel::describe(const FoundBlock& found, std::uint64_t lba) const {
    if (found.kind == FoundBlock::Kind::Zeros) {
        return "zeros";
    }
    if (found.kind == FoundBlock::Kind::Unknown) {
        return "bytes that no write of the run has made";
    }
    const BlockIdentity& name = found.identity;
    std::string text = found.kind == FoundBlock::Kind::Mixed
                           ? filled(
                                 "a block mixed of several (wrong from byte {} on), whose "
                                 "head is ",
                                 found.first_wrong)
                           : "";
    if (name.seed != options_.seed) {
        return text + filled("a block of another run, with seed {}", name.seed);
    }
    if (name.volume != options_.volume_id) {
        return text + filled("LBA {} of another volume, {} (this is {})", name.lba, name.volume,
                             options_.volume_id);
    }
    if (name.lba != lba) {
        text += filled("another LBA, {}, of ", name.lba);
    }
    const Write* write = find_write(name.sequence);
    return text + (write == nullptr ? filled("a write {} that never was", name.sequence)
                                    : describe(static_cast<std::uint32_t>(write - writes_.data())));
}

std::string BlockModel::candidates_text(const Block* block, OpId op) const {
    if (block == nullptr) {
        return describe(0);
    }
    constexpr std::size_t kMost = 8;
    std::string text;
    std::size_t shown = 0;
    std::size_t left = 0;
    for (const auto* list : {&block->live, &block->old}) {
        for (const Candidate& one : *list) {
            if (one.superseded_at <= op) {
                continue;
            }
            if (shown == kMost) {
                ++left;
                continue;
            }
            text += (shown++ == 0 ? "" : ", ") + describe(one.write);
            text += one.narrowed_at <= op
                        ? filled(" [put aside by a read that ended at {}]", one.narrowed_at)
                        : "";
        }
    }
    return left == 0 ? text : text + filled(" and {} more", left);
}

void BlockModel::violation(const std::string& text) {
    ++stats_.violations;
    report_(filled("block model, volume {}: {}", options_.volume_id, text));
}

}  // namespace remora::sim
