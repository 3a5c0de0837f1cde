// SPDX-License-Identifier: Apache-2.0
// XtsKey: the key of AES-XTS. Never copied, never printed, wiped when it dies. It does not change
// once it is made, so that all reactors use the one that a device owns.
#pragma once

#include <array>
#include <memory>
#include <span>

#include "core/result.h"
#include "services/crypto/xts_schedule.h"

namespace remora::services::crypto {

class XtsKey {
  public:
    static constexpr std::size_t kMaxBytes = 64;

    /// The AES key, then the tweak key, each of 16 bytes (XTS-AES-128) or of 32 (XTS-AES-256), in
    /// the order of dm-crypt, OpenSSL and IEEE 1619. The caller wipes its own.
    /// Errors: InvalidArgument for another length, and for two equal halves, which would void the
    /// mode's security and which SP 800-38E by way of FIPS 140 (IG C.I) forbids.
    static core::Result<std::unique_ptr<const XtsKey>> create(std::span<const std::byte> bytes);
    XtsKey(const XtsKey&) = delete;
    XtsKey& operator=(const XtsKey&) = delete;
    ~XtsKey();

    /// Of each of the two AES keys: 128 or 256.
    [[nodiscard]] unsigned bits() const { return static_cast<unsigned>(size_) * 4; }
    [[nodiscard]] unsigned rounds() const { return bits() == 128 ? kRounds128 : kRounds256; }
    /// What it was made of, for OpenSSL.
    [[nodiscard]] std::span<const std::byte> bytes() const {
        return std::span(bytes_).first(size_);
    }
    /// For our own kernels; expanded only where the processor has AES-NI.
    [[nodiscard]] const XtsSchedule& schedule() const { return schedule_; }

  private:
    explicit XtsKey(std::span<const std::byte> bytes);

    XtsSchedule schedule_{};
    std::array<std::byte, kMaxBytes> bytes_{};
    std::size_t size_;
};

}  // namespace remora::services::crypto
