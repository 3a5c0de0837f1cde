// SPDX-License-Identifier: Apache-2.0
// le<T> and be<T>: integers of a fixed byte order and alignment 1, the bricks of wire structs.
//
// A struct made of them has no padding and no alignment rule, so it may lie anywhere in a receive
// buffer; reading a field compiles to one load.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace remora::core {

template <std::integral T, std::endian Order>
class WireInt {
  public:
    constexpr WireInt() = default;
    // NOLINTNEXTLINE(google-explicit-constructor): a wire field is assigned from its integer
    constexpr WireInt(T value) { *this = value; }

    constexpr WireInt& operator=(T value) {
        const T ordered = order(value);
        const auto raw = std::bit_cast<Bytes>(ordered);
        for (std::size_t i = 0; i < sizeof(T); ++i) {
            bytes_[i] = raw.bytes[i];
        }
        return *this;
    }

    // NOLINTNEXTLINE(google-explicit-constructor): and read as it
    constexpr operator T() const {
        Bytes raw{};
        for (std::size_t i = 0; i < sizeof(T); ++i) {
            raw.bytes[i] = bytes_[i];
        }
        return order(std::bit_cast<T>(raw));
    }

    [[nodiscard]] constexpr T get() const { return *this; }

  private:
    struct Bytes {
        unsigned char bytes[sizeof(T)];
    };

    static constexpr T order(T value) {
        if constexpr (Order == std::endian::native || sizeof(T) == 1) {
            return value;
        } else {
            using U = std::make_unsigned_t<T>;
            U in = static_cast<U>(value);
            U out = 0;
            for (std::size_t i = 0; i < sizeof(T); ++i) {
                out = static_cast<U>(out << 8U) | static_cast<U>(in & 0xffU);
                in = static_cast<U>(in >> 8U);
            }
            return static_cast<T>(out);
        }
    }

    unsigned char bytes_[sizeof(T)] = {};
};

template <std::integral T>
using le = WireInt<T, std::endian::little>;
template <std::integral T>
using be = WireInt<T, std::endian::big>;

using le16 = le<std::uint16_t>;
using le32 = le<std::uint32_t>;
using le64 = le<std::uint64_t>;

static_assert(sizeof(le64) == 8 && alignof(le64) == 1);
static_assert(std::is_trivially_copyable_v<le32>);

}  // namespace remora::core
