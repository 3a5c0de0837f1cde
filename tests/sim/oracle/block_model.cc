// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/oracle/block_model.h"

#include <algorithm>
#include <utility>

#include "core/check.h"
#include "tests/sim/oracle/filled.h"

namespace remora::sim {

BlockModel::BlockModel(const BlockModelOptions& options, std::function<Nanos()> now, Report report)
    : options_(options),
      now_(std::move(now)),
      report_(std::move(report)),
      pages_(options.blocks / kPageBlocks + 1) {
    Write never;
    never.ended = 0;
    never.kind = Kind::NeverWritten;
    never.outcome = Outcome::Ok;
    writes_.push_back(never);
}

// ---- what begins

VolumeOracle::OpId BlockModel::begin_write(std::uint64_t lba,
                                           std::uint32_t count,
                                           std::span<std::byte> fill) {
    CHECK(fill.size() == std::size_t{count} * options_.block_size);
    const OpId op = begin_change(lba, count, Kind::Write);
    for (std::uint32_t i = 0; i < count; ++i) {
        fill_block(fill.subspan(std::size_t{i} * options_.block_size, options_.block_size),
                   {options_.volume_id, lba + i, op, options_.seed});
    }
    return op;
}

VolumeOracle::OpId BlockModel::begin_zero(std::uint64_t lba, std::uint32_t count, bool discard) {
    return begin_change(lba, count, discard ? Kind::Discard : Kind::Zero);
}

VolumeOracle::OpId BlockModel::begin_flush() {
    ++stats_.begun;
    flushing_.emplace(++clock_, false);
    return clock_;
}

VolumeOracle::OpId BlockModel::begin_read(std::uint64_t lba, std::uint32_t count) {
    ++stats_.begun;
    reading_.emplace(++clock_, Read{lba, count, now_()});
    return clock_;
}

VolumeOracle::OpId BlockModel::begin_change(std::uint64_t lba, std::uint32_t count, Kind kind) {
    ++stats_.begun;
    Write write;
    write.id = ++clock_;
    write.lba = lba;
    write.count = count;
    write.kind = kind;
    const auto index = static_cast<std::uint32_t>(writes_.size());
    writes_.push_back(write);
    changing_.emplace(write.id, index);
    for (std::uint32_t i = 0; i < existing(lba, count); ++i) {
        Block& block = block_at(lba + i);
        compact(block);
        block.live.push_back({index, kNotYet, kNotYet});
    }
    return write.id;
}

// ---- what ends

void BlockModel::end(OpId op, End end) {
    if (const auto change = changing_.find(op); change != changing_.end()) {
        const std::uint32_t index = change->second;
        changing_.erase(change);
        end_write(index, end);
    } else if (flushing_.contains(op)) {
        end_flush(op, end);
    } else if (reading_.contains(op) && end == End::Failed) {
        end_read(op, end, {});
    } else {
        violation(
            filled("operation {} ended, but is not in flight: completed twice, or a "
                   "read that ended Ok without its data",
                   op));
    }
}

void BlockModel::end_write(std::uint32_t index, End end) {
    Write& write = writes_[index];
    ++stats_.ended;
    write.ended = ++clock_;
    write.ended_at = now_();
    write.outcome = end == End::Ok ? Outcome::Ok : Outcome::Failed;
    if (end == End::Failed) {
        ++stats_.failed;
        return;
    }
    const std::uint32_t blocks = existing(write.lba, write.count);
    if (blocks < write.count) {
        violation(
            filled("{} ended Ok but the volume has {} blocks (NVM Command Set "
                   "Specification 1.0, LBA Out of Range)",
                   describe(index), options_.blocks));
    }
    if (write.crossed || write.kind == Kind::Discard) {
        return;
    }
    for (std::uint32_t i = 0; i < blocks; ++i) {
        supersede(block_at(write.lba + i), index);
    }
}

void BlockModel::end_flush(OpId op, End end) {
    ++stats_.ended;
    ++clock_;
    const bool crossed = flushing_[op];
    flushing_.erase(op);
    if (end == End::Failed) {
        ++stats_.failed;
    } else if (!crossed) {
        durable_at_ = std::max(durable_at_, op);
    }
}

void BlockModel::supersede(Block& block, std::uint32_t by) {
    const OpId began = writes_[by].id;
    std::size_t kept = 0;
    // A volume in memory that starts anew may still get a write whose host was told of its failure,
    // or is no more, while somebody on the way kept trying.
    const bool wipe = writes_[by].kind == Kind::Wipe;
    for (Candidate& candidate : block.live) {
        const Write& other = writes_[candidate.write];
        const bool may_land = wipe && other.outcome == Outcome::Failed &&
                              now_() - other.ended_at < options_.late_landing;
        if (other.ended < began && !may_land) {
            candidate.superseded_at = clock_;
            block.old.push_back(candidate);
        } else {
            block.live[kept++] = candidate;
        }
    }
    block.live.resize(kept);
    compact(block);
}

std::uint64_t BlockModel::kept_from() const {
    const std::uint64_t durable = options_.write_through ? kNotYet : durable_at_;
    const std::uint64_t read = reading_.empty() ? kNotYet : reading_.begin()->first;
    return std::min(durable, read);
}

void BlockModel::compact(Block& block) const {
    const std::uint64_t from = kept_from();
    std::erase_if(block.old, [from](const Candidate& one) { return one.superseded_at <= from; });
}

// ---- what breaks

void BlockModel::process_crash() {
    ++stats_.crashes;
    last_crash_ = ++clock_;
    for_each_block([](Block& block) {
        for (Candidate& candidate : block.live) {
            candidate.narrowed_at = kNotYet;
        }
    });
}

void BlockModel::power_loss() {
    process_crash();
    if (options_.write_through) {
        return;
    }
    for_each_block([this](Block& block) {
        std::size_t kept = 0;
        for (Candidate& candidate : block.old) {
            if (candidate.superseded_at > durable_at_) {
                block.live.push_back({candidate.write, kNotYet, kNotYet});
            } else {
                block.old[kept++] = candidate;
            }
        }
        block.old.resize(kept);
    });
    durable_at_ = clock_;
    for (const auto& [op, index] : changing_) {
        writes_[index].crossed = true;
    }
    for (auto& [op, crossed] : flushing_) {
        crossed = true;
    }
}

void BlockModel::wiped() {
    process_crash();
    Write wipe;
    wipe.id = clock_;
    wipe.ended = clock_;
    wipe.count = static_cast<std::uint32_t>(std::min<std::uint64_t>(options_.blocks, ~0U));
    wipe.kind = Kind::Wipe;
    wipe.outcome = Outcome::Ok;
    const auto index = static_cast<std::uint32_t>(writes_.size());
    writes_.push_back(wipe);
    for_each_block([this, index](Block& block) {
        supersede(block, index);
        block.live.push_back({index, kNotYet, kNotYet});
    });
    durable_at_ = clock_;
    for (const auto& [op, changing] : changing_) {
        writes_[changing].crossed = true;
    }
    for (auto& [op, crossed] : flushing_) {
        crossed = true;
    }
}

void BlockModel::host_crash() {
    stats_.abandoned += changing_.size() + reading_.size() + flushing_.size();
    while (!changing_.empty()) {
        end(changing_.begin()->first, End::Failed);
    }
    while (!flushing_.empty()) {
        end(flushing_.begin()->first, End::Failed);
    }
    while (!reading_.empty()) {
        end(reading_.begin()->first, End::Failed);
    }
}

bool BlockModel::final_check() {
    for (const auto& [op, index] : changing_) {
        violation(filled("{} was never completed", describe(index)));
    }
    for (const auto& [op, crossed] : flushing_) {
        violation(filled("flush {} was never completed", op));
    }
    for (const auto& [op, read] : reading_) {
        violation(
            filled("read {} of {} blocks at LBA {} was never completed", op, read.count, read.lba));
    }
    return stats_.violations == 0 && stats_.begun == stats_.ended;
}

// ---- blocks

std::uint32_t BlockModel::existing(std::uint64_t lba, std::uint32_t count) const {
    const std::uint64_t behind = lba < options_.blocks ? options_.blocks - lba : 0;
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(behind, count));
}

BlockModel::Block& BlockModel::block_at(std::uint64_t lba) {
    auto& page = pages_[lba / kPageBlocks];
    if (page == nullptr) {
        page = std::make_unique<Page>(kPageBlocks);
    }
    Block& block = (*page)[lba % kPageBlocks];
    if (block.live.empty()) {
        block.live.push_back({0, kNotYet, kNotYet});
    }
    return block;
}

const BlockModel::Block* BlockModel::find(std::uint64_t lba) const {
    const auto& page = pages_[lba / kPageBlocks];
    if (page == nullptr || (*page)[lba % kPageBlocks].live.empty()) {
        return nullptr;
    }
    return &(*page)[lba % kPageBlocks];
}

template <typename F>
void BlockModel::for_each_block(F change) {
    for (const auto& page : pages_) {
        for (std::size_t i = 0; page != nullptr && i < page->size(); ++i) {
            if (!(*page)[i].live.empty()) {
                change((*page)[i]);
            }
        }
    }
}

}  // namespace remora::sim
