// SPDX-License-Identifier: Apache-2.0
// DeviceIo: what a coroutine reads and writes on a device, one operation at a time, from and to a
// buffer of its own. For work in the background; on one reactor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "block/device.h"
#include "core/result.h"
#include "reactor/signal.h"
#include "reactor/task.h"

namespace remora::block {

class DeviceIo final : private Completer {
  public:
    /// A channel of the current reactor, and `buffer_bytes` for what it moves. `device` outlives
    /// it. Errors: ResourceExhausted, those of opening a channel.
    static core::Result<std::unique_ptr<DeviceIo>> create(Device& device, std::size_t buffer_bytes);
    DeviceIo(const DeviceIo&) = delete;
    DeviceIo& operator=(const DeviceIo&) = delete;

    [[nodiscard]] Device& device() const { return device_; }
    [[nodiscard]] std::span<std::byte> buffer() { return {memory_.get(), buffer_bytes_}; }

    /// The buffer's first `block_count` blocks, at `lba`. It takes as long as the device does,
    /// whose own deadlines hold. Errors: Unavailable with the device's name and its status.
    reactor::Task<core::Result<void>> read(std::uint64_t lba, std::uint32_t block_count);
    /// Durable after the next flush.
    reactor::Task<core::Result<void>> write(std::uint64_t lba, std::uint32_t block_count);
    /// Durable when it has ended.
    reactor::Task<core::Result<void>> write_through(std::uint64_t lba, std::uint32_t block_count);
    reactor::Task<core::Result<void>> flush();

  private:
    using Memory = std::unique_ptr<std::byte, void (*)(std::byte*)>;

    DeviceIo(Device& device,
             std::unique_ptr<Channel> channel,
             Memory memory,
             std::size_t buffer_bytes);
    void complete(RequestBatch& batch) override;
    reactor::Task<core::Result<void>> perform(Opcode opcode,
                                              std::uint64_t lba,
                                              std::uint32_t block_count,
                                              bool force_unit_access);

    Device& device_;
    std::unique_ptr<Channel> channel_;
    Memory memory_;
    std::size_t buffer_bytes_;
    Request request_;
    Segment segment_;
    reactor::Signal done_;
};

}  // namespace remora::block
