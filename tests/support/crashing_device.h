// SPDX-License-Identifier: Apache-2.0
// CrashingDevice: a device in memory with a volatile cache, delays, errors and power cuts. A write
// lies in the cache from when it comes until it is flushed; at a power cut each of its blocks is
// there or not, as chance has it, whether the write was acknowledged or not.
#pragma once

#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "block/device.h"
#include "core/prng.h"
#include "reactor/reactor.h"
#include "reactor/timer.h"

namespace remora::test {

constexpr std::uint32_t kCrashBlock = 4096;
using BlockBytes = std::array<std::byte, kCrashBlock>;

/// What is on the medium: blocks that were never written are zeros.
using Medium = std::map<std::uint64_t, BlockBytes>;

class CrashingDevice final : public block::Device {
  public:
    CrashingDevice(std::string name, std::uint64_t blocks, core::Prng prng, Medium medium = {})
        : Device(std::move(name), {}), blocks_(blocks), prng_(prng), medium_(std::move(medium)) {}

    [[nodiscard]] block::Geometry geometry() const override {
        block::Geometry shape;
        shape.block_size = kCrashBlock;
        shape.block_count = blocks_;
        shape.volatile_cache = volatile_cache;
        shape.can_discard = true;
        shape.can_write_zeroes = true;
        return shape;
    }
    core::Result<std::unique_ptr<block::Channel>> open_channel() override {
        return std::make_unique<Channel>(*this);
    }

    bool volatile_cache = true;
    core::Nanos slowest{200'000};
    core::Nanos slow_reads{0};                ///< So much more each.
    block::Status dead = block::Status::Ok;   ///< Else: what everything ends with.
    std::set<std::uint64_t> bad_blocks;       ///< Cannot be read until they are written.
    std::uint64_t fail_writes_after = ~0ULL;  ///< So many more succeed.
    std::uint64_t writes = 0;

    /// What a power cut leaves. Everything from now on ends with PathError and does nothing.
    Medium cut_power() {
        for (auto& [block, versions] : begun_) {
            if (!versions.empty() && prng_.below(2) == 0) {
                cache_[block].push_back(versions[prng_.below(versions.size())]);
            }
        }
        for (auto& [block, versions] : cache_) {
            // Any version of a block may be the last one that was written, or none.
            const std::uint64_t pick = prng_.below(versions.size() + 1);
            if (pick > 0) {
                medium_[block] = *versions[pick - 1];
            }
        }
        cache_.clear();
        dead = block::Status::PathError;
        return std::move(medium_);
    }
    /// As it reads now.
    [[nodiscard]] BlockBytes at(std::uint64_t block) const {
        const auto cached = cache_.find(block);
        if (cached != cache_.end()) {
            return *cached->second.back();
        }
        const auto found = medium_.find(block);
        return found == medium_.end() ? BlockBytes{} : found->second;
    }
    void put(std::uint64_t block, const BlockBytes& bytes) { medium_[block] = bytes; }

  private:
    struct Pending final : reactor::TimerHandler {
        Pending(CrashingDevice& owner, block::Request& what) : device(owner), request(what) {}
        void on_timer(reactor::Timer& /*timer*/) override { device.finish(*this); }
        CrashingDevice& device;
        block::Request& request;
        reactor::Timer timer{*this};
    };
    class Channel final : public block::Channel {
      public:
        explicit Channel(CrashingDevice& device) : device_(device) {}
        void submit(block::RequestBatch& batch) override {
            while (block::Request* request = batch.pop_front()) {
                CHECK(block::validate(*request, device_.geometry()) == block::Status::Ok);
                device_.begin(*request);
            }
        }

      private:
        CrashingDevice& device_;
    };

    void begin(block::Request& request) {
        auto pending = std::make_unique<Pending>(*this, request);
        reactor::Reactor& here = reactor::Reactor::current();
        const auto delay =
            static_cast<std::int64_t>(1 + prng_.below(static_cast<std::uint64_t>(slowest.count())));
        const core::Nanos more =
            request.opcode == block::Opcode::Read ? slow_reads : core::Nanos(0);
        here.arm(pending->timer, here.now() + core::Nanos(delay) + more);
        // A write may reach the medium at any moment from now on, before it is done.
        const bool writes_data =
            request.opcode != block::Opcode::Read && request.opcode != block::Opcode::Flush;
        if (writes_data && dead == block::Status::Ok && writes < fail_writes_after) {
            keep(request, uncertain_[&request]);
        }
        pending_[&request] = std::move(pending);
    }

    using Versions = std::vector<std::shared_ptr<BlockBytes>>;

    void keep(const block::Request& request, std::vector<std::shared_ptr<BlockBytes>>& mine) {
        core::SegmentCursor cursor(request.data);
        for (std::uint64_t i = 0; i < request.block_count; ++i) {
            auto block = std::make_shared<BlockBytes>();
            if (request.opcode == block::Opcode::Write) {
                cursor.copy_out(*block);
            }
            mine.push_back(block);
            auto& versions = begun_[request.lba + i];
            versions.push_back(block);
        }
    }

    void finish(Pending& pending) {
        block::Request& request = pending.request;
        const auto kept = std::move(pending_[&request]);
        pending_.erase(&request);
        request.status = perform(request);
        block::RequestBatch batch;
        batch.push_back(request);
        block::complete_batch(batch);
    }

    block::Status perform(block::Request& request) {
        const auto mine = std::move(uncertain_[&request]);
        uncertain_.erase(&request);
        for (std::uint64_t i = 0; i < mine.size(); ++i) {
            std::erase(begun_[request.lba + i], mine[i]);
        }
        if (dead != block::Status::Ok) {
            return dead;
        }
        if (request.opcode == block::Opcode::Flush) {
            for (auto& [block, versions] : cache_) {
                medium_[block] = *versions.back();
            }
            cache_.clear();
            return block::Status::Ok;
        }
        if (request.opcode == block::Opcode::Read) {
            core::SegmentCursor cursor(request.data);
            for (std::uint64_t i = 0; i < request.block_count; ++i) {
                if (bad_blocks.contains(request.lba + i)) {
                    return block::Status::IoError;
                }
                cursor.copy_in(at(request.lba + i));
            }
            return block::Status::Ok;
        }
        if (mine.empty() || writes >= fail_writes_after) {
            return block::Status::IoError;
        }
        ++writes;
        for (std::uint64_t i = 0; i < request.block_count; ++i) {
            const std::uint64_t at = request.lba + i;
            bad_blocks.erase(at);
            if (!volatile_cache || request.force_unit_access) {
                medium_[at] = *mine[i];
                cache_.erase(at);
            } else {
                cache_[at].push_back(mine[i]);
            }
        }
        return block::Status::Ok;
    }

    std::uint64_t blocks_;
    core::Prng prng_;
    Medium medium_;
    std::map<std::uint64_t, Versions> cache_;
    std::map<std::uint64_t, Versions> begun_;
    std::map<block::Request*, std::vector<std::shared_ptr<BlockBytes>>> uncertain_;
    std::map<block::Request*, std::unique_ptr<Pending>> pending_;
};

}  // namespace remora::test
