// SPDX-License-Identifier: Apache-2.0
// Payloads of vhost-user messages as bytes, for those who say them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/byte_reader.h"
#include "virtio/vhost_user/message.h"

namespace remora::sim {

template <typename T>
std::vector<std::byte> bytes_of(const T& value) {
    const auto bytes = core::as_bytes_of(value);
    return {bytes.begin(), bytes.end()};
}

inline std::vector<std::byte> u64_bytes(std::uint64_t value) {
    virtio::vhost_user::U64 message;
    message.value = value;
    return bytes_of(message);
}

inline virtio::vhost_user::VringState vring_state(std::uint32_t index, std::uint32_t number) {
    virtio::vhost_user::VringState state;
    state.index = index;
    state.number = number;
    return state;
}

}  // namespace remora::sim
