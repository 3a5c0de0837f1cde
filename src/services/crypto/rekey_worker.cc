// SPDX-License-Identifier: Apache-2.0
#include "services/crypto/rekey_worker.h"

#include <algorithm>
#include <array>
#include <openssl/sha.h>
#include <utility>

#include "core/check.h"
#include "reactor/call.h"
#include "services/crypto/rekey.h"

namespace remora::services::crypto {

using core::Result;
using reactor::Task;

namespace {

/// Worked on in one turn, so that the reactor's other work waits some 0.1 ms at most.
constexpr std::size_t kBytesPerTurn = std::size_t{64} * 1024;

std::array<std::byte, SHA256_DIGEST_LENGTH> digest(std::span<const std::byte> sector) {
    std::array<std::byte, SHA256_DIGEST_LENGTH> out;
    SHA256(reinterpret_cast<const unsigned char*>(sector.data()), sector.size(),
           reinterpret_cast<unsigned char*>(out.data()));
    return out;
}

}  // namespace

void SectorMarks::append(std::vector<std::byte>& marks, std::span<const std::byte> sector) {
    const auto whole = digest(sector);
    marks.insert(marks.end(), whole.begin(), whole.begin() + kBytes);
}

bool SectorMarks::matches(std::span<const std::byte> mark, std::span<const std::byte> sector) {
    const auto whole = digest(sector);
    return std::ranges::equal(mark, std::span(whole).first(kBytes));
}

Result<std::unique_ptr<RekeyWorker>> RekeyWorker::create(CryptDevice& device, const XtsKey& next) {
    auto from = device.cipher_of(device.key());
    auto to = device.cipher_of(next);
    if (!from || !to) {
        return std::unexpected(from ? to.error() : from.error());
    }
    auto io = block::DeviceIo::create(device.lower(), RekeyOptions::kMaxPieceBytes);
    if (!io) {
        return std::unexpected(io.error());
    }
    return std::unique_ptr<RekeyWorker>(
        new RekeyWorker(device, std::move(*from), std::move(*to), std::move(*io)));
}

RekeyWorker::RekeyWorker(CryptDevice& device,
                         std::unique_ptr<AesXts> from,
                         std::unique_ptr<AesXts> to,
                         std::unique_ptr<block::DeviceIo> io)
    : sector_size_(device.sector_size()),
      block_size_(device.geometry().block_size),
      from_(std::move(from)),
      to_(std::move(to)),
      io_(std::move(io)) {}

std::span<std::byte> RekeyWorker::piece(std::uint32_t block_count) {
    return io_->buffer().first(block_count * block_size_);
}

void RekeyWorker::convert(std::uint64_t sector, std::span<std::byte> bytes) {
    from_->decrypt(sector, sector_size_, bytes, bytes);
    to_->encrypt(sector, sector_size_, bytes, bytes);
}

Task<Result<std::vector<std::byte>>> RekeyWorker::prepare(std::uint64_t lba,
                                                          std::uint32_t block_count) {
    // What is read has to be what a crash leaves: the marks are of no other content.
    auto read = co_await io_->flush();
    if (read) {
        read = co_await io_->read(lba, block_count);
    }
    if (!read) {
        co_return std::unexpected(read.error());
    }
    std::uint64_t sector = lba * (block_size_ / sector_size_);
    std::vector<std::byte> marks;
    marks.reserve(piece(block_count).size() / sector_size_ * SectorMarks::kBytes);
    for (std::span<std::byte> rest = piece(block_count); !rest.empty();) {
        const std::span<std::byte> part = rest.first(std::min(rest.size(), kBytesPerTurn));
        convert(sector, part);
        for (std::size_t at = 0; at < part.size(); at += sector_size_, ++sector) {
            SectorMarks::append(marks, part.subspan(at, sector_size_));
        }
        rest = rest.subspan(part.size());
        co_await reactor::sleep_for(core::Nanos(0));
    }
    co_return marks;
}

Task<Result<void>> RekeyWorker::prepare_again(std::uint64_t lba,
                                              std::uint32_t block_count,
                                              std::span<const std::byte> marks) {
    if (auto read = co_await io_->read(lba, block_count); !read) {
        co_return read;
    }
    std::uint64_t sector = lba * (block_size_ / sector_size_);
    for (std::span<std::byte> rest = piece(block_count); !rest.empty();) {
        const std::span<std::byte> part = rest.first(std::min(rest.size(), kBytesPerTurn));
        for (std::size_t at = 0; at < part.size(); at += sector_size_, ++sector) {
            const std::span<std::byte> one = part.subspan(at, sector_size_);
            if (!SectorMarks::matches(marks.first(SectorMarks::kBytes), one)) {
                convert(sector, one);
            }
            marks = marks.subspan(SectorMarks::kBytes);
        }
        rest = rest.subspan(part.size());
        co_await reactor::sleep_for(core::Nanos(0));
    }
    co_return Result<void>();
}

Task<Result<void>> RekeyWorker::write(std::uint64_t lba, std::uint32_t block_count) {
    co_return co_await io_->write_through(lba, block_count);
}

}  // namespace remora::services::crypto
