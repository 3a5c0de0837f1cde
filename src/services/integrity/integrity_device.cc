// SPDX-License-Identifier: Apache-2.0
#include "services/integrity/integrity_device.h"

#include <utility>

#include "core/check.h"
#include "core/log.h"
#include "reactor/call.h"
#include "services/integrity/integrity_channel.h"
#include "services/integrity/integrity_keeper.h"
#include "services/integrity/integrity_shared.h"
#include "services/integrity/volume_io.h"

namespace remora::services::integrity {

namespace {

using core::ErrorKind;
using core::fail;
using core::Result;
using reactor::Task;

/// Volumes are spread over the reactors by their UUIDs.
reactor::Reactor& home_of(const core::Uuid& uuid, std::span<const block::ReactorContext> reactors) {
    return reactors.empty() ? reactor::Reactor::current()
                            : reactors[uuid.bytes.back() % reactors.size()].reactor;
}

Result<void> check_writable(const block::Device& lower) {
    if (lower.geometry().read_only) {
        return fail(ErrorKind::FailedPrecondition,
                    "volume '" + lower.name() +
                        "' is read only: an integrity volume writes checksums to it");
    }
    return {};
}

/// Whether the superblock is the wanted volume's, and of this device as it is.
Result<void> check_fit(const Superblock& found,
                       const core::Uuid& wanted,
                       const block::Device& lower) {
    const block::Geometry shape = lower.geometry();
    const std::string of = "volume '" + lower.name() + "' ";
    if (found.uuid != wanted) {
        return fail(
            ErrorKind::FailedPrecondition,
            of + "carries the integrity volume " + found.uuid.text() + ", not " + wanted.text());
    }
    if (found.layout.block_size != shape.block_size) {
        return fail(ErrorKind::FailedPrecondition,
                    of + "has blocks of " + std::to_string(shape.block_size) +
                        " bytes; the integrity volume on it was made with " +
                        std::to_string(found.layout.block_size));
    }
    const std::uint64_t end = found.layout.data_start + found.layout.block_count;
    if (end > shape.block_count) {
        return fail(ErrorKind::FailedPrecondition,
                    of + "has " + std::to_string(shape.block_count) +
                        " blocks; the integrity volume on it was made with " + std::to_string(end));
    }
    return {};
}

}  // namespace

Task<IntegrityDevice::Made> IntegrityDevice::create(
    IntegrityOptions options,
    block::Device& lower,
    std::span<const block::ReactorContext> reactors) {
    if (auto writable = check_writable(lower); !writable) {
        co_return std::unexpected(writable.error());
    }
    const auto layout = plan_layout(lower.geometry());
    if (!layout) {
        co_return fail("volume '" + lower.name() + "'", layout.error());
    }
    const Superblock superblock{.uuid = options.uuid,
                                .format = reactor::Reactor::current().prng().next(),
                                .generation = 0,
                                .layout = *layout};
    reactor::Reactor& home = home_of(options.uuid, reactors);
    const auto formatted = co_await reactor::call_on(
        home, [&] { return format_volume(lower, superblock, options.overwrite); });
    if (!formatted) {
        co_return std::unexpected(formatted.error());
    }
    auto made = co_await start(std::move(options), lower, reactors, superblock);
    if (!made) {
        co_await reactor::call_on(home, [&] { return unformat_volume(lower); });
    }
    co_return made;
}

Task<IntegrityDevice::Made> IntegrityDevice::open(IntegrityOptions options,
                                                  block::Device& lower,
                                                  std::span<const block::ReactorContext> reactors) {
    if (auto writable = check_writable(lower); !writable) {
        co_return std::unexpected(writable.error());
    }
    reactor::Reactor& home = home_of(options.uuid, reactors);
    const auto found = co_await reactor::call_on(home, [&] { return read_superblock(lower); });
    if (!found) {
        co_return fail("volume '" + lower.name() + "'", found.error());
    }
    if (auto fits = check_fit(*found, options.uuid, lower); !fits) {
        co_return std::unexpected(fits.error());
    }
    const bool scrubs = options.scrub_when_unclean && !found->clean;
    auto made = co_await start(std::move(options), lower, reactors, *found);
    if (!made) {
        co_return made;
    }
    if (found->clean) {
        IntegrityShared* shared = (*made)->shared_.get();
        co_await reactor::call_on(
            home, [&lower, shared] { return note_clean(lower, shared->superblock, false); });
    }
    if (scrubs) {
        log::info("volume was not closed; a scrub settles what is in doubt",
                  log::kv("volume", (*made)->name()));
        (void)(*made)->start_scrub();
    }
    co_return made;
}

Task<IntegrityDevice::Made> IntegrityDevice::start(IntegrityOptions options,
                                                   block::Device& lower,
                                                   std::span<const block::ReactorContext> reactors,
                                                   const Superblock& superblock) {
    auto cache = ChecksumCache::create(superblock.layout, options.cache_bytes);
    if (cache == nullptr) {
        co_return fail(ErrorKind::ResourceExhausted,
                       "no memory for the checksums of volume '" + options.name + "'");
    }
    reactor::Reactor& home = home_of(options.uuid, reactors);
    auto shared = std::make_unique<IntegrityShared>(std::move(options), lower, reactors, home,
                                                    superblock, std::move(cache));
    auto keeper =
        co_await reactor::call_on(home, [&shared] { return IntegrityKeeper::create(*shared); });
    if (!keeper) {
        co_return std::unexpected(keeper.error());
    }
    co_return std::unique_ptr<IntegrityDevice>(
        new IntegrityDevice(std::move(shared), std::move(*keeper)));
}

IntegrityDevice::IntegrityDevice(std::unique_ptr<IntegrityShared> shared,
                                 std::unique_ptr<IntegrityKeeper> keeper)
    : Device(shared->options.name, shared->options.uuid),
      shared_(std::move(shared)),
      keeper_(std::move(keeper)) {}

IntegrityDevice::~IntegrityDevice() {
    CHECK(keeper_ == nullptr);
}

block::Geometry IntegrityDevice::geometry() const {
    return shared_->geometry();
}

block::Device& IntegrityDevice::lower() const {
    return shared_->lower;
}

core::Result<std::unique_ptr<block::Channel>> IntegrityDevice::open_channel() {
    auto channel = IntegrityChannel::create(*shared_);
    if (!channel) {
        return std::unexpected(channel.error());
    }
    return std::unique_ptr<block::Channel>(std::move(*channel));
}

core::Result<void> IntegrityDevice::grow(std::uint64_t /*block_count*/) {
    return fail(ErrorKind::FailedPrecondition,
                "volume '" + name() +
                    "' has its checksums in front of its data, with no room for more: make a "
                    "larger one and copy");
}

Task<> IntegrityDevice::stop() {
    IntegrityKeeper* keeper = keeper_.get();
    const bool settled =
        co_await reactor::call_on(shared_->home, [keeper] { return keeper->stop(); });
    if (settled) {
        IntegrityShared* shared = shared_.get();
        co_await reactor::call_on(
            shared->home, [shared] { return note_clean(shared->lower, shared->superblock, true); });
    }
    co_await reactor::call_on(shared_->home, [this] { keeper_.reset(); });
}

IntegrityStatus IntegrityDevice::status() const {
    const ScrubState& scrub = shared_->scrub;
    return {.mismatches = shared_->mismatches.count(),
            .first_bad_lba = shared_->mismatches.first(),
            .scrub = {.running = scrub.running.load(),
                      .done_blocks = scrub.done_blocks.load(),
                      .total_blocks = shared_->layout.block_count}};
}

core::Result<void> IntegrityDevice::start_scrub() {
    if (shared_->scrub.running.exchange(true)) {
        return fail(ErrorKind::FailedPrecondition, "a scrub of volume '" + name() + "' is running");
    }
    shared_->scrub.cancelled.store(false);
    shared_->scrub.done_blocks.store(0);
    shared_->home.post_function([keeper = keeper_.get()] { keeper->begin_scrub(); });
    return {};
}

void IntegrityDevice::cancel_scrub() {
    shared_->scrub.cancelled.store(true);
    shared_->home.post_function([keeper = keeper_.get()] { keeper->end_scrub(); });
}

void IntegrityDevice::set_scrub_rate(std::uint64_t bytes_per_second) {
    shared_->scrub.bytes_per_second.store(bytes_per_second);
}

}  // namespace remora::services::integrity
