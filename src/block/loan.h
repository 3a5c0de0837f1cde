// SPDX-License-Identifier: Apache-2.0
// Loan: bytes of a volume's own memory, read where they are instead of copied.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace remora::block {

/// Whoever has one keeps writers from the bytes until it is given back, on any thread. A value, so
/// that requests stay plain: it is given back by hand, once. Empty by default.
class Loan {
  public:
    Loan() = default;
    /// `holders` counts who reads the bytes, this one included.
    Loan(const std::byte* data, std::atomic<std::uint32_t>& holders)
        : data_(data), holders_(&holders) {}

    explicit operator bool() const { return data_ != nullptr; }
    [[nodiscard]] const std::byte* data() const { return data_; }
    /// Empty from now on; nothing, if it is already.
    void give_back() {
        if (data_ != nullptr) {
            data_ = nullptr;
            holders_->fetch_sub(1, std::memory_order_release);
        }
    }

  private:
    const std::byte* data_ = nullptr;
    std::atomic<std::uint32_t>* holders_ = nullptr;
};

}  // namespace remora::block
