// SPDX-License-Identifier: Apache-2.0
#include "node/mark_eraser.h"

#include <algorithm>

#include "block/device_io.h"
#include "reactor/call.h"

namespace remora::node {

using core::Result;

namespace {

/// Two superblocks of RAID and of integrity volumes (docs/RAID.md, docs/INTEGRITY.md).
constexpr std::size_t kBytes = 8192;
constexpr core::Nanos kTryFor = std::chrono::seconds(5);
constexpr core::Nanos kBetween = std::chrono::milliseconds(50);

reactor::Task<Result<void>> erase_here(block::Device& device) {
    const auto io = block::DeviceIo::create(device, kBytes);
    if (!io) {
        co_return std::unexpected(io.error());
    }
    std::ranges::fill((*io)->buffer(), std::byte{0});
    const std::uint32_t blocks = kBytes / device.geometry().block_size;
    co_return co_await (*io)->write_through(0, blocks);
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
