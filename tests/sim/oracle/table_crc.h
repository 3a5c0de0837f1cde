// SPDX-License-Identifier: Apache-2.0
// CRC32C by tables, eight bytes a step: the checker's own, so that a fault of the library that
// Remora uses is seen.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace remora::sim {

namespace detail {

constexpr std::size_t kSlices = 8;
constexpr std::uint32_t kPolynomial = 0x82f63b78;  // Castagnoli, reflected
using CrcTables = std::array<std::array<std::uint32_t, 256>, kSlices>;

constexpr CrcTables make_crc_tables() {
    CrcTables tables{};
    for (std::uint32_t i = 0; i < 256; ++i) {
        std::uint32_t value = i;
        for (int bit = 0; bit < 8; ++bit) {
            value = (value >> 1U) ^ ((value & 1U) != 0 ? kPolynomial : 0);
        }
        tables[0][i] = value;
    }
    for (std::size_t slice = 1; slice < kSlices; ++slice) {
        for (std::uint32_t i = 0; i < 256; ++i) {
            const std::uint32_t before = tables[slice - 1][i];
            tables[slice][i] = (before >> 8U) ^ tables[0][before & 0xffU];
        }
    }
    return tables;
}
inline constexpr CrcTables kCrcTables = make_crc_tables();

}  // namespace detail

class TableCrc {
  public:
    void update(std::span<const std::byte> bytes) {
        while (bytes.size() >= detail::kSlices) {
            std::uint32_t next = 0;
            for (std::size_t i = 0; i < detail::kSlices; ++i) {
                const std::uint32_t old = i < 4 ? (state_ >> (8 * i)) & 0xffU : 0;
                const auto index = std::to_integer<std::uint32_t>(bytes[i]) ^ old;
                next ^= detail::kCrcTables[detail::kSlices - 1 - i][index];
            }
            state_ = next;
            bytes = bytes.subspan(detail::kSlices);
        }
        for (const std::byte byte : bytes) {
            const auto index = (state_ ^ std::to_integer<std::uint32_t>(byte)) & 0xffU;
            state_ = (state_ >> 8U) ^ detail::kCrcTables[0][index];
        }
    }
    [[nodiscard]] std::uint32_t value() const { return ~state_; }

    static std::uint32_t of(std::span<const std::byte> bytes) {
        TableCrc crc;
        crc.update(bytes);
        return crc.value();
    }

  private:
    std::uint32_t state_ = 0xffffffffU;
};

}  // namespace remora::sim
