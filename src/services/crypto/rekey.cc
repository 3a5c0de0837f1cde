// SPDX-License-Identifier: Apache-2.0
#include "services/crypto/rekey.h"

#include <algorithm>
#include <utility>

#include "core/check.h"
#include "core/log.h"
#include "core/probe.h"
#include "reactor/call.h"
#include "services/crypto/rekey_worker.h"

namespace remora::services::crypto {

using core::ErrorKind;
using core::fail;
using core::Result;
using reactor::call_on;
using reactor::Task;

Rekey::Rekey(CryptDevice& device, RekeyKeeper& keeper, RekeyOptions options)
    : device_(device), keeper_(keeper), options_(options) {}

Rekey::~Rekey() {
    CHECK(worker_ == nullptr);
}

reactor::Reactor& Rekey::worker_reactor() const {
    return device_.reactors().front().reactor;
}

Result<void> Rekey::check(const RekeyPoint& point) const {
    const block::Geometry geometry = device_.geometry();
    const std::size_t bytes = std::size_t{point.block_count} * geometry.block_size;
    const bool fits = point.position <= geometry.block_count &&
                      point.block_count <= geometry.block_count - point.position &&
                      bytes <= RekeyOptions::kMaxPieceBytes &&
                      point.marks.size() == bytes / device_.sector_size() * SectorMarks::kBytes;
    if (!fits) {
        return fail(ErrorKind::InvalidArgument,
                    "how far the change of its key was does not fit volume '" + device_.name() +
                        "': is the volume below another one, or smaller than it was?");
    }
    return {};
}

Task<Result<void>> Rekey::start(std::unique_ptr<const XtsKey> next, RekeyPoint point) {
    if (auto fits = check(point); !fits) {
        co_return fits;
    }
    const XtsKey& key = *next;
    auto worker =
        co_await call_on(worker_reactor(), [&] { return RekeyWorker::create(device_, key); });
    if (!worker) {
        co_return std::unexpected(worker.error());
    }
    worker_ = std::move(*worker);
    const KeySplit split{.position = point.position,
                         .held_end = point.position + point.block_count};
    if (auto begun = co_await device_.begin_change(std::move(next), split); !begun) {
        co_await stop();
        co_return begun;
    }
    point_ = std::move(point);
    gate_.spawn([this] { return run(); });
    co_return Result<void>();
}

Task<> Rekey::stop() {
    co_await stop_by(core::kNever);
}

Task<bool> Rekey::stop_by(core::Nanos deadline) {
    stopping_ = true;
    wake_.notify();
    if (!co_await gate_.close_by(deadline)) {
        co_return false;
    }
    co_await drop_worker();
    co_return true;
}

Task<> Rekey::drop_worker() {
    co_await call_on(worker_reactor(), [this] { worker_.reset(); });
}

RekeyProgress Rekey::progress() const {
    return {.done_blocks = point_.position,
            .total_blocks = device_.geometry().block_count,
            .trouble = trouble_};
}

Task<bool> Rekey::pause_until(core::Nanos at) {
    while (!stopping_ && reactor::Reactor::current().now() < at) {
        co_await wake_.wait_until(at);
    }
    co_return !stopping_;
}

/// Says so once, and waits for the next try.
Task<bool> Rekey::report(std::string trouble) {
    if (trouble_ != trouble) {
        log::warn("the change of a volume's key does not go on", log::kv("volume", device_.name()),
                  log::kv("reason", trouble));
        trouble_ = std::move(trouble);
    }
    co_return co_await pause_until(reactor::Reactor::current().now() + kRetryAfter);
}

Task<> Rekey::run() {
    co_await settle();
    while (!stopping_ && !done_) {
        const bool at_end = point_.position >= device_.geometry().block_count;
        const Result<void> went = at_end ? co_await finish() : co_await step();
        if (!went) {
            co_await report(went.error().message);
            continue;
        }
        trouble_.clear();
        co_await pause_until(next_at_);
    }
    co_await drop_worker();
}

/// One piece, from held to let go.
Task<Result<void>> Rekey::step() {
    const block::Geometry geometry = device_.geometry();
    const std::uint64_t lba = point_.position;
    const auto blocks = static_cast<std::uint32_t>(std::min<std::uint64_t>(
        options_.piece_bytes / geometry.block_size, geometry.block_count - lba));
    co_await device_.hold({.position = lba, .held_end = lba + blocks});
    auto marks = co_await call_on(worker_reactor(), [&] { return worker_->prepare(lba, blocks); });
    Result<void> kept;
    if (!marks) {
        kept = std::unexpected(marks.error());
    } else {
        kept = co_await keep({.position = lba, .block_count = blocks, .marks = std::move(*marks)});
    }
    if (!kept) {
        co_await device_.set_split({.position = lba, .held_end = lba});
        co_return kept;
    }
    prepared_ = true;
    co_await settle();
    const core::Nanos now = reactor::Reactor::current().now();
    const std::uint64_t bytes = std::uint64_t{blocks} * geometry.block_size;
    next_at_ =
        std::max(now, next_at_) +
        core::Nanos(static_cast<std::int64_t>(bytes * 1'000'000'000 / options_.bytes_per_second));
    co_return Result<void>();
}

Task<Result<void>> Rekey::keep(RekeyPoint point) {
    auto kept = co_await keeper_.keep_rekey(device_.name(), point);
    if (kept) {
        point_ = std::move(point);
    }
    co_return kept;
}

/// The piece whose marks are kept: until it is written and the position behind it kept.
Task<> Rekey::settle() {
    bool written = false;
    while (point_.block_count > 0) {
        const std::uint64_t lba = point_.position;
        const std::uint32_t blocks = point_.block_count;
        Result<void> went;
        if (!prepared_) {
            REMORA_COVER("rekey: a piece is made whole after a crash");
            went = co_await call_on(worker_reactor(), [&] {
                return worker_->prepare_again(lba, blocks, point_.marks);
            });
            prepared_ = went.has_value();
        }
        if (went && !written) {
            went = co_await call_on(worker_reactor(), [&] { return worker_->write(lba, blocks); });
            written = went.has_value();
        }
        if (went) {
            went = co_await keep({.position = lba + blocks, .block_count = 0, .marks = {}});
        }
        if (!went) {
            co_await device_.set_split(
                {.position = lba, .held_end = lba + blocks, .refused = true});
            if (!co_await report(went.error().message)) {
                co_return;
            }
        }
    }
    prepared_ = false;
    co_await device_.set_split({.position = point_.position, .held_end = point_.position});
}

Task<Result<void>> Rekey::finish() {
    const std::uint64_t end = point_.position;
    co_await device_.hold({.position = end, .held_end = KeySplit::kAllBeyond});
    Result<void> finished;
    const bool grew = device_.geometry().block_count > end;
    if (!grew) {
        finished = co_await keeper_.finish_rekey(device_.name());
    }
    if (grew || !finished) {
        co_await device_.set_split({.position = end, .held_end = end});
        co_return finished;
    }
    co_await device_.end_change();
    done_ = true;
    log::info("the key of a volume was changed", log::kv("volume", device_.name()));
    co_return Result<void>();
}

}  // namespace remora::services::crypto
