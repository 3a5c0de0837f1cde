// SPDX-License-Identifier: Apache-2.0
// CrashClient: overlapping reads, writes, zeros and flushes as a seed has them, on a device whose
// power is cut now and then. Each block is compared with what it may be, on every read and after
// each cut.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "block/device.h"
#include "core/prng.h"
#include "reactor/call.h"
#include "tests/support/crash_block.h"

namespace remora::test {

class CrashClient final : private block::Completer {
  public:
    explicit CrashClient(core::Prng prng) : prng_(prng) {}

    /// Another life of the device, which has as many blocks as before or more.
    void open(block::Channel& channel, std::uint64_t block_count) {
        channel_ = &channel;
        blocks_.resize(block_count);
    }
    [[nodiscard]] std::size_t in_flight() const { return in_flight_; }
    /// From now on nothing that ends well has.
    void cut() { cut_ = true; }
    void power_up() { cut_ = false; }
    /// Whether requests may fail though the power is there.
    void allow_errors(bool may) { may_fail_ = may; }

    /// `flushes_count`: one makes durable what was written before.
    void start_random(bool flushes_count) {
        auto io = std::make_unique<Io>();
        const std::uint64_t what = prng_.below(20);
        io->opcode = what < 12   ? block::Opcode::Write
                     : what < 17 ? block::Opcode::Read
                     : what < 19 ? block::Opcode::Flush
                                 : block::Opcode::WriteZeroes;
        if (io->opcode == block::Opcode::Flush) {
            io->counts = flushes_count;
        } else {
            const std::uint64_t most = prng_.below(4) == 0 ? 40 : 5;
            io->block_count = static_cast<std::uint32_t>(
                1 + prng_.below(std::min<std::uint64_t>(most, blocks_.size())));
            io->lba = prng_.below(blocks_.size() - io->block_count + 1);
            io->bytes.resize(std::size_t{io->block_count} * kCrashBlock);
            io->force_unit_access = io->opcode != block::Opcode::Read && prng_.below(4) == 0;
            if (io->opcode != block::Opcode::WriteZeroes) {
                cut_segments(*io);
            }
        }
        if (io->opcode == block::Opcode::Write || io->opcode == block::Opcode::WriteZeroes) {
            for (std::uint64_t i = 0; i < io->block_count; ++i) {
                std::byte* block = io->bytes.data() + i * kCrashBlock;
                if (io->opcode == block::Opcode::Write) {
                    fill(block, prng_.next());
                }
                blocks_[io->lba + i].begin(token_of(block), now_ + 1);
            }
        }
        ios_.push_back(std::move(io));
        send(*ios_.back());
    }

    /// Everything that was written is durable, if it ends well.
    reactor::Task<> flush() {
        Io io;
        io.opcode = block::Opcode::Flush;
        io.counts = true;
        send(io);
        co_await all_ended();
    }
    /// Every block, nothing else under way: sets what the model knows. After a cut it is judged.
    reactor::Task<> read_all() {
        known_ = false;
        for (std::uint64_t lba = 0; lba < blocks_.size(); ++lba) {
            Io io;
            aim(io, lba);
            send(io);
            co_await all_ended();
            while (may_fail_ && io.status != block::Status::Ok) {
                co_await reactor::sleep_for(core::Nanos(1'000'000));
                send(io);
                co_await all_ended();
            }
            const Token token = token_of(io.bytes.data());
            if (fresh_) {
                blocks_[lba].begin(token, 0);
                blocks_[lba].end(token, 0, 1, true, true);
            } else {
                EXPECT_TRUE(blocks_[lba].cut(token, now_))
                    << "block " << lba << " is lost or mixed";
            }
        }
        now_ += 2;
        fresh_ = false;
        known_ = true;
    }
    /// Every block, nothing else under way: is as it was written.
    reactor::Task<> check_all() {
        for (std::uint64_t lba = 0; lba < blocks_.size(); ++lba) {
            ios_.push_back(std::make_unique<Io>());
            aim(*ios_.back(), lba);
            send(*ios_.back());
            co_await all_ended();
        }
    }
    reactor::Task<> all_ended() {
        while (in_flight_ > 0) {
            co_await reactor::sleep_for(core::Nanos(1000));
        }
    }

  private:
    struct Io : block::Request {
        std::vector<std::byte> bytes;
        std::array<core::Segment, 3> segments;
        std::uint64_t began = 0;
        bool counts = false;
    };

    static void aim(Io& io, std::uint64_t lba) {
        io.opcode = block::Opcode::Read;
        io.lba = lba;
        io.block_count = 1;
        io.bytes.resize(kCrashBlock);
        io.segments[0] = {io.bytes.data(), io.bytes.size()};
        io.data = std::span(io.segments).first(1);
    }
    void cut_segments(Io& io) {
        const std::size_t first = prng_.below(io.bytes.size());
        const std::size_t second = prng_.below(io.bytes.size() - first);
        std::byte* at = io.bytes.data();
        io.segments = {core::Segment{at, first}, core::Segment{at + first, second},
                       core::Segment{at + first + second, io.bytes.size() - first - second}};
        io.data = io.segments;
    }
    void send(Io& io) {
        io.began = ++now_;
        io.status = block::Status::Ok;
        io.push_frame(*this);
        block::RequestBatch batch;
        batch.push_back(io);
        ++in_flight_;
        channel_->submit(batch);
    }
    void complete(block::RequestBatch& batch) override {
        while (block::Request* request = batch.pop_front()) {
            request->pop_frame();
            ended(static_cast<Io&>(*request));
        }
    }
    void ended(Io& io) {
        --in_flight_;
        const std::uint64_t now = ++now_;
        const bool good = io.status == block::Status::Ok && !cut_;
        if (io.opcode == block::Opcode::Write || io.opcode == block::Opcode::WriteZeroes) {
            for (std::uint64_t i = 0; i < io.block_count; ++i) {
                blocks_[io.lba + i].end(token_of(io.bytes.data() + i * kCrashBlock), io.began, now,
                                        good, io.force_unit_access);
            }
        } else if (io.opcode == block::Opcode::Flush && good && io.counts) {
            for (CrashBlock& block : blocks_) {
                block.flushed(io.began);
            }
        } else if (io.opcode == block::Opcode::Read && good && known_) {
            check_read(io, now);
        }
        if (!cut_ && !may_fail_) {
            EXPECT_EQ(io.status, block::Status::Ok)
                << static_cast<int>(io.opcode) << " of " << io.lba;
        }
        // One that is not among them has an owner who waits for it.
        std::erase_if(ios_, [&](const auto& each) { return each.get() == &io; });
    }
    void check_read(const Io& io, std::uint64_t now) const {
        for (std::uint64_t i = 0; i < io.block_count; ++i) {
            const Token token = token_of(io.bytes.data() + i * kCrashBlock);
            const CrashBlock& block = blocks_[io.lba + i];
            EXPECT_TRUE(block.may_read(token, io.began, now))
                << "block " << io.lba + i << ": " << block.tell(token);
        }
    }

    core::Prng prng_;
    block::Channel* channel_ = nullptr;
    std::vector<CrashBlock> blocks_;
    std::vector<std::unique_ptr<Io>> ios_;
    std::size_t in_flight_ = 0;
    std::uint64_t now_ = 1;
    bool cut_ = false;
    bool may_fail_ = false;
    bool known_ = false;
    bool fresh_ = true;
};

}  // namespace remora::test
