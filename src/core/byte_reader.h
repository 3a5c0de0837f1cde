// SPDX-License-Identifier: Apache-2.0
// ByteReader: takes wire structs off a span of bytes, never past its end.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <type_traits>

namespace remora::core {

class ByteReader {
  public:
    explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

    /// Copies one T out; false, and nothing taken, when too few bytes are left.
    template <typename T>
    [[nodiscard]] bool read(T& out) {
        static_assert(std::is_trivially_copyable_v<T>);
        if (bytes_.size() < sizeof(T)) {
            return false;
        }
        std::memcpy(&out, bytes_.data(), sizeof(T));
        bytes_ = bytes_.subspan(sizeof(T));
        return true;
    }

    [[nodiscard]] bool take(std::size_t size, std::span<const std::byte>& out) {
        if (bytes_.size() < size) {
            return false;
        }
        out = bytes_.first(size);
        bytes_ = bytes_.subspan(size);
        return true;
    }

    [[nodiscard]] std::size_t remaining() const { return bytes_.size(); }

  private:
    std::span<const std::byte> bytes_;
};

/// The bytes of a wire struct.
template <typename T>
std::span<const std::byte> as_bytes_of(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    return std::as_bytes(std::span<const T, 1>(&value, 1));
}

template <typename T>
std::span<std::byte> as_writable_bytes_of(T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    return std::as_writable_bytes(std::span<T, 1>(&value, 1));
}

}  // namespace remora::core
