// SPDX-License-Identifier: Apache-2.0
#include "core/crc32c.h"

#include <cstring>

#include <isa-l/crc.h>

#include "core/crc32c_fold.h"

namespace remora::core {

namespace {

std::uint32_t update_plain(std::uint32_t state, std::span<const std::byte> bytes) {
    // ISA-L's prototype is not const-correct (the buffer is only read) and counts in int, so a
    // huge span is fed in parts.
    constexpr std::size_t kPart = std::size_t{1} << 30U;
    while (!bytes.empty()) {
        const auto part = bytes.first(bytes.size() < kPart ? bytes.size() : kPart);
        auto* data = reinterpret_cast<unsigned char*>(const_cast<std::byte*>(part.data()));
        state = crc32_iscsi(data, static_cast<int>(part.size()), state);
        bytes = bytes.subspan(part.size());
    }
    return state;
}

}  // namespace

void Crc32c::update(std::span<const std::byte> bytes) {
    static const bool fold = crc32c_can_fold();
    state_ = fold ? crc32c_fold(state_, bytes) : update_plain(state_, bytes);
}

void Crc32c::update_and_copy(std::span<const std::byte> bytes, std::byte* to) {
    static const bool fold = crc32c_can_fold();
    if (fold) {
        state_ = crc32c_fold_and_copy(state_, bytes, to);
    } else if (!bytes.empty()) {
        std::memcpy(to, bytes.data(), bytes.size());
        state_ = update_plain(state_, {to, bytes.size()});
    }
}

std::uint32_t crc32c(std::span<const std::byte> bytes) {
    Crc32c crc;
    crc.update(bytes);
    return crc.value();
}

}  // namespace remora::core
