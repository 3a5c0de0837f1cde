// SPDX-License-Identifier: Apache-2.0
// SeedWriter: puts first inputs of fuzz targets into files, and Bytes to put them together.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/byte_reader.h"

namespace remora::fuzz {

/// Bytes put together front to back.
class Bytes {
  public:
    template <typename T>
    Bytes& add(const T& value) {
        return run(core::as_bytes_of(value));
    }
    Bytes& u8(unsigned value) { return add(static_cast<std::uint8_t>(value)); }
    Bytes& u16(unsigned value) { return add(static_cast<std::uint16_t>(value)); }
    Bytes& run(std::span<const std::byte> bytes) {
        bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
        return *this;
    }
    Bytes& text(std::string_view text) { return run(std::as_bytes(std::span(text))); }
    [[nodiscard]] std::span<const std::byte> get() const { return bytes_; }

  private:
    std::vector<std::byte> bytes_;
};

class SeedWriter {
  public:
    explicit SeedWriter(std::filesystem::path folder) : folder_(std::move(folder)) {}
    void write(const std::string& target, const std::string& name, const Bytes& bytes);
    [[nodiscard]] std::size_t count() const { return count_; }

  private:
    std::filesystem::path folder_;
    std::size_t count_ = 0;
};

void write_target_seeds(SeedWriter& writer);
void write_host_seeds(SeedWriter& writer);
void write_virtio_seeds(SeedWriter& writer);
void write_vfio_seeds(SeedWriter& writer);
void write_text_seeds(SeedWriter& writer);
void write_api_seeds(SeedWriter& writer);

}  // namespace remora::fuzz
