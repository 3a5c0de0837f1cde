// SPDX-License-Identifier: Apache-2.0
#include "services/integrity/volume_io.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/check.h"
#include "core/log.h"

namespace remora::services::integrity {

namespace {

using block::Opcode;
using block::Status;
using core::ErrorKind;
using core::fail;
using core::Result;
using reactor::Task;

constexpr std::size_t kAlignment = 4096;
constexpr std::size_t kChunkPages = 128;  // written at once: some 0.3 ms to make

class VolumeIo final : private block::Completer {
  public:
    static Result<std::unique_ptr<VolumeIo>> create(block::Device& lower) {
        auto channel = lower.open_channel();
        if (!channel) {
            return std::unexpected(channel.error());
        }
        std::unique_ptr<std::byte, void (*)(std::byte*)> memory(
            static_cast<std::byte*>(std::aligned_alloc(kAlignment, kChunkPages * kPageBytes)),
            [](std::byte* bytes) { std::free(bytes); });
        if (memory == nullptr) {
            return fail(ErrorKind::ResourceExhausted, "no memory for pages of checksums");
        }
        return std::unique_ptr<VolumeIo>(
            new VolumeIo(lower, std::move(*channel), std::move(memory)));
    }

    std::span<std::byte> buffer() { return {memory_.get(), kChunkPages * kPageBytes}; }

    /// The buffer's first `bytes`, at byte `offset` of the device.
    Task<Result<void>> perform(Opcode opcode, std::uint64_t offset, std::size_t bytes) {
        const std::uint32_t block_size = lower_.geometry().block_size;
        segment_ = {memory_.get(), bytes};
        request_.opcode = opcode;
        request_.status = Status::Ok;
        request_.nvme_status = 0;
        request_.lba = offset / block_size;
        request_.block_count = static_cast<std::uint32_t>(bytes / block_size);
        request_.data = std::span(&segment_, bytes > 0 ? 1U : 0U);
        request_.push_frame(*this);
        block::RequestBatch batch;
        batch.push_back(request_);
        channel_->submit(batch);
        co_await done_.wait_until(core::kNever);
        if (request_.status != Status::Ok) {
            co_return fail(ErrorKind::Unavailable,
                           "volume '" + lower_.name() + "' fails with '" +
                               std::string(block::to_string(request_.status)) +
                               "' while its checksums are read or written");
        }
        co_return Result<void>();
    }
    Task<Result<void>> flush() {
        auto result = co_await perform(Opcode::Flush, 0, 0);
        co_return result;
    }

  private:
    VolumeIo(block::Device& lower,
             std::unique_ptr<block::Channel> channel,
             std::unique_ptr<std::byte, void (*)(std::byte*)> memory)
        : lower_(lower), channel_(std::move(channel)), memory_(std::move(memory)) {}

    void complete(block::RequestBatch& batch) override {
        CHECK(batch.pop_front() == &request_);
        request_.pop_frame();
        done_.notify();
    }

    block::Device& lower_;
    std::unique_ptr<block::Channel> channel_;
    std::unique_ptr<std::byte, void (*)(std::byte*)> memory_;
    block::Request request_;
    core::Segment segment_;
    reactor::Signal done_;
};

std::span<std::byte, kSuperblockBytes> superblock_in(VolumeIo& io) {
    return std::span<std::byte, kSuperblockBytes>(io.buffer().data(), kSuperblockBytes);
}

/// What is said about it; the I/O's own errors are Unavailable.
Task<Result<Superblock>> read_one(VolumeIo& io, std::size_t which) {
    const auto read = co_await io.perform(Opcode::Read, which * kSuperblockBytes, kSuperblockBytes);
    if (!read) {
        co_return std::unexpected(read.error());
    }
    co_return decode_superblock(superblock_in(io));
}

/// The generation says which of the two it is.
Task<Result<void>> write_one(VolumeIo& io, const Superblock& superblock) {
    encode_superblock(superblock, superblock_in(io));
    auto written = co_await io.perform(
        Opcode::Write, superblock.generation % kSuperblocks * kSuperblockBytes, kSuperblockBytes);
    co_return written;
}

Task<Result<void>> check_unused(VolumeIo& io, const std::string& name) {
    for (std::size_t i = 0; i < kSuperblocks; ++i) {
        const auto found = co_await read_one(io, i);
        if (!found && found.error().kind == ErrorKind::Unavailable) {
            co_return std::unexpected(found.error());
        }
        if (found || found.error().kind != ErrorKind::NotFound) {
            const std::string whose =
                found ? "that has the UUID " + found->uuid.text() : "that cannot be used";
            co_return fail(ErrorKind::AlreadyExists,
                           "volume '" + name + "' carries an integrity volume " + whose +
                               ": open it, or ask for it to be overwritten");
        }
    }
    co_return Result<void>();
}

/// No superblock, old or new, stands for pages that are half written.
Task<Result<void>> wipe_superblocks(VolumeIo& io) {
    constexpr std::size_t kBytes = kSuperblocks * kSuperblockBytes;
    std::memset(io.buffer().data(), 0, kBytes);
    auto result = co_await io.perform(Opcode::Write, 0, kBytes);
    if (result) {
        result = co_await io.flush();
    }
    co_return result;
}

Task<Result<void>> write_pages(VolumeIo& io, const Superblock& superblock) {
    const Layout& layout = superblock.layout;
    const ChecksumSalt salt(superblock.uuid, superblock.format);
    const std::vector<Checksums> never(layout.page_entries());
    for (std::uint64_t page = 0; page < layout.page_count;) {
        const std::uint64_t first = page;
        std::size_t bytes = 0;
        for (; page < layout.page_count && bytes < io.buffer().size(); ++page) {
            encode_page(layout, salt, page, never,
                        std::span<std::byte, kPageBytes>(io.buffer().data() + bytes, kPageBytes));
            bytes += kPageBytes;
        }
        auto written =
            co_await io.perform(Opcode::Write, layout.page_block(first) * layout.block_size, bytes);
        if (!written) {
            co_return written;
        }
    }
    auto flushed = co_await io.flush();
    co_return flushed;
}

}  // namespace

Task<Result<void>> format_volume(block::Device& lower,
                                 const Superblock& superblock,
                                 bool overwrite) {
    auto io = VolumeIo::create(lower);
    if (!io) {
        co_return std::unexpected(io.error());
    }
    Result<void> result;
    if (!overwrite) {
        result = co_await check_unused(**io, lower.name());
    }
    if (result) {
        result = co_await wipe_superblocks(**io);
    }
    if (result) {
        result = co_await write_pages(**io, superblock);
    }
    for (std::size_t i = 0; i < kSuperblocks && result; ++i) {
        Superblock copy = superblock;
        copy.generation += i;
        result = co_await write_one(**io, copy);
    }
    if (result) {
        result = co_await (*io)->flush();
    }
    co_return result;
}

Task<Result<Superblock>> read_superblock(block::Device& lower) {
    auto io = VolumeIo::create(lower);
    if (!io) {
        co_return std::unexpected(io.error());
    }
    if (const auto flushed = co_await (*io)->flush(); !flushed) {
        co_return std::unexpected(flushed.error());
    }
    std::optional<Superblock> best;
    std::optional<core::Error> worst;  // what tells most, when there is no good one
    for (std::size_t i = 0; i < kSuperblocks; ++i) {
        const auto found = co_await read_one(**io, i);
        if (found && (!best || best->generation < found->generation)) {
            best = *found;
        } else if (!found && (!worst || worst->kind == ErrorKind::NotFound)) {
            worst = found.error();
        }
    }
    if (!best) {
        co_return std::unexpected(*worst);
    }
    if (worst) {
        core::log::warn("one of two superblocks is not good and is written anew",
                        core::log::kv("volume", lower.name()),
                        core::log::kv("reason", worst->message));
        ++best->generation;  // the place of the one that is not good
        if (const auto mended = co_await write_one(**io, *best); !mended) {
            core::log::warn("the superblock could not be written",
                            core::log::kv("volume", lower.name()),
                            core::log::kv("reason", mended.error().message));
        }
    }
    co_return *best;
}

}  // namespace remora::services::integrity
