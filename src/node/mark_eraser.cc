// SPDX-License-Identifier: Apache-2.0
#include "node/mark_eraser.h"

#include <array>
#include <memory>
#include <string>

#include "reactor/call.h"
#include "reactor/signal.h"

namespace remora::node {

using core::ErrorKind;
using core::fail;
using core::Result;

namespace {

/// Two superblocks of RAID and of integrity volumes (docs/RAID.md, docs/INTEGRITY.md).
constexpr std::size_t kBytes = 8192;
constexpr core::Nanos kTryFor = std::chrono::seconds(5);
constexpr core::Nanos kBetween = std::chrono::milliseconds(50);

struct alignas(4096) Zeros {
    std::array<std::byte, kBytes> bytes{};
};

/// One request that somebody waits for.
class OneWrite final : private block::Completer {
  public:
    reactor::Task<block::Status> run(block::Channel& channel, std::uint32_t blocks) {
        const auto zeros = std::make_unique<Zeros>();
        const core::Segment segment{zeros->bytes.data(), zeros->bytes.size()};
        block::Request request;
        request.opcode = block::Opcode::Write;
        request.force_unit_access = true;
        request.block_count = blocks;
        request.data = std::span(&segment, 1);
        request.push_frame(*this);
        block::RequestBatch batch;
        batch.push_back(request);
        channel.submit(batch);
        co_await done_.wait_until(core::kNever);  // the device's own deadlines hold
        co_return request.status;
    }

  private:
    void complete(block::RequestBatch& batch) override {
        while (block::Request* request = batch.pop_front()) {
            request->pop_frame();
        }
        done_.notify();
    }

    reactor::Signal done_;
};

reactor::Task<Result<void>> erase_here(block::Device& device) {
    const auto channel = device.open_channel();
    if (!channel) {
        co_return std::unexpected(channel.error());
    }
    const std::uint32_t blocks = kBytes / device.geometry().block_size;
    OneWrite write;
    const block::Status status = co_await write.run(**channel, blocks);
    if (status != block::Status::Ok) {
        co_return fail(ErrorKind::Unavailable, "writing to volume '" + device.name() +
                                                   "': " + std::string(to_string(status)));
    }
    co_return Result<void>();
}

}  // namespace

reactor::Task<Result<void>> erase_marks(block::Device& device, block::ReactorContext on) {
    const core::Nanos deadline = reactor::Reactor::current().now() + kTryFor;
    for (;;) {
        const Result<void> erased =
            co_await reactor::call_on(on.reactor, [&device] { return erase_here(device); });
        if (erased || reactor::Reactor::current().now() >= deadline) {
            co_return erased;
        }
        co_await reactor::sleep_for(kBetween);
    }
}

}  // namespace remora::node
