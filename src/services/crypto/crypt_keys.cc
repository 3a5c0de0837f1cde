// SPDX-License-Identifier: Apache-2.0
// Which key a sector has, and the change from one to the next.
#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "core/check.h"
#include "core/probe.h"
#include "reactor/call.h"
#include "services/crypto/crypt_channel.h"
#include "services/crypto/crypt_device.h"

namespace remora::services::crypto {

using block::Request;
using block::RequestBatch;
using core::Result;
using reactor::call_on;
using reactor::Task;

/// The cipher of `sector`; `bytes` is cut down to what has the same one.
AesXts& CryptChannel::cipher_at(std::uint64_t sector, std::size_t& bytes) {
    if (next_ == nullptr) {
        return *cipher_;
    }
    const std::uint64_t first_old = sector_of(lane_.split.position);
    if (sector >= first_old) {
        return *cipher_;
    }
    bytes = std::min<std::uint64_t>(bytes, (first_old - sector) * sector_size_);
    return *next_;
}

void CryptChannel::encrypt(CryptPosition& from, std::span<std::byte> out) {
    while (!out.empty()) {
        std::size_t bytes = out.size();
        AesXts& cipher = cipher_at(from.sector, bytes);
        encrypt_out(cipher, sector_size_, from, out.first(bytes));
        out = out.subspan(bytes);
    }
}

void CryptChannel::encrypt_zeros(CryptPosition& from, std::span<std::byte> out) {
    std::ranges::fill(out, std::byte{0});
    while (!out.empty()) {
        std::size_t bytes = out.size();
        AesXts& cipher = cipher_at(from.sector, bytes);
        cipher.encrypt(from.sector, sector_size_, out.first(bytes), out.first(bytes));
        from.sector += bytes / sector_size_;
        out = out.subspan(bytes);
    }
}

void CryptChannel::decrypt(CryptPosition& at, std::size_t bytes) {
    while (bytes > 0) {
        std::size_t part = bytes;
        AesXts& cipher = cipher_at(at.sector, part);
        decrypt_within(cipher, sector_size_, at, part);
        bytes -= part;
    }
}

void CryptChannel::begin_change(std::unique_ptr<AesXts> next) {
    CHECK(next_ == nullptr && next != nullptr);
    next_ = std::move(next);
}

void CryptChannel::end_change(bool changed) {
    CHECK(next_ != nullptr);
    if (changed) {
        cipher_ = std::move(next_);
    }
    next_.reset();
}

void CryptChannel::let_held_go() {
    if (held_.empty()) {
        return;
    }
    begin_turn();
    RequestBatch again = std::move(held_);
    RequestBatch down;
    while (Request* request = again.pop_front()) {
        take(*request, down);
    }
    encrypt_some(down);
    if (!down.empty()) {
        lower_->submit(down);
    }
}

// The device: all of its reactors, one after another.

Result<void> CryptDevice::begin_here(const XtsKey& next, const KeySplit& split) {
    CHECK(lane().next == nullptr);
    std::vector<std::unique_ptr<AesXts>> ciphers;  // all, or none is used
    Result<void> made;
    lane().channels.for_each([&](CryptChannel& /*channel*/) {
        auto cipher = cipher_of(next);
        if (cipher) {
            ciphers.push_back(std::move(*cipher));
        } else {
            made = std::unexpected(cipher.error());
        }
    });
    if (!made) {
        return made;
    }
    lane().next = &next;
    lane().split = split;
    lane().channels.for_each([&ciphers](CryptChannel& channel) {
        channel.begin_change(std::move(ciphers.back()));
        ciphers.pop_back();
    });
    return {};
}

void CryptDevice::set_split_here(const KeySplit& split) {
    CHECK(split.position >= lane().split.position);
    lane().split = split;
    lane().channels.for_each([](CryptChannel& channel) { channel.let_held_go(); });
}

void CryptDevice::end_here(bool changed) {
    if (lane().next == nullptr) {
        return;
    }
    if (changed) {
        lane().key = lane().next;
    }
    lane().next = nullptr;
    lane().split = {};
    lane().channels.for_each([changed](CryptChannel& channel) {
        channel.end_change(changed);
        channel.let_held_go();
    });
}

Task<Result<void>> CryptDevice::begin_change(std::unique_ptr<const XtsKey> next, KeySplit split) {
    CHECK(next_ == nullptr && next != nullptr);
    next_ = std::move(next);
    Result<void> begun;
    for (const block::ReactorContext& context : reactors_) {
        begun = co_await call_on(context.reactor, [&] { return begin_here(*next_, split); });
        if (!begun) {
            break;
        }
    }
    if (!begun) {
        CHECK(split.position == 0);
        for (const block::ReactorContext& context : reactors_) {
            co_await call_on(context.reactor, [&] { end_here(false); });
        }
        next_.reset();
    }
    co_return begun;
}

Task<> CryptDevice::set_split(KeySplit split) {
    for (const block::ReactorContext& context : reactors_) {
        co_await call_on(context.reactor, [&] { set_split_here(split); });
    }
}

Task<> CryptDevice::hold(KeySplit split) {
    co_await set_split(split);
    for (const block::ReactorContext& context : reactors_) {
        co_await call_on(context.reactor, [&] { return lane().drain(); });
    }
}

Task<> CryptDevice::end_change() {
    CHECK(next_ != nullptr);
    // A reactor that is yet to be told has both keys, and holds what is beyond the position.
    for (const block::ReactorContext& context : reactors_) {
        co_await call_on(context.reactor, [&] { end_here(true); });
    }
    key_ = std::move(next_);
}

Task<> KeyLane::drain() {
    const std::uint64_t before = parity_;
    parity_ ^= 1U;
    CHECK(under_way_[parity_] == 0);  // the drain before this one has ended
    while (under_way_[before] > 0) {
        co_await drained_.wait_until(core::kNever);
    }
}

}  // namespace remora::services::crypto
