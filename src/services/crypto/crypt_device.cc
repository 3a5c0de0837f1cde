// SPDX-License-Identifier: Apache-2.0
#include "services/crypto/crypt_device.h"

#include <algorithm>

#include "core/check.h"
#include "services/crypto/crypt_channel.h"

namespace remora::services::crypto {

core::Result<std::unique_ptr<CryptDevice>> CryptDevice::create(
    block::Device& lower,
    CryptOptions options,
    std::unique_ptr<const XtsKey> key,
    std::span<const block::ReactorContext> reactors) {
    CHECK(key != nullptr);
    const std::uint32_t block_size = lower.geometry().block_size;
    if (!is_sector_size(options.sector_size) || options.sector_size > block_size) {
        return core::fail(core::ErrorKind::InvalidArgument,
                          "an encryption sector of " + std::to_string(options.sector_size) +
                              " bytes does not fit volume '" + lower.name() +
                              "': it is 512, 1024, 2048 or 4096 bytes and at most a block, here " +
                              std::to_string(block_size));
    }
    return std::unique_ptr<CryptDevice>(new CryptDevice(lower, options, std::move(key), reactors));
}

CryptDevice::CryptDevice(block::Device& lower,
                         const CryptOptions& options,
                         std::unique_ptr<const XtsKey> key,
                         std::span<const block::ReactorContext> reactors)
    : Device(options.name, options.uuid),
      lower_(lower),
      sector_size_(options.sector_size),
      numbers_(options.numbers),
      kernel_(options.kernel),
      allow_discards_(options.allow_discards),
      key_(std::move(key)),
      reactors_(reactors.begin(), reactors.end()) {
    for (KeyLane& lane : lanes_) {
        lane.key = key_.get();
    }
}

block::Geometry CryptDevice::geometry() const {
    block::Geometry geometry = lower_.geometry();
    geometry.can_write_zeroes = true;
    geometry.can_discard = geometry.can_discard && allow_discards_;
    geometry.unwritten_reads_zeros = false;
    return geometry;
}

KeyLane& CryptDevice::lane() {
    const std::uint32_t id = reactor::Reactor::current().id();
    CHECK(id < kMaxReactors);
    return lanes_[id];
}

core::Result<std::unique_ptr<block::Channel>> CryptDevice::open_channel() {
    auto lower = lower_.open_channel();
    if (!lower) {
        return lower;
    }
    auto cipher = cipher_of(*lane().key);
    if (!cipher) {
        return std::unexpected(cipher.error());
    }
    const auto here = std::ranges::find_if(
        reactors_, [](const auto& context) { return context.reactor.is_current(); });
    memory::BufferPool* pool = here != reactors_.end() ? &here->buffers : nullptr;
    auto channel = CryptChannel::create(*this, lane(), std::move(*lower), std::move(*cipher), pool);
    if (channel && lane().next != nullptr) {
        auto next = cipher_of(*lane().next);
        if (!next) {
            return std::unexpected(next.error());
        }
        (*channel)->begin_change(std::move(*next));
    }
    return channel;
}

reactor::Task<> CryptDevice::stop() {
    co_await lower_.stop();
}

}  // namespace remora::services::crypto
