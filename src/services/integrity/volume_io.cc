// SPDX-License-Identifier: Apache-2.0
#include "services/integrity/volume_io.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "block/device_io.h"
#include "core/log.h"
#include "reactor/call.h"

namespace remora::services::integrity {

namespace {

using block::DeviceIo;
using core::ErrorKind;
using core::fail;
using core::Result;
using reactor::Task;

constexpr std::size_t kChunkPages = 128;  // written at once: some 0.3 ms to make

Result<std::unique_ptr<DeviceIo>> open_io(block::Device& lower) {
    return DeviceIo::create(lower, kChunkPages * kPageBytes);
}

std::uint32_t blocks_of(const block::Device& lower, std::size_t bytes) {
    return static_cast<std::uint32_t>(bytes / lower.geometry().block_size);
}

std::span<std::byte, kSuperblockBytes> superblock_in(DeviceIo& io) {
    return std::span<std::byte, kSuperblockBytes>(io.buffer().data(), kSuperblockBytes);
}

/// What is said about it; the I/O's own errors are Unavailable.
Task<Result<Superblock>> read_one(DeviceIo& io, std::size_t which) {
    const std::uint32_t blocks = blocks_of(io.device(), kSuperblockBytes);
    const auto read = co_await io.read(which * blocks, blocks);
    if (!read) {
        co_return std::unexpected(read.error());
    }
    co_return decode_superblock(superblock_in(io));
}

/// The generation says which of the two it is.
Task<Result<void>> write_one(DeviceIo& io, const Superblock& superblock) {
    encode_superblock(superblock, superblock_in(io));
    const std::uint32_t blocks = blocks_of(io.device(), kSuperblockBytes);
    co_return co_await io.write(superblock.generation % kSuperblocks * blocks, blocks);
}

Task<Result<void>> check_unused(DeviceIo& io, const std::string& name) {
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
Task<Result<void>> wipe_superblocks(DeviceIo& io) {
    constexpr std::size_t kBytes = kSuperblocks * kSuperblockBytes;
    std::memset(io.buffer().data(), 0, kBytes);
    co_return co_await io.write_through(0, blocks_of(io.device(), kBytes));
}

/// Until it has been done, or for some seconds: what stays is in the way of the next attempt.
Task<> erase_patiently(block::Device& lower) {
    constexpr core::Nanos kTryFor = std::chrono::seconds(5);
    constexpr core::Nanos kBetween = std::chrono::milliseconds(50);
    const core::Nanos deadline = reactor::Reactor::current().now() + kTryFor;
    for (;;) {
        const auto io = open_io(lower);
        Result<void> erased = io ? Result<void>() : std::unexpected(io.error());
        if (erased) {
            erased = co_await wipe_superblocks(**io);
        }
        if (erased) {
            co_return;
        }
        if (reactor::Reactor::current().now() >= deadline) {
            core::log::warn("superblocks of an integrity volume that could not be made are left",
                            core::log::kv("volume", lower.name()),
                            core::log::kv("reason", erased.error().message));
            co_return;
        }
        co_await reactor::sleep_for(kBetween);
    }
}

Task<Result<void>> write_pages(DeviceIo& io, const Superblock& superblock) {
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
        auto written = co_await io.write(layout.page_block(first), blocks_of(io.device(), bytes));
        if (!written) {
            co_return written;
        }
    }
    co_return co_await io.flush();
}

}  // namespace

Task<Result<void>> format_volume(block::Device& lower,
                                 const Superblock& superblock,
                                 bool overwrite) {
    auto io = open_io(lower);
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
    const bool wipe_again = result.has_value();  // before, there is nothing of ours
    for (std::size_t i = 0; i < kSuperblocks && result; ++i) {
        Superblock copy = superblock;
        copy.generation += i;
        result = co_await write_one(**io, copy);
    }
    if (result) {
        result = co_await (*io)->flush();
    }
    if (!result && wipe_again) {
        co_await erase_patiently(lower);
    }
    co_return result;
}

Task<> unformat_volume(block::Device& lower) {
    co_await erase_patiently(lower);
}

Task<Result<Superblock>> read_superblock(block::Device& lower) {
    auto io = open_io(lower);
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

Task<> note_clean(block::Device& lower, Superblock& superblock, bool clean) {
    Superblock next = superblock;
    ++next.generation;
    next.clean = clean;
    const auto io = DeviceIo::create(lower, kSuperblocks * kSuperblockBytes);
    Result<void> noted = io ? Result<void>() : std::unexpected(io.error());
    if (noted) {
        noted = co_await (*io)->flush();
    }
    if (noted) {
        noted = co_await write_one(**io, next);
    }
    if (noted) {
        noted = co_await (*io)->flush();
    }
    if (noted) {
        superblock = next;
    } else {
        core::log::warn("the superblock could not be written",
                        core::log::kv("volume", lower.name()),
                        core::log::kv("reason", noted.error().message));
    }
}

}  // namespace remora::services::integrity
