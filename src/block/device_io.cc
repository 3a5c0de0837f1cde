// SPDX-License-Identifier: Apache-2.0
#include "block/device_io.h"

#include <cstdlib>
#include <string>
#include <utility>

namespace remora::block {

using core::ErrorKind;
using core::fail;
using core::Result;
using reactor::Task;

namespace {

constexpr std::size_t kAlignment = 4096;  // of direct I/O

}  // namespace

Result<std::unique_ptr<DeviceIo>> DeviceIo::create(Device& device, std::size_t buffer_bytes) {
    CHECK(buffer_bytes > 0 && buffer_bytes % kAlignment == 0);
    auto channel = device.open_channel();
    if (!channel) {
        return std::unexpected(channel.error());
    }
    Memory memory(static_cast<std::byte*>(std::aligned_alloc(kAlignment, buffer_bytes)),
                  [](std::byte* bytes) { std::free(bytes); });
    if (memory == nullptr) {
        return fail(ErrorKind::ResourceExhausted,
                    "no memory for background work on volume '" + device.name() + "'");
    }
    return std::unique_ptr<DeviceIo>(
        new DeviceIo(device, std::move(*channel), std::move(memory), buffer_bytes));
}

DeviceIo::DeviceIo(Device& device,
                   std::unique_ptr<Channel> channel,
                   Memory memory,
                   std::size_t buffer_bytes)
    : device_(device),
      channel_(std::move(channel)),
      memory_(std::move(memory)),
      buffer_bytes_(buffer_bytes) {}

Task<Result<void>> DeviceIo::read(std::uint64_t lba, std::uint32_t block_count) {
    co_return co_await perform(Opcode::Read, lba, block_count, false);
}

Task<Result<void>> DeviceIo::write(std::uint64_t lba, std::uint32_t block_count) {
    co_return co_await perform(Opcode::Write, lba, block_count, false);
}

Task<Result<void>> DeviceIo::write_through(std::uint64_t lba, std::uint32_t block_count) {
    co_return co_await perform(Opcode::Write, lba, block_count, true);
}

Task<Result<void>> DeviceIo::flush() {
    co_return co_await perform(Opcode::Flush, 0, 0, false);
}

Task<Result<void>> DeviceIo::perform(Opcode opcode,
                                     std::uint64_t lba,
                                     std::uint32_t block_count,
                                     bool force_unit_access) {
    const std::size_t bytes = std::size_t{block_count} * device_.geometry().block_size;
    CHECK(bytes <= buffer_bytes_);
    segment_ = {memory_.get(), bytes};
    request_.opcode = opcode;
    request_.force_unit_access = force_unit_access;
    request_.status = Status::Ok;
    request_.nvme_status = 0;
    request_.lba = lba;
    request_.block_count = block_count;
    request_.data = std::span(&segment_, bytes > 0 ? 1U : 0U);
    request_.push_frame(*this);
    RequestBatch batch;
    batch.push_back(request_);
    channel_->submit(batch);
    co_await done_.wait_until(core::kNever);
    if (request_.status != Status::Ok) {
        co_return fail(ErrorKind::Unavailable, "volume '" + device_.name() +
                                                   "': " + std::string(to_string(request_.status)));
    }
    co_return Result<void>();
}

void DeviceIo::complete(RequestBatch& batch) {
    while (Request* request = batch.pop_front()) {
        CHECK(request == &request_);
        request->pop_frame();
    }
    done_.notify();
}

}  // namespace remora::block
