// SPDX-License-Identifier: Apache-2.0
// BlockClient: submits requests to a channel and awaits them, for tests.
#pragma once

#include <cstring>
#include <memory>
#include <vector>

#include "block/device.h"
#include "reactor/signal.h"
#include "reactor/task.h"

namespace remora::test {

/// A request with its own completion signal.
struct AwaitedRequest : block::Request {
    reactor::Signal done;
    bool finished = false;
    int completions = 0;
};

class BlockClient final : public block::Completer {
  public:
    explicit BlockClient(block::Channel& channel) : channel_(channel) {}

    void complete(block::RequestBatch& batch) override {
        CHECK(!submitting_);  // the contract: never from within submit()
        while (block::Request* request = batch.pop_front()) {
            auto& awaited = static_cast<AwaitedRequest&>(*request);
            awaited.pop_frame();
            awaited.finished = true;
            ++awaited.completions;
            awaited.done.notify();
        }
    }

    /// Starts a request; await it with finish().
    void start(AwaitedRequest& request) {
        request.push_frame(*this);
        request.status = block::Status::Ok;
        request.finished = false;
        block::RequestBatch batch;
        batch.push_back(request);
        submitting_ = true;
        channel_.submit(batch);
        submitting_ = false;
        CHECK(batch.empty());
    }

    static reactor::Task<block::Status> finish(AwaitedRequest& request) {
        while (!request.finished) {
            co_await request.done.wait_until(core::kNever);
        }
        request.done.reset();
        co_return request.status;
    }

    reactor::Task<block::Status> perform(block::Opcode opcode,
                                         std::uint64_t lba,
                                         std::uint32_t blocks,
                                         std::span<const core::Segment> data = {},
                                         bool fua = false) {
        AwaitedRequest request;
        request.opcode = opcode;
        request.lba = lba;
        request.block_count = blocks;
        request.data = data;
        request.force_unit_access = fua;
        start(request);
        const block::Status status = co_await finish(request);
        co_return status;
    }

  private:
    block::Channel& channel_;
    bool submitting_ = false;
};

/// Bytes that differ from block to block and seed to seed.
inline std::vector<std::byte> pattern(std::size_t bytes, std::uint64_t seed) {
    std::vector<std::byte> out(bytes);
    core::Prng prng(seed);
    for (std::size_t at = 0; at < bytes; at += 8) {
        const std::uint64_t word = prng.next();
        std::memcpy(out.data() + at, &word, std::min<std::size_t>(8, bytes - at));
    }
    return out;
}

}  // namespace remora::test
