// SPDX-License-Identifier: Apache-2.0
// FakeFile: a file in memory that keeps what is written apart from what is durable, counts, and
// refuses what direct I/O would refuse. It completes an operation only when the test says so.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <vector>

#include "core/check.h"
#include "reactor/io.h"

namespace remora::test {

/// What a test keeps of a file that a channel owns.
struct FakeDisk {
    explicit FakeDisk(std::size_t bytes) : written(bytes), durable(bytes) {}

    std::vector<std::byte> written;
    std::vector<std::byte> durable;  ///< As of the last flush.
    std::size_t memory_alignment = 1;
    std::size_t offset_alignment = 1;
    int flush_result = 0;
    std::vector<reactor::FileOp::Kind> log;  ///< In the order of submission.
    std::deque<reactor::FileOp*> waiting;

    [[nodiscard]] std::size_t count(reactor::FileOp::Kind kind) const {
        return static_cast<std::size_t>(std::count(log.begin(), log.end(), kind));
    }
    /// Does the oldest operation and tells its handler.
    void complete_one() {
        CHECK(!waiting.empty());
        reactor::FileOp& op = *waiting.front();
        waiting.pop_front();
        op.result = perform(op);
        op.handler->on_file_done(op);
    }

  private:
    [[nodiscard]] bool fits(const reactor::FileOp& op) const {
        const std::size_t length = std::max(memory_alignment, offset_alignment);
        for (const core::Segment& segment : op.segments) {
            if (reinterpret_cast<std::uintptr_t>(segment.data) % memory_alignment != 0 ||
                segment.size % length != 0) {
                return false;
            }
        }
        return op.offset % offset_alignment == 0;
    }
    int perform(const reactor::FileOp& op) {
        core::SegmentCursor cursor(op.segments);
        std::byte* at = written.data() + op.offset;
        switch (op.kind) {
            case reactor::FileOp::Kind::Read:
                cursor.copy_in({at, op.length});
                return fits(op) ? 0 : -EINVAL;
            case reactor::FileOp::Kind::Write:
                cursor.copy_out({at, op.length});
                return fits(op) ? 0 : -EINVAL;
            case reactor::FileOp::Kind::PunchHole:
            case reactor::FileOp::Kind::ZeroRange:
                std::memset(at, 0, op.length);
                return 0;
            case reactor::FileOp::Kind::Flush:
                if (flush_result == 0) {
                    durable = written;
                }
                return flush_result;
        }
        return -EINVAL;
    }
};

class FakeFile final : public reactor::File {
  public:
    explicit FakeFile(FakeDisk& disk) : disk_(disk) {}
    void submit(reactor::FileOp& op) override {
        disk_.log.push_back(op.kind);
        disk_.waiting.push_back(&op);
    }
    [[nodiscard]] std::uint64_t size() const override { return disk_.written.size(); }
    core::Result<void> grow(std::uint64_t /*size*/) override {
        return core::fail_errno("make it longer", ENOSPC);
    }
    [[nodiscard]] std::size_t memory_alignment() const override { return disk_.memory_alignment; }
    [[nodiscard]] std::size_t offset_alignment() const override { return disk_.offset_alignment; }

  private:
    FakeDisk& disk_;
};

}  // namespace remora::test
